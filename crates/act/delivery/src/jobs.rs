//! Jobs: one run to its end, with its outcome on the ledger. Ended runs are kept for their output,
//! which stays in the logs: it may hold anything, and the ledger forgets nothing.

use std::{sync::Arc, time::Duration};

use base::{Class, Ctx, Problem, id::ReplicaId};
use futures_util::StreamExt;
use runtime_api::{Exit, Phase};
use serde_json::json;
use service_file::model::{Job, Service};
use state::Commit;

use crate::{
    books::{Books, draft},
    ports::Ports,
    reconcile::{
        live::{Definition, LABEL_JOB},
        start::Start,
    },
    record::{ReleaseRecord, ServiceRecord},
};

/// Ended runs of one job whose output is kept.
const ENDED_KEPT: usize = 5;
/// How often a run is looked at though nothing was heard.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs a job to its end, again after a failure as often as it says.
///
/// Dropping the future leaves the run going; its outcome is then not on the ledger.
///
/// # Errors
/// It cannot be started, ends with another status than 0, or takes too long. The hint says where its
/// output is.
pub(crate) async fn run(
    ports: &Ports,
    ctx: &Ctx,
    record: ServiceRecord,
    release: ReleaseRecord,
    service: &Service,
    name: &str,
    job: &Job,
) -> Result<(), Problem> {
    let start = Start {
        scope: ctx.scope.clone(),
        revision: format!("{}#job", release.id),
        record,
        release,
        definition: Arc::new(Definition::Service(Box::new(service.clone()))),
        job: Some(name.to_owned()),
    };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let outcome = once(ports, &start, job).await;
        note(ports, ctx, &start, name, attempt, &outcome).await;
        tidy(ports, &start, name).await;
        match outcome {
            Ok((_, exit)) if exit.code == Some(0) => return Ok(()),
            Ok((_, exit)) if attempt > job.retries => {
                return Err(Problem::new(
                    Class::Invalid,
                    "delivery.job_failed",
                    format!("job `{name}` {}", exit.reason),
                )
                .with_hint(format!("`stead logs {} --job {name}` shows its output", start.record.name)));
            }
            Err(problem) if attempt > job.retries => return Err(problem),
            _ => {}
        }
    }
}

async fn once(ports: &Ports, start: &Start, job: &Job) -> Result<(ReplicaId, Exit), Problem> {
    let mut changes = ports.driver.changed();
    let id = crate::reconcile::start_one(start, ports).await?;
    let limit = job.timeout.get();
    let ended = async {
        loop {
            let seen = ports.driver.list().await.map_err(|error| Problem::from_fault(&error))?;
            match seen.into_iter().find(|observed| observed.id == id).map(|observed| observed.phase) {
                Some(Phase::Exited { exit }) => return Ok(exit),
                Some(Phase::Lost { why }) => {
                    return Err(Problem::new(
                        Class::Internal,
                        "delivery.job_lost",
                        format!("the run was lost: {why}"),
                    ));
                }
                None => return Err(Problem::new(Class::Internal, "delivery.job_lost", "the run is gone")),
                Some(_) => {}
            }
            tokio::select! {
                _ = changes.next() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    };
    match tokio::time::timeout(limit, ended).await {
        Ok(Ok(exit)) => Ok((id, exit)),
        Ok(Err(problem)) => Err(problem),
        Err(_) => {
            let _ = ports.driver.stop(id).await;
            Err(Problem::new(
                Class::Timeout,
                "delivery.job_timeout",
                format!("the run took longer than {}", job.timeout),
            ))
        }
    }
}

async fn note(
    ports: &Ports,
    ctx: &Ctx,
    start: &Start,
    name: &str,
    attempt: u32,
    outcome: &Result<(ReplicaId, Exit), Problem>,
) {
    let (why, body) = match outcome {
        Ok((id, exit)) => (
            format!("job `{name}` of `{}` {}", start.record.name, exit.reason),
            json!({"job": name, "replica": id, "attempt": attempt, "code": exit.code, "oom": exit.oom}),
        ),
        Err(problem) => (
            format!("job `{name}` of `{}` failed: {}", start.record.name, problem.message),
            json!({"job": name, "attempt": attempt, "problem": problem.code}),
        ),
    };
    let entry = draft(ctx, "job.ended", start.record.entity.as_str(), why, body);
    let books = Books { state: Arc::clone(&ports.state) };
    if let Err(problem) = books.commit(Commit { entries: vec![entry], ..Commit::default() }).await {
        tracing::warn!(%problem, job = name, "a job's end could not be put on the ledger");
    }
}

/// Removes all but the latest ended runs of a job.
async fn tidy(ports: &Ports, start: &Start, name: &str) {
    let Ok(seen) = ports.driver.list().await else { return };
    let mut ended: Vec<ReplicaId> = seen
        .into_iter()
        .filter(|observed| observed.scope == start.scope && observed.service == start.record.name)
        .filter(|observed| observed.labels.get(LABEL_JOB).is_some_and(|job| job == name))
        .filter(|observed| matches!(observed.phase, Phase::Exited { .. } | Phase::Lost { .. }))
        .map(|observed| observed.id)
        .collect();
    ended.sort();
    let surplus = ended.len().saturating_sub(ENDED_KEPT);
    for id in ended.into_iter().take(surplus) {
        let _ = ports.driver.remove(id).await;
    }
}

#[cfg(test)]
mod tests;
