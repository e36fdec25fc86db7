//! The engine: the port [`Delivery`] over records, reconciler and workflow engine.

mod planning;
mod plans;
mod runs;
pub(crate) mod schedules;
mod views;

use std::sync::Arc;

use base::{Class, Ctx, Problem, Scope};
use delivery_api::{
    Delivery, Map, Plan, PlanState, Run, Series, Service, ServiceDetail, Submission,
    port::{Command, Result},
};
use futures_util::future::BoxFuture;
use serde_json::json;
use state::{Commit, Key, Precondition, Scan};

use crate::{
    apply,
    books::{Books, Versioned, changed, draft},
    jobs,
    ports::Ports,
    reconcile::{Reconciler, Shared},
    record::{self, PlanRecord, ServiceRecord},
};

/// Most replicas a service may be scaled to.
pub const REPLICAS_MAX: u32 = service_file::model::Run::REPLICAS_MAX;
/// Plans that a listing gives.
const PLANS_LISTED: usize = 100;

/// Delivery as one value. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) books: Books,
    pub(crate) shared: Shared,
    pub(crate) flows: flow::Engine,
}

impl Engine {
    /// Makes the engine and its workflow engine. Nothing runs before [`Engine::spawn`].
    #[must_use]
    pub fn new(ports: Ports, holder: String) -> Self {
        let shared = Shared::new();
        let job = Arc::new(schedules::JobHandler { ports: ports.clone() });
        let handlers = apply::handlers(&ports, &shared).with(schedules::HANDLER, schedules::VERSION, job);
        let flows = flow::Engine::new(flow::Options {
            state: Arc::clone(&ports.state),
            clock: Arc::clone(&ports.clock),
            tasks: ports.tasks.clone(),
            handlers,
            limits: flow::Limits::default(),
            holder,
        });
        let books = Books { state: Arc::clone(&ports.state) };
        Self { ports, books, shared, flows }
    }

    /// Starts the reconciler and the workflow engine.
    ///
    /// # Errors
    /// The process is shutting down or has too many tasks.
    pub fn spawn(&self) -> std::result::Result<(), tasks::Error> {
        let flows = self.flows.clone();
        self.ports.tasks.spawn(flow::Engine::KIND, "flow engine", move |shutdown| {
            let flows = flows.clone();
            async move { flows.run(shutdown).await }
        })?;
        let (ports, shared) = (self.ports.clone(), self.shared.clone());
        self.ports.tasks.spawn(tasks::Kind::LOOP, "reconciler", move |shutdown| {
            Reconciler::new(ports.clone(), shared.clone()).run(shutdown)
        })?;
        let engine = self.clone();
        self.ports.tasks.spawn(tasks::Kind::LOOP, "schedules of jobs", move |shutdown| {
            engine.clone().keep_schedules(shutdown)
        })?;
        let engine = self.clone();
        self.ports
            .tasks
            .spawn(tasks::Kind::LOOP, "old plans", move |shutdown| engine.clone().keep_plans_few(shutdown))?;
        Ok(())
    }

