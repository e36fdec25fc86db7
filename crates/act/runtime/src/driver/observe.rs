//! Seeing what runs: adopting what is recorded, never guessing, and clearing up after dead shims.

use std::{
    fs, io,
    os::fd::AsFd,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use base::{Timestamp, id::ReplicaId};
use runtime_api::{Error, Identity, Observed, Phase, Result, Usage};
use rustix::fd::{BorrowedFd, OwnedFd};

use super::{Damaged, Inner, io_error, lock, socket};
use crate::{
    cgroup::Group,
    files, identity, secrets,
    tree::{self, Snapshot},
    wire::{CONTROL, MARK, RECORD, Record, Reply, Request, STATUS, Status, VERSION},
};

const RECORD_BYTES_MAX: usize = 4 << 20;
const STATUS_BYTES_MAX: usize = 1 << 20;
/// How long killed leftovers may take to be gone.
const CLEAR_DEADLINE: Duration = Duration::from_secs(5);
/// How long a shim may take to say its status.
const STATUS_DEADLINE: Duration = Duration::from_secs(1);
/// A replica without a status that is this young may be about to get one from a shim that an earlier
/// control started.
const STATUS_GRACE: Duration = Duration::from_secs(10);

/// A replica as its files say it is.
pub(super) struct Seen {
    pub(super) record: Arc<Record>,
    pub(super) status: Option<Status>,
    pub(super) phase: Phase,
    /// Handle of the shim while it lives.
    pub(super) shim: Option<OwnedFd>,
}

impl Inner {
    pub(super) fn observe_all(&self) -> Result<(Vec<Observed>, Vec<Damaged>)> {
        let dir = &self.options.dir;
        let (mut observed, mut damaged) = (Vec::new(), Vec::new());
        let mut snapshot = None;
        for entry in fs::read_dir(dir).map_err(|e| io_error(dir, &e))? {
            let path = entry.map_err(|e| io_error(dir, &e))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(id) = ReplicaId::parse(name) else { continue };
            match self.see(&id) {
                Ok(Some(seen)) => observed.push(self.observed(&id, seen, &mut snapshot)),
                Ok(None) => {}
                Err(error) => damaged.push(Damaged { path, why: error.to_string() }),
            }
        }
        observed.sort_by(|a, b| a.id.cmp(&b.id));
        lock(&self.records).retain(|id, _| observed.iter().any(|seen| seen.id == *id));
        Ok((observed, damaged))
    }

    fn observed(&self, id: &ReplicaId, seen: Seen, snapshot: &mut Option<Snapshot>) -> Observed {
        let Seen { record, status, phase, shim } = seen;
        let live = shim.is_some();
        if let Some(shim) = shim {
            self.watch.shim(id, shim);
        }
        let mut notes = Vec::new();
        let (mut usage, mut restarts) = (Usage::default(), 0);
        if let Some(status) = status {
            usage = status.usage;
            restarts = status.restarts;
            if live {
                usage = Group::adopt(&status.cgroups, id.as_str())
                    .usage()
                    .unwrap_or_else(|| snapshot.get_or_insert_with(Snapshot::take).usage(status.shim.pid));
            }
            notes = status.notes;
            if let Some(last) = status.last_exit.filter(|_| live) {
                notes.push(format!("its last run: {}", last.reason));
            }
        }
        Observed {
            id: id.clone(),
            scope: record.scope.clone(),
            service: record.service.clone(),
            release: record.release.clone(),
            labels: record.labels.clone(),
            phase,
            usage,
            restarts,
            notes,
        }
    }

    /// Reads one replica; none when there is none. A shim that is gone without a word makes it lost,
    /// which is recorded after what it left behind was ended.
    pub(super) fn see(&self, id: &ReplicaId) -> io::Result<Option<Seen>> {
        let path = self.path(id);
        let dir = match files::open_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let record = match self.record(id, dir.as_fd()) {
            Ok(record) => record,
            // Being made or being removed right now.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.may_appear(id, &path) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let status = match read_status(dir.as_fd()) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let phase = if self.may_appear(id, &path) {
                    Phase::Starting
                } else {
                    Phase::Lost { why: "it was never started: the platform ended while preparing it".into() }
                };
                return Ok(Some(Seen { record, status: None, phase, shim: None }));
            }
            Err(error) => {
                let phase = Phase::Lost { why: error.to_string() };
                return Ok(Some(Seen { record, status: None, phase, shim: None }));
            }
        };
        if ended(&status.phase) {
            let phase = status.phase.clone();
            return Ok(Some(Seen { record, status: Some(status), phase, shim: None }));
        }
        match identity::open(&status.shim) {
            Ok(shim) => {
                let status = fresher(&path, status);
                let phase = status.phase.clone();
                let shim = (!ended(&phase)).then_some(shim);
                Ok(Some(Seen { record, status: Some(status), phase, shim }))
            }
            Err(why) => {
                // Its last word may have come between our two looks.
                let status = read_status(dir.as_fd()).unwrap_or(status);
                let status = if ended(&status.phase) { status } else { lose(id, dir.as_fd(), status, &why) };
                let phase = status.phase.clone();
                Ok(Some(Seen { record, status: Some(status), phase, shim: None }))
            }
        }
    }

    fn record(&self, id: &ReplicaId, dir: BorrowedFd<'_>) -> io::Result<Arc<Record>> {
        if let Some(known) = lock(&self.records).get(id) {
            return Ok(known.clone());
        }
        let content = files::read(dir, RECORD, RECORD_BYTES_MAX)?;
        let record: Record = serde_json::from_slice(&content)?;
        if record.version != VERSION || record.id != *id {
            return Err(io::Error::other(format!("{RECORD} is of another version or replica")));
        }
        let record = Arc::new(record);
        lock(&self.records).insert(id.clone(), record.clone());
        Ok(record)
    }

    fn may_appear(&self, id: &ReplicaId, path: &Path) -> bool {
        if lock(&self.starting).contains(id) {
            return true;
        }
        let modified = fs::symlink_metadata(path).and_then(|meta| meta.modified());
        let Ok(age) = modified.map(|at| {
            let at = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let at = Timestamp::from_nanos(i64::try_from(at.as_nanos()).unwrap_or(i64::MAX));
            self.options.clock.now().since(at)
        }) else {
            return false;
        };
        age < STATUS_GRACE
    }

    /// Ends and clears what a shim left behind that failed to start.
    pub(super) fn clear_after(&self, id: &ReplicaId, dir: &Path) {
        let Ok(opened) = files::open_dir(dir) else { return };
        if let Ok(status) = read_status(opened.as_fd()) {
            clear(id, &status, true);
        }
    }

    pub(super) fn remove(&self, id: &ReplicaId) -> Result<()> {
        let path = self.path(id);
        let io = |error: io::Error| io_error(&path, &error);
        if path.is_symlink() {
            return fs::remove_file(&path).map_err(io);
        }
        if lock(&self.starting).contains(id) {
            return Err(Error::StillRunning(id.clone()));
        }
        match self.see(id) {
            Ok(None) if !path.exists() => return Err(Error::NotFound(id.clone())),
            Ok(Some(seen)) if !ended(&seen.phase) => return Err(Error::StillRunning(id.clone())),
            Ok(Some(Seen { status: Some(status), .. })) => {
                clear(id, &status, false);
            }
            // Nothing readable: only the files are left to go.
            Ok(_) | Err(_) => {}
        }
        fs::remove_dir_all(&path).map_err(io)?;
        lock(&self.records).remove(id);
        Ok(())
    }
}

