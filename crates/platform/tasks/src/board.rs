//! The board: which tasks are alive, in which state. Bounded.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{Error, Stage};

/// Names one task of one supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(crate) u64);

/// A task as diagnostics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskInfo {
    pub id: TaskId,
    pub name: String,
    /// The name of its kind, or `blocking`.
    pub kind: &'static str,
    pub stage: Stage,
    pub state: TaskState,
    /// How often it was started again.
    pub restarts: u64,
    pub last_error: Option<String>,
    /// Since it was first spawned.
    pub age: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    Running,
    /// It failed and waits to be started again.
    BackingOff {
        wait: Duration,
    },
    /// It was told to stop and has not ended yet.
    Stopping,
}

#[derive(Debug)]
struct Row {
    name: String,
    kind: &'static str,
    stage: Stage,
    state: TaskState,
    restarts: u64,
    last_error: Option<String>,
    spawned_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Board {
    rows: Mutex<BTreeMap<u64, Row>>,
    next: AtomicU64,
    tasks_max: usize,
}

impl Board {
    pub(crate) fn new(tasks_max: usize) -> Self {
        Self { rows: Mutex::new(BTreeMap::new()), next: AtomicU64::new(1), tasks_max }
    }

    /// Takes a place on the board; dropping the seat frees it.
    pub(crate) fn seat(
        self: &Arc<Self>,
        name: &str,
        kind: &'static str,
        stage: Stage,
    ) -> Result<Seat, Error> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= self.tasks_max {
            return Err(Error::TooMany { name: name.to_owned(), limit: self.tasks_max });
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let row = Row {
            name: name.to_owned(),
            kind,
            stage,
            state: TaskState::Running,
            restarts: 0,
            last_error: None,
            spawned_at: Instant::now(),
        };
        rows.insert(id, row);
        Ok(Seat { board: Arc::clone(self), id: TaskId(id) })
    }

    pub(crate) fn list(&self) -> Vec<TaskInfo> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter()
            .map(|(id, row)| TaskInfo {
                id: TaskId(*id),
                name: row.name.clone(),
                kind: row.kind,
                stage: row.stage,
                state: row.state,
                restarts: row.restarts,
                last_error: row.last_error.clone(),
                age: row.spawned_at.elapsed(),
            })
            .collect()
    }

    pub(crate) fn names_in(&self, stage: Stage) -> Vec<String> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().filter(|row| row.stage == stage).map(|row| row.name.clone()).collect()
    }

    pub(crate) fn mark_stopping(&self, stage: Stage) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values_mut().filter(|row| row.stage == stage).for_each(|row| row.state = TaskState::Stopping);
    }

    fn change(&self, id: TaskId, with: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get_mut(&id.0) {
            with(row);
        }
    }
}

/// A place on the board.
#[derive(Debug)]
pub(crate) struct Seat {
    board: Arc<Board>,
    pub(crate) id: TaskId,
}

impl Seat {
    pub(crate) fn stopping(&self) {
        self.board.change(self.id, |row| row.state = TaskState::Stopping);
    }
    pub(crate) fn backing_off(&self, error: &str, wait: Duration) {
        self.board.change(self.id, |row| {
            row.state = TaskState::BackingOff { wait };
            row.last_error = Some(error.to_owned());
        });
    }
    pub(crate) fn restarted(&self) {
        self.board.change(self.id, |row| {
            row.state = TaskState::Running;
            row.restarts += 1;
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.rows.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id.0);
    }
}
