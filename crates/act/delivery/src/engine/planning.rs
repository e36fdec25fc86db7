//! From a submission to a stored plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base::{Class, Ctx, Problem, Scope, id::PlanId};
use delivery_api::{Plan, PlanState, Submission, port::Result};
use secrets_api::SecretName;
use service_file::model::{NeedKind, Service};
use sha2::{Digest, Sha256};
use state::{Commit, Key, Precondition};

use super::Engine;
use crate::{
    need::{self, Need},
    planner::{self, Actual, Going, Wanted},
    record::{self, PlanRecord, ServiceRecord},
};

/// Services in one submission.
pub const SERVICES_MAX: usize = 5_000;

impl Engine {
    pub(super) async fn make_plan(&self, ctx: Ctx, mut submission: Submission) -> Result<Plan> {
        let actual = self.actual(&ctx.scope).await?;
        let basis = basis_of(actual.values().map(|actual| &actual.record));
        if let Some(rotation) = &submission.rotation {
            let outcome = plan_rotation(&submission, rotation, &actual)?;
            return self.store_plan(&ctx, submission.source, basis, outcome, Vec::new()).await;
        }
        let services = parse(&ctx, &submission, &actual)?;
        let mut wanted = Vec::with_capacity(services.len());
        for service in services {
            wanted.push(self.want(&ctx.scope, service, &submission).await?);
        }
        self.check_secrets(&ctx.scope, &wanted).await?;
        let going = going(&submission, &actual, &wanted)?;
        let outcome = planner::plan(&wanted, &actual, &going);
        let trees = wanted.iter().filter_map(|wish| submission.artifacts.remove(wish.service.name.as_str()));
        let missing = self.ports.artifacts.missing(trees.collect()).await?;
        self.store_plan(&ctx, submission.source, basis, outcome, missing).await
    }

    async fn store_plan(
        &self,
        ctx: &Ctx,
        source: delivery_api::Source,
        basis: String,
        outcome: planner::Outcome,
        missing_blobs: Vec<String>,
    ) -> Result<Plan> {
        let plan = Plan {
            id: PlanId::new().to_string(),
            environment: ctx.scope.environment.to_string(),
            state: PlanState::Open,
            created_at: self.ports.clock.now().to_string(),
            created_by: ctx.actor.to_string(),
            source,
            summary: outcome.summary(),
            steps: outcome.steps,
            warnings: outcome.warnings,
            missing_blobs,
            run: None,
        };
        let created_at = self.ports.clock.now();
        let stored = PlanRecord { v: PlanRecord::FORMAT, plan, basis, work: outcome.work, created_at };
        let key = Key::new(&ctx.scope, record::PLAN, &stored.plan.id);
        self.books
            .commit(Commit {
                preconditions: vec![Precondition::Absent(key)],
                puts: vec![record::put(&ctx.scope, record::PLAN, &stored.plan.id, &stored, &[])],
                ..Commit::default()
            })
            .await?;
        Ok(stored.plan)
    }

    /// Services and the releases they should run, as the records have them.
    async fn actual(&self, scope: &Scope) -> Result<BTreeMap<String, Actual>> {
        let services = self.books.services(scope).await?;
        let world = self.shared.world();
        let mut actual = BTreeMap::new();
        for (name, record) in services {
            // What a plan looks at in a release never changes, so the one that the reconciler has read
            // is as good as the one on record, and a thousand services need no thousand reads.
            let known = world.service(scope, &name).and_then(|now| now.release.clone());
            let release = match &record.release {
                Some(id) => match known.filter(|known| known.id == *id) {
                    Some(known) => Some(known),
                    None => self.books.release(scope, id.as_str()).await?.map(Arc::new),
                },
                None => None,
            };
            actual.insert(name, Actual { record, release });
        }
        Ok(actual)
    }

    /// Digest of what a plan depends on: another one makes it stale.
    pub(super) async fn basis(&self, scope: &Scope) -> Result<String> {
        Ok(basis_of(self.books.services(scope).await?.values()))
    }

    async fn want(&self, scope: &Scope, service: Service, submission: &Submission) -> Result<Wanted> {
        let name = service.name.to_string();
        let artifact = submission.artifacts.get(&name).map(|tree| tree.digest.clone());
        let mut needs = BTreeMap::new();
        for (need, kind) in planner::asked_needs(&service) {
            needs.insert(need.clone(), self.pin_need(scope, &name, &need, &kind).await?);
        }
        let mut names = Vec::new();
        for secret in service.secrets.values() {
            names.push(SecretName::parse(&secret.from).map_err(|error| Problem::from_fault(&error))?);
        }
        let secrets = if names.is_empty() {
            BTreeMap::new()
        } else {
            let found = self.ports.secrets.latest(scope.clone(), names).await;
            let found = found.map_err(|error| Problem::from_fault(&error))?;
            found.into_iter().map(|(name, version)| (name.to_string(), version)).collect()
        };
        Ok(Wanted { service, artifact, secrets, needs })
    }

