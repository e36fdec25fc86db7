//! Follows the snapshot file: reads, checks, opens sockets and publishes plans, on a thread of
//! its own so that a large snapshot delays no request.

use std::{
    io,
    os::{fd::AsFd, fd::OwnedFd, unix::fs::MetadataExt},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use gateway_api::Snapshot;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};
use tokio::sync::watch;

use crate::{
    limits::{PROBLEMS_MAX, WATCH_INTERVAL},
    listen::Sockets,
    plan::{self, HealthMap, Plan},
    snapshot,
};

/// What could not be applied, by where it comes from.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    file: Mutex<Vec<String>>,
    snapshot: Mutex<Vec<String>>,
    tls: Mutex<Vec<String>>,
}

impl Problems {
    pub(crate) fn list(&self) -> Vec<String> {
        let parts = [&self.file, &self.snapshot, &self.tls];
        let mut all: Vec<String> = parts.iter().flat_map(|part| locked(part).clone()).collect();
        if all.len() > PROBLEMS_MAX {
            let more = all.len() - PROBLEMS_MAX;
            all.truncate(PROBLEMS_MAX);
            all.push(format!("and {more} more"));
        }
        all
    }
}

fn locked(part: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct Applier {
    path: PathBuf,
    sockets: Sockets,
    health: HealthMap,
    current: Option<Snapshot>,
    plans: watch::Sender<Arc<Plan>>,
    problems: Arc<Problems>,
    /// Inode, size and time of the file when it was last read.
    stamp: Option<(u64, u64, i64, i64)>,
}

impl Applier {
    pub(crate) fn new(
        path: PathBuf,
        fd_store: Option<PathBuf>,
        plans: watch::Sender<Arc<Plan>>,
        problems: Arc<Problems>,
    ) -> Self {
        let sockets = Sockets::new(fd_store, &mut locked(&problems.snapshot));
        Self { path, sockets, health: HealthMap::new(), current: None, plans, problems, stamp: None }
    }

    /// Looks at the file and the certificates once.
    pub(crate) fn turn(&mut self) {
        let stamp = std::fs::metadata(&self.path)
            .map(|found| (found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
            .ok();
        if stamp.is_none() || stamp != self.stamp {
            self.stamp = stamp;
            let read = snapshot::read(&self.path).map_err(|error| base::Problem::from_fault(&error).message);
            let refused = read.and_then(|snapshot| self.take(snapshot)).err();
            *locked(&self.problems.file) = refused.into_iter().collect();
        }
        let mut tls = Vec::new();
        self.sockets.refresh_tls(&mut tls);
        *locked(&self.problems.tls) = tls;
    }

    fn take(&mut self, snapshot: Snapshot) -> Result<(), String> {
        if let Some(current) = &self.current {
            if snapshot.version < current.version {
                return Err(format!(
                    "the route snapshot {} has version {}, which is older than {}; it is not used",
                    self.path.display(),
                    snapshot.version,
                    current.version
                ));
            }
            // After a problem (a port in use) the same snapshot is tried again.
            if snapshot == *current && locked(&self.problems.snapshot).is_empty() {
                return Ok(());
            }
        }
        let mut problems = Vec::new();
        let listeners = self.sockets.apply(&snapshot.listeners, &mut problems);
        let before = self.plans.borrow().clone();
        let routes = plan::routes(&snapshot, &before, &mut self.health, &mut problems);
        self.plans.send_replace(Arc::new(Plan { version: snapshot.version, listeners, routes }));
        *locked(&self.problems.snapshot) = problems;
        self.current = Some(snapshot);
        Ok(())
    }

    /// Opens again what could not be opened, such as a port that was in use.
    fn retry(&mut self) {
        if !locked(&self.problems.snapshot).is_empty()
            && let Some(current) = self.current.clone()
            && let Err(what) = self.take(current)
        {
            *locked(&self.problems.file) = vec![what];
        }
    }

    /// Follows the file until `stop` is readable, then closes the listeners.
    pub(crate) fn run(mut self, stop: &OwnedFd) {
        let events = self.watch();
        loop {
            let mut fds = vec![PollFd::new(stop, PollFlags::IN)];
            if let Ok(events) = &events {
                fds.push(PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN));
            }
            let timeout = Timespec::try_from(WATCH_INTERVAL).ok();
            let polled = poll(&mut fds, timeout.as_ref());
            if !fds[0].revents().is_empty() {
                return self.close();
            }
            if let Ok(events) = &events {
                drain(events);
            }
            if polled == Ok(0) {
                self.retry();
            }
            self.turn();
        }
    }

    /// Closes all sockets, so that nobody waits in a queue that is not served any more. In the
    /// descriptor store they stay.
    fn close(self) {
        self.plans.send_modify(|plan| {
            *plan =
                Arc::new(Plan { version: plan.version, listeners: Vec::new(), routes: plan.routes.clone() });
        });
    }

    /// Events of the file's directory. Where they cannot be had, the interval does.
    fn watch(&self) -> io::Result<OwnedFd> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let events = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let what =
            inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&events, directory.unwrap_or(".".as_ref()), what)?;
        Ok(events)
    }
}

fn drain(events: &OwnedFd) {
    let mut sink = [0u8; 4096];
    while rustix::io::read(events, &mut sink).is_ok_and(|count| count > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_are_listed_up_to_the_limit_and_counted_beyond() {
        let problems = Problems::default();
        *locked(&problems.snapshot) = (0..PROBLEMS_MAX).map(|number| number.to_string()).collect();
        assert_eq!(problems.list().len(), PROBLEMS_MAX);
        *locked(&problems.tls) = vec!["a certificate".into(), "another".into()];
        let listed = problems.list();
        assert_eq!((listed.len(), listed.last().unwrap().as_str()), (PROBLEMS_MAX + 1, "and 2 more"));
    }
}
