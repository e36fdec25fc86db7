//! Making a release and letting it take over; changing what needs none; going back.

use std::collections::BTreeMap;

use base::{
    Ctx,
    id::{EntityId, ReleaseId},
};
use delivery_api::{Kind, ReleaseState};
use flow::{StepCall, StepError};
use secrets_api::SecretName;
use serde_json::{Value, json};
use service_file::model::{NeedKind, Service, When};
use state::{Commit, Key, Precondition, Put};

use super::{Applier, Before, Input, failed, input, output};
use crate::{
    books::{Versioned, draft, put_release, put_service},
    record::{self, BindingRecord, ReleaseRecord, ServiceRecord, Work},
};

impl Applier {
    pub(super) async fn release(&self, call: StepCall) -> Result<Value, StepError> {
        let input: Input = input(&call)?;
        let Work::Release { name, release: id, definition, artifact, secrets } = &input.work else {
            return Err(StepError::fatal("not a release"));
        };
        let ctx = Self::ctx(&call, &input.cause);
        let service = Service::from_canonical(definition.clone())
            .map_err(|error| StepError::fatal(format!("the definition cannot be read: {error}")))?;
        if let Some(digest) = artifact {
            self.note(&call, "pinning files");
            self.ports.artifacts.checkout(digest.clone()).await.map_err(failed)?;
        }
        let made = self.books.release(&ctx.scope, id.as_str()).await.map_err(failed)?;
        let previous = match &made {
            Some(made) => self.before(&ctx, name, made).await?,
            None => {
                let release = self.new_release(&ctx, &input, name, id, definition, artifact, secrets).await?;
                self.pin_secrets(&ctx, &release).await?;
                self.run_before(&call, &service, &release).await?;
                self.record_release(&ctx, &input, &service, release).await?
            }
        };
        let record = self.books.service(&ctx.scope, name).await.map_err(failed)?.body;
        if record.release.as_ref() != Some(id) {
            return Err(StepError::fatal("another release took over meanwhile"));
        }
        self.note(&call, "starting");
        let outcome = self.wait_rolled_out(&call, name, &record.revision().unwrap_or_default()).await;
        if let Err(error) = &outcome
            && error.kind == flow::ErrorKind::Fatal
        {
            self.fail_release(&ctx, name, id, &error.message).await?;
        }
        outcome.map(|()| output(Some(id.as_str()), previous.as_deref()))
    }

    /// The release that was there before `made`, for an attempt that is repeated.
    async fn before(&self, ctx: &Ctx, name: &str, made: &ReleaseRecord) -> Result<Option<String>, StepError> {
        let all = self.books.releases(&ctx.scope, name).await.map_err(failed)?;
        Ok(all
            .into_iter()
            .find(|other| other.number < made.number && other.state != ReleaseState::Failed)
            .map(|other| other.id.to_string()))
    }

    #[allow(clippy::too_many_arguments)] // the fields of one record, each once
    async fn new_release(
        &self,
        ctx: &Ctx,
        input: &Input,
        name: &str,
        id: &ReleaseId,
        definition: &Value,
        artifact: &Option<String>,
        secrets: &BTreeMap<String, u64>,
    ) -> Result<ReleaseRecord, StepError> {
        let number = self
            .books
            .releases(&ctx.scope, name)
            .await
            .map_err(failed)?
            .first()
            .map_or(0, |last| last.number);
        Ok(ReleaseRecord {
            v: ReleaseRecord::FORMAT,
            id: id.clone(),
            service: name.to_owned(),
            number: number + 1,
            definition: definition.clone(),
            artifact: artifact.clone(),
            secrets: secrets.clone(),
            source: input.source.clone(),
            state: ReleaseState::Rolling,
            reason: None,
            created_at: self.ports.clock.now(),
            created_by: ctx.actor.to_string(),
        })
    }

    pub(super) async fn pin_secrets(&self, ctx: &Ctx, release: &ReleaseRecord) -> Result<(), StepError> {
        let mut versions = BTreeMap::new();
        for (secret, version) in &release.secrets {
            let name = SecretName::parse(secret).map_err(|error| StepError::from_fault(&error))?;
            versions.insert(name, *version);
        }
        if versions.is_empty() {
            return Ok(());
        }
        self.ports
            .secrets
            .pin(ctx.clone(), release.id.clone(), versions)
            .await
            .map_err(|error| StepError::from_fault(&error))
    }