    /// What is seen now, and a signal for changes.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn apply_plan(&self, ctx: Ctx, id: String) -> Result<Run> {
        let found = self.books.plan(&ctx.scope, &id).await?;
        if let Some(run) = &found.body.plan.run {
            return self.run(&ctx.scope, run).await;
        }
        if !found.body.plan.missing_blobs.is_empty() {
            self.check_blobs(&found.body).await?;
        }
        if self.basis(&ctx.scope).await? != found.body.basis {
            return Err(Problem::new(
                Class::Conflict,
                "delivery.stale_plan",
                "things have changed since this plan was made",
            )
            .with_hint("make a new plan, look at it, and apply that"));
        }
        let summary = found.body.plan.summary;
        let entry = draft(
            &ctx,
            "plan.applied",
            &format!("plan/{id}"),
            format!("applies a plan of {}", found.body.plan.source.project),
            json!({"plan": id, "summary": summary, "source": found.body.plan.source}),
        );
        let definition = apply::definition(&found.body, &entry.id);
        let mut plan = found.body.clone();
        plan.plan.state = PlanState::Applied;
        self.start_run(&ctx, definition, &id, |run| {
            plan.plan.run = Some(run.to_owned());
            let key = Key::new(&ctx.scope, record::PLAN, &id);
            Commit {
                preconditions: vec![Precondition::Version(key, found.version)],
                puts: vec![record::put(&ctx.scope, record::PLAN, &id, &plan, &[])],
                entries: vec![entry.clone()],
                ..Commit::default()
            }
        })
        .await
    }

    async fn list_plans(&self, scope: Scope, id: Option<String>) -> Result<Vec<Plan>> {
        let basis = self.basis(&scope).await?;
        let fresh = |mut found: PlanRecord| {
            if found.plan.state == PlanState::Open && found.basis != basis {
                found.plan.state = PlanState::Stale;
            }
            found
        };
        if let Some(id) = id {
            return Ok(vec![fresh(self.books.plan(&scope, &id).await?.body).shown()]);
        }
        let found = self.books.all::<PlanRecord>(Scan::of(&scope, record::PLAN)).await?;
        // Ids carry their time of creation, so the scan's order is that of age.
        Ok(found
            .into_iter()
            .rev()
            .take(PLANS_LISTED)
            .map(|(_, Versioned { body, .. })| fresh(body).plan)
            .collect())
    }

    async fn carry_out(&self, ctx: Ctx, name: String, command: Command) -> Result<()> {
        match command {
            Command::Restart { why } => {
                self.books
                    .change_service(&ctx, &name, |record| {
                        let body = changed("restarts", record.restarts, record.restarts + 1);
                        record.restarts += 1;
                        let why = reason(why.as_deref(), "restarted by hand");
                        Ok(Some(draft(&ctx, "service.restarted", record.entity.as_str(), why, body)))
                    })
                    .await?;
            }
            Command::Scale { replicas, why } => {
                if replicas > REPLICAS_MAX {
                    return Err(Problem::new(
                        Class::Limit,
                        "delivery.replicas",
                        format!("{replicas} replicas are more than {REPLICAS_MAX}"),
                    ));
                }
                self.books
                    .change_service(&ctx, &name, |record| {
                        only_one(record).filter(|_| replicas > 1).map_or(Ok(()), Err)?;
                        if record.replicas == replicas {
                            return Ok(None);
                        }
                        let body = changed("replicas", record.replicas, replicas);
                        record.replicas = replicas;
                        let why = reason(why.as_deref(), &format!("scaled to {replicas} by hand"));
                        Ok(Some(draft(&ctx, "service.scaled", record.entity.as_str(), why, body)))
                    })
                    .await?;
            }
            Command::RunJob { job } => self.run_job(ctx, name, job).await?,
        }
        self.shared.wake();
        Ok(())
    }

    /// Starts a job and returns; its end goes on the ledger.
    async fn run_job(&self, ctx: Ctx, name: String, job: String) -> Result<()> {
        let record = self.books.service(&ctx.scope, &name).await?.body;
        let no_job = || {
            Problem::new(Class::NotFound, "delivery.no_job", format!("`{name}` has no job `{job}`"))
                .with_hint("jobs stand under `jobs` in the service file")
        };
        let release = match &record.release {
            Some(id) => self.books.release(&ctx.scope, id.as_str()).await?.ok_or_else(no_job)?,
            None => return Err(no_job()),
        };
        let service =
            service_file::model::Service::from_canonical(release.definition.clone()).map_err(|_| no_job())?;
        let spec = schedules::job_of(&service, &job).ok_or_else(no_job)?;
        let ports = self.ports.clone();
        let spawned = self.ports.tasks.spawn_once(
            tasks::Kind::WORK,
            format!("job {name}/{job}"),
            move |_| async move {
                let outcome = jobs::run(&ports, &ctx, record, release, &service, &job, &spec).await;
                if let Err(problem) = outcome {
                    tracing::info!(job, %problem, "job failed");
                }
            },
        );
        spawned.map(drop).map_err(|error| Problem::from_fault(&error))
    }
}

