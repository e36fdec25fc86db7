//! From changes in memory to one commit.

use state::{Commit, Precondition, Put};

use super::*;
use crate::{
    record::{asking_term, flow_key, of_flow, open_term, step_key},
    status::Progress,
};

/// The versions of the records as last written; zero is absent.
#[derive(Debug)]
pub(crate) struct Versions {
    pub(crate) header: u64,
    pub(crate) steps: Vec<u64>,
}

impl Versions {
    pub(crate) fn new(steps: usize) -> Self {
        Self { header: 0, steps: vec![0; steps] }
    }
}

/// What one or more events came to.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) commit: Commit,
    pub(crate) effects: Vec<Effect>,
    pub(crate) progress: Vec<Progress>,
    /// The records behind `commit.puts`, in order; none is the header.
    wrote: Vec<Option<usize>>,
}

impl Batch {
    pub(crate) fn writes(&self) -> bool {
        !self.wrote.is_empty()
    }
}

impl Machine {
    /// Takes what piled up. The commit lacks only the fence.
    ///
    /// # Errors
    /// A record does not serialise, which no input can bring about.
    pub(crate) fn take(&mut self) -> Result<Batch, Error> {
        let out = std::mem::take(&mut self.out);
        let mut commit = Commit { entries: out.entries, ..Commit::default() };
        let mut wrote = Vec::with_capacity(out.steps.len() + 1);
        if out.header {
            let key = flow_key(&self.scope, &self.id);
            let index = vec![open_term(!self.header.state.is_final())];
            commit.preconditions.push(expect(&key, self.versions.header));
            commit.puts.push(Put::Put { key, body: self.body(&self.header)?, index });
            wrote.push(None);
        }
        for step in out.steps {
            let record = &self.steps[step];
            let key = step_key(&self.scope, &self.id, &self.definition.steps[step].name);
            let mut index = vec![of_flow(&self.id)];
            if matches!(record.phase, Phase::Asking | Phase::UndoAsking) {
                index.push(asking_term());
            }
            if commit.preconditions.is_empty() {
                // One record of ours suffices to notice a commit that was written although it seemed
                // to fail.
                commit.preconditions.push(expect(&key, self.versions.steps[step]));
            }
            commit.puts.push(Put::Put { key, body: self.body(record)?, index });
            wrote.push(Some(step));
        }
        let progress = out.progress.into_iter().map(|(step, what)| Progress {
            scope: self.scope.clone(),
            flow: self.id.clone(),
            step: step.map(|step| self.name(step)),
            what,
        });
        Ok(Batch { commit, effects: out.effects, progress: progress.collect(), wrote })
    }

    /// Notes the versions that the commit gave; `versions` may be longer than what this flow wrote.
    pub(crate) fn written(&mut self, batch: &Batch, versions: &[u64]) {
        for (record, version) in batch.wrote.iter().zip(versions) {
            match record {
                None => self.versions.header = *version,
                Some(step) => self.versions.steps[*step] = *version,
            }
        }
    }

    fn body(&self, record: &impl serde::Serialize) -> Result<Value, Error> {
        serde_json::to_value(record)
            .map_err(|error| Error::Unreadable { what: self.id.to_string(), why: error.to_string() })
    }
}

fn expect(key: &state::Key, version: u64) -> Precondition {
    match version {
        0 => Precondition::Absent(key.clone()),
        version => Precondition::Version(key.clone(), version),
    }
}
