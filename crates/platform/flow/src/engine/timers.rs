//! Timers of all flows, in one place: wall time for `At`, monotonic for the rest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::{Clock, Timestamp};
use tokio::sync::mpsc;

use super::actor::Post;
use crate::machine::Due;

/// A timer to set.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) due: Due,
    pub(super) post: Post,
    pub(super) to: mpsc::Sender<Post>,
}

/// Requests on their way.
pub(super) const REQUESTS_MAX: usize = 1_024;
/// The wall clock may jump at any time, so it is looked at this often while timers wait for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(clock: Arc<dyn Clock>, mut requests: mpsc::Receiver<Request>) {
    let mut set = Set::default();
    loop {
        let wait = set.fire(clock.now(), clock.monotonic());
        let request = match wait {
            None => requests.recv().await,
            Some(wait) => tokio::select! {
                request = requests.recv() => request,
                () = tokio::time::sleep(wait) => continue,
            },
        };
        let Some(request) = request else { return };
        set.add(request, clock.monotonic());
    }
}

#[derive(Default)]
struct Set {
    wall: BTreeMap<(Timestamp, u64), (Post, mpsc::Sender<Post>)>,
    monotonic: BTreeMap<(Duration, u64), (Post, mpsc::Sender<Post>)>,
    next: u64,
    /// Size at which timers of flows that are gone are swept out.
    sweep_at: usize,
}

impl Set {
    fn add(&mut self, request: Request, monotonic: Duration) {
        self.next += 1;
        let Request { due, post, to } = request;
        match due {
            Due::At(at) => drop(self.wall.insert((at, self.next), (post, to))),
            Due::In(wait) => drop(self.monotonic.insert((monotonic + wait, self.next), (post, to))),
        }
        if self.wall.len() + self.monotonic.len() > self.sweep_at.max(REQUESTS_MAX) {
            self.wall.retain(|_, (_, to)| !to.is_closed());
            self.monotonic.retain(|_, (_, to)| !to.is_closed());
            self.sweep_at = 2 * (self.wall.len() + self.monotonic.len());
        }
    }

    /// Fires what is due; the time until it has to be looked at again, none without timers.
    fn fire(&mut self, now: Timestamp, monotonic: Duration) -> Option<Duration> {
        while let Some(first) = self.wall.first_entry().filter(|first| first.key().0 <= now) {
            send(first.remove());
        }
        while let Some(first) = self.monotonic.first_entry().filter(|first| first.key().0 <= monotonic) {
            send(first.remove());
        }
        let wall = self.wall.first_key_value().map(|((at, _), _)| at.since(now));
        let other = self.monotonic.first_key_value().map(|((at, _), _)| at.saturating_sub(monotonic));
        // Never zero, or a clock that stands still would be asked in a busy loop.
        wall.into_iter().chain(other).min().map(|wait| wait.clamp(Duration::from_millis(1), LOOK_EVERY))
    }
}

fn send((post, to): (Post, mpsc::Sender<Post>)) {
    // Room is kept for the posts of steps; a flow that is gone needs none.
    let _ = to.try_send(post);
}
