//! How replicas ended: counted once, and put on the ledger once, whatever becomes of the writes.
//!
//! A replica is forgotten only after its end is on the ledger, so an end that a full disk or a crash
//! kept from it is found again. Its entry comes with a mark, a record under the replica's id that must
//! not be there yet: who repeats a write whose answer was lost learns by it that all is done. The mark
//! goes when the replica is forgotten.

use std::time::Duration;

use base::{Problem, Scope, id::ReplicaId};
use ledger::Draft;
use runtime_api::{Exit, Observed, Phase};
use serde_json::json;
use state::{Commit, Key, Precondition, Put};

use super::{
    Reconciler,
    live::{Definition, EXITS_KEPT, Live},
};
use crate::{
    books::{Books, draft},
    record,
};

/// Ends that are put on the ledger by one commit.
const ENDS_AT_ONCE_MAX: usize = 100;

/// An end on its way to the ledger.
#[derive(Debug, Clone)]
struct End {
    key: (Scope, String),
    replica: ReplicaId,
    entry: Draft,
}

impl Reconciler {
    /// Puts on the ledger how replicas ended, each once, with what it was caused by.
    pub(super) async fn account_for_ends(&mut self) {
        self.count_ends();
        let open: Vec<End> = self.open_ends();
        for ends in open.chunks(ENDS_AT_ONCE_MAX) {
            match self.books.state.commit(commit_of(ends)).await {
                Ok(_) => self.accounted(ends),
                // One of them is on the ledger already; which one, they say one by one.
                Err(state::Error::Conflict { .. }) if ends.len() > 1 => {
                    for end in ends {
                        self.account_for(end).await;
                    }
                }
                Err(state::Error::Conflict { .. }) => self.accounted(ends),
                Err(error) => return tell(&Problem::from_fault(&error)),
            }
        }
    }

    async fn account_for(&mut self, end: &End) {
        let end = std::slice::from_ref(end);
        match self.books.state.commit(commit_of(end)).await {
            Ok(_) | Err(state::Error::Conflict { .. }) => self.accounted(end),
            Err(error) => tell(&Problem::from_fault(&error)),
        }
    }

    fn accounted(&mut self, ends: &[End]) {
        for end in ends {
            let live = self.services.get_mut(&end.key);
            if let Some(replica) = live.and_then(|live| live.replicas.get_mut(&end.replica)) {
                replica.accounted = true;
                replica.end = None;
            }
        }
    }

    /// Takes in each new end once: for the restarts to come, for those who look, for the ledger.
    fn count_ends(&mut self) {
        let now = self.now();
        let mut ended = Vec::new();
        for (key, live) in &self.services {
            for (id, replica) in &live.replicas {
                let Some(exit) = exit_of(&replica.observed) else { continue };
                if !replica.counted && replica.job().is_none() {
                    ended.push((key.clone(), id.clone(), exit));
                }
            }
        }
        for (key, id, exit) in ended {
            let entry = self.services.get_mut(&key).and_then(|live| live.count(&id, exit, now));
            let entry = entry.zip(self.services.get(&key)).map(|((why, body), live)| {
                draft(&self.ctx(live), "replica.exited", live.record.entity.as_str(), why, body)
            });
            let live = self.services.get_mut(&key);
            if let Some(replica) = live.and_then(|live| live.replicas.get_mut(&id)) {
                replica.counted = true;
                // What somebody asked for is on the ledger as that.
                replica.accounted = entry.is_none();
                replica.end = entry;
            }
        }
    }

    fn open_ends(&self) -> Vec<End> {
        let ends = self.services.iter().flat_map(|(key, live)| {
            live.replicas.iter().filter(|(_, replica)| !replica.accounted).filter_map(|(id, replica)| {
                let entry = replica.end.clone()?;
                Some(End { key: key.clone(), replica: id.clone(), entry })
            })
        });
        ends.collect()
    }
}

/// Takes the mark of a replica away that is no longer there to be listed.
pub(super) async fn unmark(books: &Books, scope: &Scope, replica: &ReplicaId) {
    let key = Key::new(scope, record::REPLICA_END, replica.as_str());
    // Most replicas end because they are asked to, and have none.
    if !matches!(books.state.get(key.clone()).await, Ok(Some(_))) {
        return;
    }
    if let Err(problem) = books.commit(Commit { puts: vec![Put::Remove(key)], ..Commit::default() }).await {
        tracing::info!(%replica, %problem, "the mark of an ended replica stays");
    }
}

fn commit_of(ends: &[End]) -> Commit {
    let mut commit = Commit::default();
    for end in ends {
        let (scope, id) = (&end.key.0, end.replica.as_str());
        commit.preconditions.push(Precondition::Absent(Key::new(scope, record::REPLICA_END, id)));
        commit.puts.push(record::put(scope, record::REPLICA_END, id, &json!({"v": 1}), &[]));
        commit.entries.push(end.entry.clone());
    }
    commit
}

fn tell(problem: &Problem) {
    tracing::warn!(%problem, "ended replicas could not be put on the ledger yet");
}

impl Live {
    /// Counts the end of a replica. Gives the words for the ledger, unless somebody asked for it.
    fn count(
        &mut self,
        id: &ReplicaId,
        mut exit: Exit,
        now: Duration,
    ) -> Option<(String, serde_json::Value)> {
        let replica = self.replicas.get(id)?;
        let asked = replica.stopping || replica.drain.is_some() || replica.removing;
        let ready_for = replica.ready_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let unasked = !asked || replica.hopeless.is_some();
        let current = Some(replica.revision.as_str()) == self.revision.as_deref();
        let release = replica.observed.release.to_string();
        // The signal that ended it is not why it had to go.
        if let Some(check) = &replica.hopeless {
            exit.reason = format!("was replaced: {check}");
        }
        self.exits.push((id.clone(), exit.clone()));
        let surplus = self.exits.len().saturating_sub(EXITS_KEPT);
        self.exits.drain(..surplus);
        if current && unasked {
            self.account(&exit, ready_for, now);
        }
        unasked.then(|| {
            let body = json!({
                "replica": id, "release": release,
                "code": exit.code, "signal": exit.signal, "oom": exit.oom, "at": exit.at.to_string(),
            });
            (format!("replica {}", exit.reason), body)
        })
    }

    /// Counts an end that nobody asked for.
    fn account(&mut self, exit: &Exit, ready_for: Duration, now: Duration) {
        use service_file::model::RestartPolicy;
        let restart = match &self.definition {
            Some(Definition::Service(service)) => service.run.as_ref().map(|run| run.restart.policy),
            _ => None,
        };
        let for_good = match restart {
            Some(RestartPolicy::Never) => true,
            Some(RestartPolicy::OnFailure) => exit.code == Some(0),
            _ => false,
        };
        if for_good {
            self.completed += 1;
            return;
        }
        if ready_for >= crate::decide::STABLE_AFTER {
            self.backoff.succeeded();
        }
        self.backoff.failed(now);
    }
}

fn exit_of(observed: &Observed) -> Option<Exit> {
    match &observed.phase {
        Phase::Exited { exit } => Some(exit.clone()),
        Phase::Lost { why } => Some(Exit {
            at: base::Timestamp::default(),
            code: None,
            signal: None,
            oom: false,
            reason: format!("was lost: {why}"),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