    /// The need with its version pinned: the one it runs with, else the newest that is installed.
    async fn pin_need(&self, scope: &Scope, service: &str, need: &str, kind: &NeedKind) -> Result<Need> {
        let name = planner::need_name(service, need);
        let found = self.books.get::<ServiceRecord>(scope, record::SERVICE, &name).await?;
        let running: Option<Need> =
            found.and_then(|found| serde_json::from_value(found.body.definition).ok());
        match kind {
            NeedKind::Postgres(wish) => {
                let database = wish.database.clone().unwrap_or_else(|| service.replace('-', "_"));
                let version = match (&wish.version, running) {
                    (None, Some(Need::Postgres { version, .. })) => version,
                    (Some(wish), Some(Need::Postgres { version, .. })) if *wish != version => {
                        return Err(Problem::new(
                            Class::Invalid,
                            "delivery.major_upgrade",
                            format!(
                                "`{name}` runs PostgreSQL {version}; going to {wish} is not available yet"
                            ),
                        )
                        .with_hint("dump and load into a new need, then drop the old one"));
                    }
                    (wish, _) => need::postgres::pin(wish.as_deref())?,
                };
                Ok(Need::Postgres { version, database })
            }
            NeedKind::Redis(wish) => {
                let version = match running {
                    Some(Need::Redis { version, .. }) => version,
                    _ => need::redis::pin()?,
                };
                Ok(Need::Redis { version, memory: wish.memory })
            }
            NeedKind::Service { .. } => {
                Err(Problem::new(Class::Internal, "delivery.need", "not a platform service"))
            }
        }
    }