    /// Runs the jobs that come before a release takes over.
    async fn run_before(
        &self,
        call: &StepCall,
        service: &Service,
        release: &ReleaseRecord,
    ) -> Result<(), StepError> {
        for (job, spec) in service.jobs.iter().filter(|(_, job)| job.when == When::BeforeRelease) {
            self.note(call, &format!("running job `{job}`"));
            let found: Option<Versioned<ServiceRecord>> = self
                .books
                .get(&call.ctx.scope, record::SERVICE, service.name.as_str())
                .await
                .map_err(failed)?;
            let record = match found {
                Some(found) => found.body,
                None => self.new_service(&call.ctx, service, &release.source.project).await?,
            };
            self.bind(&call.ctx, service).await?;
            crate::jobs::run(&self.ports, &call.ctx, record, release.clone(), service, job.as_str(), spec)
                .await
                .map_err(|problem| StepError {
                    kind: flow::ErrorKind::Fatal,
                    message: problem.message,
                    hint: problem.hint,
                })?;
        }
        Ok(())
    }

    /// Makes sure that there is a way to each service that is called.
    async fn bind(&self, ctx: &Ctx, service: &Service) -> Result<(), StepError> {
        for (need, wish) in &service.needs {
            let NeedKind::Service { service: callee } = &wish.kind else { continue };
            let id = BindingRecord::id(service.name.as_str(), need.as_str());
            let found: Option<Versioned<BindingRecord>> =
                self.books.get(&ctx.scope, record::BINDING, &id).await.map_err(failed)?;
            if found.as_ref().is_some_and(|found| found.body.service == callee.as_str()) {
                continue;
            }
            let port = match &found {
                Some(found) => found.body.port,
                None => self.books.allocate_port(&ctx.scope.tenant).await.map_err(failed)?,
            };
            let binding = BindingRecord {
                v: BindingRecord::FORMAT,
                caller: service.name.to_string(),
                need: need.to_string(),
                service: callee.to_string(),
                port,
            };
            let put = record::put(&ctx.scope, record::BINDING, &id, &binding, &[("caller", &binding.caller)]);
            let key = Key::new(&ctx.scope, record::BINDING, &id);
            let precondition = match &found {
                Some(found) => Precondition::Version(key, found.version),
                None => Precondition::Absent(key),
            };
            let commit = Commit { preconditions: vec![precondition], puts: vec![put], ..Commit::default() };
            self.books.commit(commit).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn new_service(
        &self,
        ctx: &Ctx,
        service: &Service,
        project: &str,
    ) -> Result<ServiceRecord, StepError> {
        let user = match self.ports.root {
            true => Some(self.books.allocate_user(&ctx.scope).await.map_err(failed)?),
            false => None,
        };
        let job = service.run.as_ref().is_some_and(|run| run.kind == service_file::model::Kind::Job);
        Ok(ServiceRecord {
            v: ServiceRecord::FORMAT,
            entity: EntityId::new(),
            name: service.name.to_string(),
            kind: if job { Kind::Job } else { Kind::Service },
            belongs_to: None,
            project: project.to_owned(),
            definition: Value::Null,
            replicas: 0,
            release: None,
            restarts: 0,
            removing: false,
            user,
            password: None,
            port: None,
            created_at: self.ports.clock.now(),
            changed_by: None,
        })
    }

    /// Writes release, service and ledger entry in one commit; gives the release before.
    async fn record_release(
        &self,
        ctx: &Ctx,
        input: &Input,
        service: &Service,
        release: ReleaseRecord,
    ) -> Result<Option<String>, StepError> {
        self.bind(ctx, service).await?;
        let name = service.name.as_str();
        let found: Option<Versioned<ServiceRecord>> =
            self.books.get(&ctx.scope, record::SERVICE, name).await.map_err(failed)?;
        let mut record = match &found {
            Some(found) => found.body.clone(),
            None => self.new_service(ctx, service, &input.source.project).await?,
        };
        let previous = record.release.as_ref().map(ToString::to_string);
        let entry = draft(
            ctx,
            "release.created",
            record.entity.as_str(),
            format!("release {} of `{name}`", release.number),
            json!({
                "release": release.id, "number": release.number, "service": name,
                "before": record.definition, "after": release.definition,
                "artifact": release.artifact, "secrets": release.secrets, "source": release.source,
            }),
        );
        record.project.clone_from(&input.source.project);
        record.definition.clone_from(&release.definition);
        record.replicas = service.run.as_ref().map_or(0, |run| run.replicas);
        record.release = Some(release.id.clone());
        record.restarts = 0;
        record.removing = false;
        record.changed_by = Some(entry.id.clone());
        let key = Key::new(&ctx.scope, record::SERVICE, name);
        let precondition = match &found {
            Some(found) => Precondition::Version(key, found.version),
            None => Precondition::Absent(key),
        };
        let commit = Commit {
            preconditions: vec![precondition],
            puts: vec![put_service(&ctx.scope, &record), put_release(&ctx.scope, &release)],
            entries: vec![entry],
            ..Commit::default()
        };
        self.books.commit(commit).await.map_err(failed)?;
        Ok(previous)
    }

    pub(super) async fn fail_release(
        &self,
        ctx: &Ctx,
        name: &str,
        id: &ReleaseId,
        why: &str,
    ) -> Result<(), StepError> {
        let found: Option<Versioned<ReleaseRecord>> =
            self.books.get(&ctx.scope, record::RELEASE, id.as_str()).await.map_err(failed)?;
        let Some(found) = found.filter(|found| found.body.state == ReleaseState::Rolling) else {
            return Ok(());
        };
        let release =
            ReleaseRecord { state: ReleaseState::Failed, reason: Some(why.to_owned()), ..found.body.clone() };
        let record = self.books.service(&ctx.scope, name).await.map_err(failed)?.body;
        let entry = draft(
            ctx,
            "release.failed",
            record.entity.as_str(),
            format!("release {} of `{name}` failed: {why}", release.number),
            json!({"release": id, "number": release.number}),
        );
        let commit = Commit {
            preconditions: vec![Precondition::Version(
                Key::new(&ctx.scope, record::RELEASE, id.as_str()),
                found.version,
            )],
            puts: vec![put_release(&ctx.scope, &release)],
            entries: vec![entry],
            ..Commit::default()
        };
        self.books.commit(commit).await.map_err(failed)
    }

    /// Changes replicas, routes and ownership, which need no new processes.
    pub(super) async fn update(&self, call: StepCall) -> Result<Value, StepError> {
        let input: Input = input(&call)?;
        let Work::Update { name, definition } = &input.work else {
            return Err(StepError::fatal("not an update"));
        };
        let ctx = Self::ctx(&call, &input.cause);
        let replicas = definition.pointer("/run/replicas").and_then(Value::as_u64).unwrap_or(1);
        let mut before = Value::Null;
        let record = self
            .books
            .change_service(&ctx, name, |record| {
                let same = record.definition == *definition && u64::from(record.replicas) == replicas;
                if same {
                    return Ok(None);
                }
                before = json!({"definition": record.definition, "replicas": record.replicas});
                let body =
                    json!({"before": before, "after": {"definition": definition, "replicas": replicas}});
                let entry = draft(
                    &ctx,
                    "service.updated",
                    record.entity.as_str(),
                    format!("`{name}` was changed in place"),
                    body,
                );
                record.definition = definition.clone();
                record.replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
                record.project.clone_from(&input.source.project);
                Ok(Some(entry))
            })
            .await
            .map_err(failed)?;
        let version = record.clone();
        self.wait_for(&call, name, |now| {
            let now = now?;
            (now.record.definition == version.definition && now.ready >= now.wanted).then_some(Ok(()))
        })
        .await?;
        Ok(json!({ "before": before }))
    }

    /// Puts back what the step changed.
    pub(super) async fn restore(&self, call: StepCall) -> Result<Value, StepError> {
        let before: Before = input(&call)?;
        let ctx = Self::ctx(&call, &before.cause);
        let found: Option<Versioned<ServiceRecord>> =
            self.books.get(&ctx.scope, record::SERVICE, &before.name).await.map_err(failed)?;
        let Some(found) = found else { return Ok(Value::Null) };
        let Some(made) = &before.release else {
            return self.restore_update(&call, &ctx, &before.name).await;
        };
        if found.body.release.as_ref() != Some(made) {
            self.note(&call, "it never took over; what was there before goes on");
            return Ok(Value::Null);
        }
        let releases = self.books.releases(&ctx.scope, &before.name).await.map_err(failed)?;
        let good = releases.iter().find(|release| {
            matches!(release.state, ReleaseState::Active | ReleaseState::Superseded)
                && Some(&release.id) != found.body.release.as_ref()
        });
        let Some(good) = good else {
            self.note(&call, "there is no earlier release to go back to; it is stopped");
            return self.stop_serving(&ctx, &before.name).await;
        };
        if found.body.release.as_ref() == Some(&good.id) {
            return Ok(Value::Null);
        }
        let record = self
            .books
            .change_service(&ctx, &before.name, |record| {
                let why = format!("`{}` goes back to release {}", before.name, good.number);
                let body = json!({
                    "before": {"release": record.release}, "after": {"release": good.id, "number": good.number},
                });
                let entry = draft(&ctx, "release.restored", record.entity.as_str(), why, body);
                record.release = Some(good.id.clone());
                record.definition.clone_from(&good.definition);
                record.replicas = good.definition.pointer("/run/replicas").and_then(Value::as_u64).map_or(1, |count| {
                    u32::try_from(count).unwrap_or(1)
                });
                Ok(Some(entry))
            })
            .await
            .map_err(failed)?;
        self.wait_rolled_out(&call, &before.name, &record.revision().unwrap_or_default()).await?;
        Ok(output(Some(good.id.as_str()), None))
    }

    /// Puts back what a change in place had changed; its own output says what that was.
    async fn restore_update(&self, call: &StepCall, ctx: &Ctx, name: &str) -> Result<Value, StepError> {
        let before = call.outputs.get(&call.step).map(|output| &output["before"]);
        let Some((definition, replicas)) = before.and_then(|before| {
            let replicas = before.get("replicas")?.as_u64().and_then(|count| u32::try_from(count).ok())?;
            Some((before.get("definition")?.clone(), replicas))
        }) else {
            return Ok(Value::Null);
        };
        self.books
            .change_service(ctx, name, |record| {
                if record.definition == definition && record.replicas == replicas {
                    return Ok(None);
                }
                let body = json!({
                    "before": {"definition": record.definition, "replicas": record.replicas},
                    "after": {"definition": definition, "replicas": replicas},
                });
                let why = format!("a change of `{name}` is undone");
                let entry = draft(ctx, "service.restored", record.entity.as_str(), why, body);
                record.definition = definition.clone();
                record.replicas = replicas;
                Ok(Some(entry))
            })
            .await
            .map_err(failed)?;
        Ok(Value::Null)
    }

    async fn stop_serving(&self, ctx: &Ctx, name: &str) -> Result<Value, StepError> {
        self.books
            .change_service(ctx, name, |record| {
                if record.release.is_none() {
                    return Ok(None);
                }
                let body = json!({"before": {"release": record.release}, "after": {"release": null}});
                let entry = draft(
                    ctx,
                    "service.stopped",
                    record.entity.as_str(),
                    format!("`{name}` has no good release"),
                    body,
                );
                record.release = None;
                Ok(Some(entry))
            })
            .await
            .map_err(failed)?;
        Ok(Value::Null)
    }

    /// Removes the ways to other services that `name` had.
    pub(super) async fn unbind(&self, ctx: &Ctx, name: &str) -> Result<Vec<Put>, StepError> {
        let all = self.books.bindings(&ctx.scope).await.map_err(failed)?;
        Ok(all
            .into_iter()
            .filter(|binding| binding.caller == name)
            .map(|binding| {
                Put::Remove(Key::new(
                    &ctx.scope,
                    record::BINDING,
                    BindingRecord::id(&binding.caller, &binding.need),
                ))
            })
            .collect())
    }
}