pub(super) fn ended(phase: &Phase) -> bool {
    matches!(phase, Phase::Exited { .. } | Phase::Lost { .. })
}

pub(super) fn read_status(dir: BorrowedFd<'_>) -> io::Result<Status> {
    let content = files::read(dir, STATUS, STATUS_BYTES_MAX)?;
    let status: Status = serde_json::from_slice(&content)?;
    if status.version != VERSION {
        return Err(io::Error::other(format!("{STATUS} has version {}, we know {VERSION}", status.version)));
    }
    Ok(status)
}

/// What a live shim says itself when its program is gone and the status does not say so: the disk may
/// be full, or it is about to write.
fn fresher(dir: &Path, status: Status) -> Status {
    let (Phase::Running { identity, .. } | Phase::Stopping { identity, .. }) = &status.phase else {
        return status;
    };
    if identity::open(identity).is_ok() {
        return status;
    }
    match socket::ask(dir, &Request::Status, STATUS_DEADLINE) {
        Ok(Reply { status: Some(fresh), .. }) => *fresh,
        _ => status,
    }
}

/// Records that the shim is gone, after ending what it left.
fn lose(id: &ReplicaId, dir: BorrowedFd<'_>, mut status: Status, why: &str) -> Status {
    let left = clear(id, &status, true);
    let mut text = format!("its supervisor is gone: {why}");
    if left > 0 {
        text += &format!("; {left} processes that it left were killed");
    }
    status.phase = Phase::Lost { why: text };
    status.secrets_dir = None;
    if let Ok(content) = serde_json::to_vec(&status) {
        // When the disk refuses, the next look finds the same.
        let _ = files::replace(dir, STATUS, &content);
    }
    let _ = rustix::fs::unlinkat(dir, CONTROL, rustix::fs::AtFlags::empty());
    status
}

/// Ends all that is left of a replica and removes what lives outside its directory; gives the number
/// of processes that were killed.
fn clear(id: &ReplicaId, status: &Status, processes: bool) -> usize {
    let group = Group::adopt(&status.cgroups, id.as_str());
    let mut killed = 0;
    let processes = processes && same_boot(&status.shim) && !is_own(id);
    if processes {
        killed = group.processes().len();
        group.kill();
        // Those outside any group, and those of a machine without groups.
        killed += tree::kill_marked(id.as_str()).saturating_sub(killed);
    }
    let began = Instant::now();
    let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    while !group.remove() && processes && began.elapsed() < CLEAR_DEADLINE {
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
    if let Some(dir) = &status.secrets_dir {
        secrets::remove(id, dir);
    }
    killed
}

fn same_boot(shim: &Identity) -> bool {
    identity::boot_id().is_ok_and(|boot| boot == shim.boot_id)
}

/// Control may look at the replica that it is itself, whose shim somebody killed.
fn is_own(id: &ReplicaId) -> bool {
    std::env::var(MARK).is_ok_and(|own| own == id.as_str())
}
