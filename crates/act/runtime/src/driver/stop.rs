//! Stopping: asked through the socket, by signal when that fails, and waited for without polling.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use base::id::ReplicaId;
use runtime_api::{Error, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, pidfd_send_signal},
};

use super::{Inner, ProcessDriver, io_error, observe::ended, socket};
use crate::wire::Request;

/// What the shim may need beyond the grace: killing, reading the last output, recording the end.
const AFTER_GRACE: Duration = Duration::from_secs(15);

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A shim that was asked to stop.
struct Asked {
    shim: OwnedFd,
    within: Duration,
}

pub(super) async fn stop(driver: &ProcessDriver, id: ReplicaId) -> Result<()> {
    let of = id.clone();
    let Some(asked) = driver.blocking(move |inner| inner.ask_to_stop(&of)).await? else { return Ok(()) };
    let mut changes = driver.inner.watch.changes();
    let began = Instant::now();
    let mut killed = false;
    while !has_ended(&asked.shim) {
        if began.elapsed() >= asked.within && !killed {
            // The shim itself hangs. Without it the next look ends whatever is left.
            let _ = pidfd_send_signal(&asked.shim, Signal::KILL);
            killed = true;
        }
        // The watch fires when a shim ends; the pause is for when it cannot.
        let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
    }
    // Its last status, or what there is to clear up when it died on the way.
    driver
        .blocking(move |inner| {
            inner.watch.reap();
            inner.see(&id).map(|_| ()).map_err(|e| io_error(&inner.path(&id), &e))
        })
        .await
}

/// A pidfd is readable once its process has ended.
fn has_ended(shim: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(poll(&mut [PollFd::new(shim, PollFlags::IN)], Some(&now)), Ok(0) | Err(Errno::INTR))
}

impl Inner {
    /// None when it has ended already.
    fn ask_to_stop(&self, id: &ReplicaId) -> Result<Option<Asked>> {
        let path = self.path(id);
        let seen = self.see(id).map_err(|e| io_error(&path, &e))?;
        let seen = seen.ok_or_else(|| Error::NotFound(id.clone()))?;
        let Some(shim) = seen.shim else {
            if ended(&seen.phase) {
                return Ok(None);
            }
            return Err(Error::Io {
                what: format!("stopping {id}"),
                why: "it is still being started".into(),
            });
        };
        if socket::ask(&path, &Request::Stop, socket::ANSWER_DEADLINE).is_err() {
            // A signal says the same. The handle cannot be of another process.
            let _ = pidfd_send_signal(&shim, Signal::TERM);
        }
        let within = seen.record.stop.grace.saturating_add(AFTER_GRACE);
        Ok(Some(Asked { shim, within }))
    }
}