/// Why a service cannot have a second replica.
fn only_one(record: &ServiceRecord) -> Option<Problem> {
    let name = &record.name;
    if record.is_platform_service() {
        return Some(Problem::new(
            Class::Invalid,
            "delivery.replicas",
            format!("`{name}` runs as one replica: two would write to the same data"),
        ));
    }
    let service = service_file::model::Service::from_canonical(record.definition.clone()).ok()?;
    let (port, number) = service
        .run
        .iter()
        .flat_map(|run| &run.ports)
        .find_map(|(port, spec)| spec.number.map(|number| (port.clone(), number)))?;
    Some(
        Problem::new(
            Class::Invalid,
            "delivery.replicas",
            format!("`{name}` fixes its port `{port}` to {number}, which two replicas cannot share"),
        )
        .with_hint(
            "leave the number out of `run.ports` in stead.yaml and let the program read its port from the \
             variable that the port names; then apply that and scale",
        ),
    )
}

/// The reason a person gave, else what was done.
fn reason(given: Option<&str>, what: &str) -> String {
    match given.map(str::trim).filter(|given| !given.is_empty()) {
        Some(given) => format!("{what}: {given}"),
        None => what.to_owned(),
    }
}

impl Delivery for Engine {
    fn plan(&self, ctx: Ctx, submission: Submission) -> BoxFuture<'_, Result<Plan>> {
        Box::pin(self.make_plan(ctx, submission))
    }

    fn apply(&self, ctx: Ctx, plan: String) -> BoxFuture<'_, Result<Run>> {
        Box::pin(self.apply_plan(ctx, plan))
    }

    fn plans(&self, scope: Scope, id: Option<String>) -> BoxFuture<'_, Result<Vec<Plan>>> {
        Box::pin(self.list_plans(scope, id))
    }

    fn runs(&self, scope: Scope, id: Option<String>) -> BoxFuture<'_, Result<Vec<Run>>> {
        Box::pin(async move {
            match id {
                Some(id) => Ok(vec![self.run(&scope, &id).await?]),
                None => self.list_runs(&scope).await,
            }
        })
    }

    fn cancel(&self, ctx: Ctx, run: String, why: String) -> BoxFuture<'_, Result<Run>> {
        Box::pin(async move { self.cancel_run(&ctx, &run, &why).await })
    }

    fn services(&self, scope: Scope) -> BoxFuture<'_, Result<Vec<Service>>> {
        Box::pin(async move { Ok(self.list_services(&scope)) })
    }

    fn service(&self, scope: Scope, name: String) -> BoxFuture<'_, Result<ServiceDetail>> {
        Box::pin(async move { self.show_service(&scope, &name).await })
    }

    fn command(&self, ctx: Ctx, service: String, command: Command) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.carry_out(ctx, service, command))
    }

    fn traffic(&self, scope: Scope, service: String, seconds: u32) -> BoxFuture<'_, Result<Series>> {
        Box::pin(async move { Ok(self.series(&scope, &service, seconds)) })
    }

    fn map(&self, scope: Scope) -> BoxFuture<'_, Result<Map>> {
        Box::pin(async move { self.draw_map(&scope).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::delivered;

    #[test]
    fn a_second_replica_that_could_not_start_is_refused_with_a_way_out() {
        let (_, record, _) = delivered("name: web\nrun: {command: serve, ports: {main: 8123}}\n");
        let problem = only_one(&record).unwrap();
        assert_eq!(problem.class, Class::Invalid);
        assert!(problem.message.contains("`main` to 8123"), "{problem:?}");
        assert!(problem.hint.unwrap().contains("run.ports"));
        let (_, record, _) = delivered("name: web\nrun: {command: serve}\n");
        assert!(only_one(&record).is_none());
    }
}
