//! The status on disk, even when the disk is nearly full.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use runtime_api::Phase;

use super::Supervisor;
use crate::{
    files,
    shim::run::Part,
    wire::{self, Status, VERSION},
};

/// Pause before a status that the disk refused is written again, and between news of lost output.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);
/// Written at the start and removed when the disk is full, so that the end can be recorded.
const RESERVE: &str = ".reserve";
const RESERVE_BYTES: usize = 16 << 10;

/// Keeps room for the last status.
pub(super) fn reserve() {
    let _ = std::fs::write(RESERVE, [0u8; RESERVE_BYTES]);
}

pub(super) fn release() {
    let _ = std::fs::remove_file(RESERVE);
}

impl Supervisor {
    pub(super) fn publish_running(&mut self) {
        if let Some(main) = self.runs.iter().find(|run| run.part == Part::Main) {
            let phase = Phase::Running { identity: main.identity.clone(), since: main.since };
            self.publish(phase);
        }
    }

    pub(super) fn status(&self) -> Status {
        let mut notes = self.notes.clone();
        if let Some((count, why)) = self.writer.lost() {
            notes.push(format!("{count} lines of its output were lost: {why}"));
        }
        Status {
            version: VERSION,
            phase: self.phase.clone(),
            shim: self.shim.clone(),
            restarts: self.restarts,
            notes,
            last_exit: self.last_exit.clone(),
            cgroups: self.group.dirs().to_vec(),
            secrets_dir: self.secrets_dir.clone(),
            usage: self.usage,
        }
    }

    pub(super) fn publish(&mut self, phase: Phase) {
        self.phase = phase;
        let status = self.status();
        self.lost_published = self.writer.lost().map_or(0, |(count, _)| count);
        let Ok(content) = serde_json::to_vec(&status) else { return };
        let mut written = files::replace(self.dir.as_fd(), wire::STATUS, &content);
        if written.is_err() && std::fs::remove_file(RESERVE).is_ok() {
            written = files::replace(self.dir.as_fd(), wire::STATUS, &content);
        }
        self.publish_at = match written {
            // Somebody removed the directory with us in it: there is nobody left to tell.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Some(Instant::now() + PUBLISH_EVERY)
            }
            _ => None,
        };
    }

    /// Writes a status that the disk refused, and news of lost output, but not too often.
    pub(super) fn publish_again(&mut self) {
        let lost = self.writer.lost().map_or(0, |(count, _)| count);
        if lost != self.lost_published && self.publish_at.is_none() {
            self.publish_at = Some(Instant::now() + PUBLISH_EVERY);
        }
        if self.publish_at.is_some_and(|at| Instant::now() >= at) {
            let phase = self.phase.clone();
            self.publish(phase);
        }
    }
}