    /// All secrets that are named exist.
    async fn check_secrets(&self, scope: &Scope, wanted: &[Wanted]) -> Result<()> {
        let mut absent = Vec::new();
        for wish in wanted {
            for secret in wish.service.secrets.values() {
                if !wish.secrets.contains_key(&secret.from) {
                    absent.push(format!("`{}` (for `{}`)", secret.from, wish.service.name));
                }
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        Err(Problem::new(
            Class::Invalid,
            "delivery.no_secret",
            format!("no such secret in environment `{}`: {}", scope.environment, absent.join(", ")),
        )
        .with_hint("set it with `stead secret set NAME`"))
    }

    /// The files of all artifacts have arrived.
    pub(super) async fn check_blobs(&self, plan: &PlanRecord) -> Result<()> {
        for work in &plan.work {
            if let record::Work::Release { artifact: Some(digest), name, .. } = work {
                self.ports.artifacts.checkout(digest.clone()).await.map_err(|problem| {
                    Problem::new(
                        problem.class,
                        problem.code,
                        format!("files of `{name}`: {}", problem.message),
                    )
                    .with_hint("upload what the plan lists as missing, then apply it")
                })?;
            }
        }
        Ok(())
    }
}

fn basis_of<'a>(services: impl Iterator<Item = &'a ServiceRecord>) -> String {
    let mut hash = Sha256::new();
    for record in services {
        let part = (&record.name, &record.release, record.replicas, record.removing, &record.definition);
        // Strings, numbers and values always serialise.
        hash.update(serde_json::to_vec(&part).unwrap_or_default());
        if let Some(password) = &record.password {
            hash.update(serde_json::json!(password).to_string());
        }
        hash.update([0]);
    }
    format!("sha256:{:x}", hash.finalize())
}

/// The plan of a rotation, which goes alone.
fn plan_rotation(
    submission: &Submission,
    rotation: &delivery_api::Rotation,
    actual: &BTreeMap<String, Actual>,
) -> Result<planner::Outcome> {
    if !submission.documents.is_empty() || submission.removal.is_some() {
        let message = "a rotation is planned by itself, without service files and removals";
        return Err(Problem::new(Class::Invalid, "delivery.rotation", message));
    }
    let name = &rotation.service;
    let service = actual.get(name).ok_or_else(|| {
        Problem::new(Class::NotFound, "delivery.no_service", format!("there is no service `{name}`"))
            .with_hint("`stead status` lists the services of an environment")
    })?;
    let needs = service.record.definition.get("needs").and_then(serde_json::Value::as_object);
    let with_password: Vec<&String> = needs
        .into_iter()
        .flatten()
        .map(|(need, _)| need)
        .filter(|need| actual.contains_key(&planner::need_name(name, need)))
        .collect();
    let known = || with_password.iter().map(|need| format!("`{need}`")).collect::<Vec<_>>().join(", ");
    let need = match (&rotation.need, with_password.as_slice()) {
        (Some(need), _) if actual.contains_key(&planner::need_name(name, need)) => need,
        (None, [only]) => only,
        (_, []) => {
            let message = format!("`{name}` has no need with a password of its own");
            return Err(Problem::new(Class::Invalid, "delivery.rotation", message)
                .with_hint("PostgreSQL and Redis have; a need of another service has none"));
        }
        (Some(need), _) => {
            let message = format!("`{name}` has no need `{need}` with a password");
            return Err(Problem::new(Class::NotFound, "delivery.rotation", message)
                .with_hint(format!("it has {}", known())));
        }
        (None, _) => {
            let message = format!("`{name}` has several needs with a password");
            return Err(Problem::new(Class::Invalid, "delivery.rotation", message)
                .with_hint(format!("name one of {}", known())));
        }
    };
    planner::rotation(service, need, &actual[&planner::need_name(name, need)])
}

/// The services of the submission as they are in the environment, callees first.
fn parse(ctx: &Ctx, submission: &Submission, actual: &BTreeMap<String, Actual>) -> Result<Vec<Service>> {
    if submission.documents.is_empty() {
        return Ok(Vec::new());
    }
    let known = actual
        .values()
        .filter(|actual| !actual.record.is_platform_service())
        .filter_map(|actual| base::id::NameId::parse(&actual.record.name).ok())
        .collect();
    let documents =
        submission.documents.iter().map(|document| (document.path.clone().into(), document.text.clone()));
    let folder = std::path::Path::new(&submission.source.project).file_name();
    let root_name = folder.map(|name| name.to_string_lossy().into_owned());
    let options = service_file::Options { known_services: known, root_name };
    let workspace = service_file::Workspace::from_documents(documents, &options)
        .map_err(|problems| Problem::new(Class::Invalid, "delivery.service_file", problems.render(false)))?;
    if workspace.services.len() > SERVICES_MAX {
        return Err(Problem::new(
            Class::Limit,
            "delivery.services",
            format!("{} services are more than {SERVICES_MAX} in one plan", workspace.services.len()),
        ));
    }
    let services: Vec<Service> = workspace
        .in_environment(&ctx.scope.environment)
        .into_iter()
        .map(|file| file.in_environment(&ctx.scope.environment).clone())
        .collect();
    for service in &services {
        let taken =
            actual.get(service.name.as_str()).is_some_and(|actual| actual.record.is_platform_service());
        if taken {
            return Err(Problem::new(
                Class::Conflict,
                "delivery.name_taken",
                format!("`{}` is the name of a platform service here", service.name),
            )
            .with_hint("give the service another name"));
        }
        let other = actual.get(service.name.as_str()).map(|actual| actual.record.project.as_str());
        if let Some(other) = other.filter(|other| !other.is_empty() && *other != submission.source.project) {
            tracing::info!(service = %service.name, from = other, to = submission.source.project, "service changes its project");
        }
    }
    Ok(services)
}

/// What goes: what was asked for, and what the project no longer describes.
fn going(submission: &Submission, actual: &BTreeMap<String, Actual>, wanted: &[Wanted]) -> Result<Going> {
    let services = actual.values().filter(|actual| !actual.record.is_platform_service());
    let Some(removal) = &submission.removal else {
        let stays: BTreeSet<&str> = wanted.iter().map(|wish| wish.service.name.as_str()).collect();
        let gone = services
            .filter(|actual| actual.record.project == submission.source.project)
            .filter(|actual| !stays.contains(actual.record.name.as_str()))
            .map(|actual| actual.record.name.clone());
        return Ok(Going { services: gone.collect(), delete_data: false });
    };
    let names: BTreeSet<String> = if removal.services.is_empty() {
        let project = &submission.source.project;
        services
            .filter(|actual| project.is_empty() || actual.record.project == *project)
            .map(|actual| actual.record.name.clone())
            .collect()
    } else {
        for name in &removal.services {
            if !actual.contains_key(name) {
                return Err(Problem::new(
                    Class::NotFound,
                    "delivery.no_service",
                    format!("there is no service `{name}`"),
                )
                .with_hint("`stead status` lists the services of an environment"));
            }
        }
        removal.services.iter().cloned().collect()
    };
    Ok(Going { services: names, delete_data: removal.delete_data })
}
