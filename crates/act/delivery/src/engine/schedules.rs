//! Schedules of jobs: kept as the services' definitions ask for them, whatever happened meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::{Ctx, Problem, Scope};
use flow::{
    Call, Definition, Handler, Missed, Mode, Overlap, Retry, Schedule, StepCall, StepDef, StepError,
    When as Planned,
};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_file::model::{Job, Kind, Run, Schedule as Times, Service, When};
use tasks::Shutdown;

use super::Engine;
use crate::{books::Books, jobs, ports::Ports, reconcile::World};

pub(crate) const HANDLER: &str = "delivery.job";
pub(crate) const VERSION: u32 = 1;
/// Name under which the run of a service of kind `job` is known.
pub(crate) const MAIN: &str = "main";
/// A job of a service without `jobs` has so long; those under `jobs` say themselves.
const MAIN_TIMEOUT: base::units::Span = base::units::Span::from_secs(24 * 3_600);
/// Schedules are compared this often though nothing seemed to change.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Input {
    service: String,
    job: String,
}

/// The job of a service by name, the main run of a job service included.
pub(crate) fn job_of(service: &Service, name: &str) -> Option<Job> {
    if let Some(job) = service.jobs.get(name) {
        return Some(job.clone());
    }
    service.run.as_ref().filter(|run| name == MAIN && run.kind == Kind::Job).map(main_job)
}

fn main_job(run: &Run) -> Job {
    Job {
        command: run.command.clone(),
        when: run.schedule.clone().map_or(When::Manual, When::Schedule),
        environment: run.environment.clone(),
        working_directory: Some(run.working_directory.clone()),
        user: run.user.clone(),
        limits: run.limits.clone(),
        stop: run.stop.clone(),
        timeout: MAIN_TIMEOUT,
        retries: 0,
    }
}

/// Runs one job as a step of a workflow.
#[derive(Debug)]
pub(crate) struct JobHandler {
    pub(crate) ports: Ports,
}

impl Handler for JobHandler {
    fn call(&self, call: StepCall) -> BoxFuture<'_, Result<Value, StepError>> {
        Box::pin(async move {
            let input: Input = crate::apply::input(&call)?;
            let books = Books { state: Arc::clone(&self.ports.state) };
            let record =
                books.service(&call.ctx.scope, &input.service).await.map_err(crate::apply::failed)?.body;
            let Some(release) = &record.release else {
                return Err(StepError::fatal(format!("`{}` has no release", input.service)));
            };
            let release =
                books.release(&call.ctx.scope, release.as_str()).await.map_err(crate::apply::failed)?;
            let release = release.ok_or_else(|| StepError::fatal("the release is gone"))?;
            let service = Service::from_canonical(release.definition.clone())
                .map_err(|error| StepError::fatal(error.to_string()))?;
            let job = job_of(&service, &input.job)
                .ok_or_else(|| StepError::fatal(format!("there is no job `{}` any more", input.job)))?;
            jobs::run(&self.ports, &call.ctx, record, release, &service, &input.job, &job)
                .await
                .map_err(|problem| StepError::fatal(problem.message))?;
            Ok(Value::Null)
        })
    }
}

impl Engine {
    /// Keeps the schedules as the services ask for them, until shutdown.
    pub(super) async fn keep_schedules(self, shutdown: Shutdown) {
        let mut changes = self.shared.changes();
        let mut before: Option<BTreeMap<(Scope, String), Schedule>> = None;
        loop {
            let wanted = wanted(&self.shared.world());
            if before.as_ref() != Some(&wanted) {
                match self.put_schedules(&wanted).await {
                    Ok(()) => before = Some(wanted),
                    Err(problem) => tracing::warn!(%problem, "schedules of jobs could not be kept"),
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(COMPARE_EVERY) => before = None,
            }
        }
    }

    async fn put_schedules(&self, wanted: &BTreeMap<(Scope, String), Schedule>) -> Result<(), Problem> {
        // Before the first look at the records nobody knows what is wanted.
        if *self.shared.changes().borrow() == 0 {
            return Ok(());
        }
        let world = self.shared.world();
        let mut scopes: Vec<Scope> = world.services.keys().map(|(scope, _)| scope.clone()).collect();
        scopes.dedup();
        let failed = |error: flow::Error| Problem::from_fault(&error);
        for scope in scopes {
            let ctx = Ctx::system("schedules", scope.clone());
            let found = self.flows.schedules(&ctx).await.map_err(failed)?;
            for status in &found {
                let name = &status.schedule.name;
                if !wanted.contains_key(&(scope.clone(), name.clone())) {
                    self.flows.remove_schedule(&ctx, name).await.map_err(failed)?;
                }
            }
            for ((of, name), schedule) in wanted.iter().filter(|((of, _), _)| *of == scope) {
                let same = found.iter().any(|status| status.schedule == *schedule);
                debug_assert_eq!((of, name), (&scope, &schedule.name));
                if !same {
                    self.flows.put_schedule(&ctx, schedule.clone()).await.map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// What the services' definitions ask for.
fn wanted(world: &World) -> BTreeMap<(Scope, String), Schedule> {
    let mut schedules = BTreeMap::new();
    for ((scope, name), now) in &world.services {
        let running =
            now.record.release.is_some() && !now.record.removing && !now.record.is_platform_service();
        let Some(service) =
            running.then(|| Service::from_canonical(now.record.definition.clone()).ok()).flatten()
        else {
            continue;
        };
        let mut add = |job: &str, times: &Times| {
            let schedule = schedule(name, job, times);
            schedules.insert((scope.clone(), schedule.name.clone()), schedule);
        };
        for (job, spec) in &service.jobs {
            if let When::Schedule(times) = &spec.when {
                add(job.as_str(), times);
            }
        }
        if let Some(times) =
            service.run.as_ref().filter(|run| run.kind == Kind::Job).and_then(|run| run.schedule.as_ref())
        {
            add(MAIN, times);
        }
    }
    schedules
}

fn schedule(service: &str, job: &str, times: &Times) -> Schedule {
    let input = Input { service: service.to_owned(), job: job.to_owned() };
    let call = Call::new(HANDLER, VERSION, serde_json::to_value(input).unwrap_or_default())
        .retry(Retry::NEVER)
        .timeout_ms(u64::try_from(MAIN_TIMEOUT.get().as_millis()).unwrap_or(u64::MAX));
    Schedule {
        name: format!("job/{service}/{job}"),
        when: Planned::Cron { expression: times.cron.clone(), zone: times.zone.clone() },
        missed: Missed::Latest,
        overlap: Overlap::Skip,
        enabled: true,
        definition: Definition {
            name: format!("job-{service}-{job}"),
            steps: vec![StepDef::call("run", Mode::OnceThenAsk, call)],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Service {
        let parsed = service_file::parse("stead.yaml", text);
        assert!(parsed.problems.items.is_empty(), "{}", parsed.problems.render(false));
        parsed.services[0].base().clone()
    }

    #[test]
    fn a_job_service_runs_as_its_main_job() {
        let job = service("name: report\nrun: {kind: job, command: make report, schedule: \"0 3 * * *\"}\n");
        assert!(matches!(job_of(&job, MAIN).map(|job| job.when), Some(When::Schedule(_))));
        assert!(job_of(&job, "other").is_none());
        let web = service("name: web\nrun: {command: serve}\njobs: {tidy: {command: tidy}}\n");
        assert!(job_of(&web, MAIN).is_none() && job_of(&web, "tidy").is_some());
    }
}
