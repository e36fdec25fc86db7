//! A new password for a platform service, while the old one goes on working.
//!
//! Three steps, each of which can be repeated after a crash at any point: the server takes a new
//! version beside the old one; a release of the service that pins the new one takes over; the old one
//! is taken no more, once no replica holds it. When the service does not become healthy, they are
//! undone in reverse, and the old version is all that is left.
//!
//! The record is written before the server is told: a server that starts in between reads the record.

use std::sync::Arc;

use base::{
    Ctx,
    id::{EventId, ReleaseId},
};
use delivery_api::ReleaseState;
use flow::{Call, Handler, Handlers, Mode, Retry, StepCall, StepDef, StepError};
use futures_util::{StreamExt, future::BoxFuture};
use runtime_api::{Observed, Phase};
use secrets_api::{Existing, Kind as SecretKind, SecretName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use state::{Commit, Key, Precondition};

use super::{Applier, Before, RESTORE, STEP_TIME_MS, VERSION, failed, input, output};
use crate::{
    books::{Versioned, draft, put_release, put_service},
    need::{self, Need},
    planner,
    reconcile::{
        live::{LABEL_JOB, LABEL_PASSWORD_PREFIX, LABEL_REVISION},
        start::{credential_secret, credentials, login, place},
    },
    record::{self, PasswordVersions, ReleaseRecord, ServiceRecord},
};

const ADMIT: &str = "delivery.rotate.admit";
const WITHDRAW: &str = "delivery.rotate.withdraw";
const HAND_OVER: &str = "delivery.rotate.hand-over";
const RETIRE: &str = "delivery.rotate.retire";
const READMIT: &str = "delivery.rotate.readmit";

/// Attempts at a step: a server that is starting anew is waited for.
const RETRY: Retry = Retry { attempts_max: 8, backoff_first_ms: 500, backoff_max_ms: 10_000 };
/// How often it is looked for replicas with the old password though nothing was heard.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// What each step of a rotation is given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Turn {
    /// The platform service.
    pub name: String,
    pub service: String,
    pub need: String,
    #[serde(default)]
    pub release: Option<ReleaseId>,
    pub source: delivery_api::Source,
    pub cause: EventId,
}

impl Turn {
    fn admit_step(&self) -> String {
        planner::subject(true, &self.name)
    }
}

/// The old and the new version.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Versions {
    old: u64,
    new: u64,
}

/// The steps of a rotation.
pub(super) fn steps(turn: &Turn) -> Vec<StepDef> {
    let call = |handler: &str| {
        Call::new(handler, VERSION, serde_json::to_value(turn).unwrap_or_default())
            .retry(RETRY)
            .timeout_ms(STEP_TIME_MS)
    };
    let before =
        Before { name: turn.service.clone(), cause: turn.cause.clone(), release: turn.release.clone() };
    let restore = Call::new(RESTORE, VERSION, serde_json::to_value(before).unwrap_or_default())
        .timeout_ms(STEP_TIME_MS);
    let (admit, hand_over) = (turn.admit_step(), planner::subject(false, &turn.service));
    let mut last = admit.clone();
    let mut steps = vec![StepDef::call(&admit, Mode::Idempotent, call(ADMIT)).compensate(call(WITHDRAW))];
    if turn.release.is_some() {
        last.clone_from(&hand_over);
        let step = StepDef::call(hand_over, Mode::Idempotent, call(HAND_OVER)).after([admit.clone()]);
        steps.push(step.compensate(restore));
    }
    let retire = format!("{admit}/old-password");
    let step = StepDef::call(retire, Mode::Idempotent, call(RETIRE)).after([last]);
    steps.push(step.compensate(call(READMIT)));
    steps
}

#[derive(Debug, Clone, Copy)]
enum What {
    Admit,
    Withdraw,
    HandOver,
    Retire,
    Readmit,
}

#[derive(Debug)]
struct RotateHandler {
    applier: Arc<Applier>,
    what: What,
}

/// The handlers for [`steps`].
pub(super) fn handlers(applier: &Arc<Applier>) -> Handlers {
    let handler =
        |what: What| -> Arc<dyn Handler> { Arc::new(RotateHandler { applier: Arc::clone(applier), what }) };
    Handlers::new()
        .with(ADMIT, VERSION, handler(What::Admit))
        .with(WITHDRAW, VERSION, handler(What::Withdraw))
        .with(HAND_OVER, VERSION, handler(What::HandOver))
        .with(RETIRE, VERSION, handler(What::Retire))
        .with(READMIT, VERSION, handler(What::Readmit))
}

impl Handler for RotateHandler {
    fn call(&self, call: StepCall) -> BoxFuture<'_, Result<Value, StepError>> {
        Box::pin(async move {
            let turn: Turn = input(&call)?;
            let ctx = Applier::ctx(&call, &turn.cause);
            match self.what {
                What::Admit => self.applier.admit(&call, &ctx, &turn).await,
                What::Withdraw => self.applier.withdraw(&call, &ctx, &turn).await,
                What::HandOver => self.applier.hand_over(&call, &ctx, &turn).await,
                What::Retire => self.applier.retire(&call, &ctx, &turn).await,
                What::Readmit => self.applier.readmit(&call, &ctx, &turn).await,
            }
        })
    }
}

fn secret_of(turn: &Turn) -> Result<SecretName, StepError> {
    credential_secret(&turn.name, need::PASSWORD).map_err(failed)
}

/// The versions as the first step found them.
fn versions(call: &StepCall, turn: &Turn) -> Result<Versions, StepError> {
    let found = call.outputs.get(&turn.admit_step()).map(|output| (**output).clone());
    serde_json::from_value(found.unwrap_or_default())
        .map_err(|_| StepError::fatal("the step before said nothing of versions"))
}

impl Applier {
    /// Makes the new version and lets it in beside the old one.
    async fn admit(&self, call: &StepCall, ctx: &Ctx, turn: &Turn) -> Result<Value, StepError> {
        let (record, release) = self
            .need(ctx, &turn.name)
            .await?
            .ok_or_else(|| StepError::fatal(format!("`{}` does not run any more", turn.name)))?;
        let secret = secret_of(turn)?;
        let mark = mark(call);
        let made = self.made(ctx, &secret, &mark).await?;
        if let Some(password) = record.password.as_ref().filter(|password| !password.also.is_empty())
            && made.is_none_or(|made| !password.takes(made))
        {
            return Err(StepError::fatal(format!("another rotation of `{}` is under way", turn.name)));
        }
        self.note(call, "making a new password");
        let new = match made {
            Some(version) => version,
            None => self
                .ports
                .secrets
                .generate(ctx.clone(), secret.clone(), SecretKind::default(), Existing::Rotate, mark)
                .await
                .map_err(|error| StepError::from_fault(&error))?,
        };
        let pinned = release.secrets.get(secret.as_str()).copied();
        let old =
            record.password.as_ref().map(|password| password.current).or(pinned).ok_or_else(|| {
                StepError::fatal(format!("`{}` pins no version of its password", turn.name))
            })?;
        let wanted = PasswordVersions { current: old, also: vec![new] };
        let why = format!("`{}` takes a new password beside the old one", turn.name);
        self.write(ctx, turn, "need.password-added", &why, wanted).await?;
        self.note(call, "telling the server");
        self.settle(ctx, turn, None).await?;
        serde_json::to_value(Versions { old, new }).map_err(|error| StepError::fatal(error.to_string()))
    }

    /// Undoes [`Applier::admit`].
    async fn withdraw(&self, call: &StepCall, ctx: &Ctx, turn: &Turn) -> Result<Value, StepError> {
        let secret = secret_of(turn)?;
        let Some(new) = self.made(ctx, &secret, &mark(call)).await? else { return Ok(Value::Null) };
        let Some((record, _)) = self.need(ctx, &turn.name).await? else { return Ok(Value::Null) };
        let Some(password) = record.password else { return Ok(Value::Null) };
        if password.current == new {
            return Err(StepError::fatal("the new password is the only one that is left"));
        }
        let wanted = PasswordVersions { current: password.current, also: Vec::new() };
        let why = format!("`{}` goes back to its old password", turn.name);
        self.write(ctx, turn, "need.password-withdrawn", &why, wanted).await?;
        self.settle(ctx, turn, Some(new)).await?;
        Ok(Value::Null)
    }

    /// A release of the service that is as the one before, and pins the new version.
    async fn hand_over(&self, call: &StepCall, ctx: &Ctx, turn: &Turn) -> Result<Value, StepError> {
        let versions = versions(call, turn)?;
        let Some(id) = &turn.release else { return Ok(Value::Null) };
        let found: Versioned<ServiceRecord> =
            self.books.service(&ctx.scope, &turn.service).await.map_err(failed)?;
        let made = self.books.release(&ctx.scope, id.as_str()).await.map_err(failed)?;
        if made.is_none() {
            self.record_rotation(ctx, turn, versions, id, found).await?;
        }
        let record = self.books.service(&ctx.scope, &turn.service).await.map_err(failed)?.body;
        if record.release.as_ref() != Some(id) {
            return Err(StepError::fatal("another release took over meanwhile"));
        }
        self.note(call, "starting");
        let revision = record.revision().unwrap_or_default();
        let outcome = self.wait_rolled_out(call, &turn.service, &revision).await;
        if let Err(error) = &outcome
            && error.kind == flow::ErrorKind::Fatal
        {
            self.fail_release(ctx, &turn.service, id, &error.message).await?;
        }
        outcome.map(|()| output(Some(id.as_str()), None))
    }

    async fn record_rotation(
        &self,
        ctx: &Ctx,
        turn: &Turn,
        versions: Versions,
        id: &ReleaseId,
        found: Versioned<ServiceRecord>,
    ) -> Result<(), StepError> {
        let mut record = found.body;
        let releases = self.books.releases(&ctx.scope, &turn.service).await.map_err(failed)?;
        let current = releases.iter().find(|release| Some(&release.id) == record.release.as_ref());
        let Some(current) = current.filter(|_| !record.removing) else {
            return Err(StepError::fatal(format!("`{}` was taken down meanwhile", turn.service)));
        };
        let mut release = ReleaseRecord {
            id: id.clone(),
            number: releases.first().map_or(0, |last| last.number) + 1,
            definition: record.definition.clone(),
            state: ReleaseState::Rolling,
            reason: None,
            created_at: self.ports.clock.now(),
            created_by: ctx.actor.to_string(),
            ..current.clone()
        };
        release.secrets.insert(secret_of(turn)?.to_string(), versions.new);
        self.pin_secrets(ctx, &release).await?;
        let entry = draft(
            ctx,
            "release.created",
            record.entity.as_str(),
            format!("release {} of `{}`: new password of `{}`", release.number, turn.service, turn.name),
            json!({
                "release": id, "number": release.number, "service": turn.service,
                "before": {"release": current.id, "secrets": current.secrets},
                "after": {"release": id, "secrets": release.secrets},
                "artifact": release.artifact, "source": release.source,
            }),
        );
        record.release = Some(id.clone());
        record.restarts = 0;
        record.changed_by = Some(entry.id.clone());
        let commit = Commit {
            preconditions: vec![Precondition::Version(
                Key::new(&ctx.scope, record::SERVICE, &turn.service),
                found.version,
            )],
            puts: vec![put_service(&ctx.scope, &record), put_release(&ctx.scope, &release)],
            entries: vec![entry],
            ..Commit::default()
        };
        self.books.commit(commit).await.map_err(failed)
    }

    /// The new version is the one from now on; the old one goes when nobody holds it.
    async fn retire(&self, call: &StepCall, ctx: &Ctx, turn: &Turn) -> Result<Value, StepError> {
        let Versions { old, new } = versions(call, turn)?;
        let Some((record, release)) = self.need(ctx, &turn.name).await? else {
            return Err(StepError::fatal(format!("`{}` does not run any more", turn.name)));
        };
        let current = PasswordVersions { current: new, also: Vec::new() };
        if record.password.as_ref() != Some(&current) {
            let both = PasswordVersions { also: vec![old], ..current.clone() };
            let why = format!("the new password of `{}` is the one from now on", turn.name);
            self.write(ctx, turn, "need.password-switched", &why, both).await?;
            self.wait_let_go(call, ctx, turn, new).await?;
        }
        let why = format!("the old password of `{}` is taken no more", turn.name);
        self.write(ctx, turn, "need.password-retired", &why, current).await?;
        self.note(call, "retiring the old password");
        self.settle(ctx, turn, Some(old)).await?;
        // A release pins one version of a secret; the old one is among those that are kept anyway.
        let secret = secret_of(turn)?;
        let mut pins = std::collections::BTreeMap::from([(secret.clone(), new)]);
        for (name, version) in &release.secrets {
            let name = SecretName::parse(name).map_err(|error| StepError::from_fault(&error))?;
            pins.entry(name).or_insert(*version);
        }
        let unpinned = self.ports.secrets.unpin(ctx.clone(), release.id.clone()).await;
        unpinned.map_err(|error| StepError::from_fault(&error))?;
        let pinned = self.ports.secrets.pin(ctx.clone(), release.id, pins).await;
        pinned.map_err(|error| StepError::from_fault(&error))?;
        Ok(json!({"version": new}))
    }

    /// Undoes [`Applier::retire`], however far it got.
    async fn readmit(&self, call: &StepCall, ctx: &Ctx, turn: &Turn) -> Result<Value, StepError> {
        let Versions { old, new } = versions(call, turn)?;
        if self.need(ctx, &turn.name).await?.is_none() {
            return Ok(Value::Null);
        }
        let both = PasswordVersions { current: old, also: vec![new] };
        let why = format!("the old password of `{}` is taken again", turn.name);
        self.write(ctx, turn, "need.password-restored", &why, both).await?;
        self.settle(ctx, turn, None).await?;
        Ok(Value::Null)
    }

    /// Waits until no replica of the service, and no run of a job, holds another version than `new`.
    /// A release that was made meanwhile without it gets fresh replicas.
    async fn wait_let_go(&self, call: &StepCall, ctx: &Ctx, turn: &Turn, new: u64) -> Result<(), StepError> {
        let label = format!("{LABEL_PASSWORD_PREFIX}{}", turn.need);
        let version = new.to_string();
        let mut changes = self.ports.driver.changed();
        let mut restarted = false;
        loop {
            let seen = self.ports.driver.list().await.map_err(|error| StepError::from_fault(&error))?;
            let holders: Vec<Observed> = seen
                .into_iter()
                .filter(|one| one.scope == ctx.scope && one.service == turn.service)
                .filter(|one| !matches!(one.phase, Phase::Exited { .. } | Phase::Lost { .. }))
                .filter(|one| one.labels.get(&label) != Some(&version))
                .collect();
            if holders.is_empty() {
                return Ok(());
            }
            let record = self.books.service(&ctx.scope, &turn.service).await.map_err(failed)?.body;
            let current = record.revision();
            let is_current = |one: &Observed| {
                one.labels.get(LABEL_REVISION) == current.as_ref() && !one.labels.contains_key(LABEL_JOB)
            };
            if !restarted && holders.iter().any(is_current) {
                self.restart_for(ctx, turn).await?;
                restarted = true;
            }
            self.note(call, &format!("{} replicas still hold the old password", holders.len()));
            tokio::select! {
                () = call.stop.cancelled() => return Err(StepError::interrupted()),
                _ = changes.next() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn restart_for(&self, ctx: &Ctx, turn: &Turn) -> Result<(), StepError> {
        self.books
            .change_service(ctx, &turn.service, |record| {
                let body = crate::books::changed("restarts", record.restarts, record.restarts + 1);
                record.restarts += 1;
                let why = format!("`{}` has a new password", turn.name);
                Ok(Some(draft(ctx, "service.restarted", record.entity.as_str(), why, body)))
            })
            .await
            .map_err(failed)?;
        self.shared.wake();
        Ok(())
    }

    /// The platform service and its release, while it is wanted.
    async fn need(&self, ctx: &Ctx, name: &str) -> Result<Option<(ServiceRecord, ReleaseRecord)>, StepError> {
        let found: Option<Versioned<ServiceRecord>> =
            self.books.get(&ctx.scope, record::SERVICE, name).await.map_err(failed)?;
        let Some(record) = found.map(|found| found.body).filter(|record| !record.removing) else {
            return Ok(None);
        };
        let Some(id) = &record.release else { return Ok(None) };
        let release = self.books.release(&ctx.scope, id.as_str()).await.map_err(failed)?;
        Ok(release.map(|release| (record, release)))
    }

    /// The version that this flow made earlier, found by its mark: generating is not idempotent.
    async fn made(&self, ctx: &Ctx, secret: &SecretName, mark: &str) -> Result<Option<u64>, StepError> {
        let all = self.ports.secrets.list(ctx.scope.clone()).await;
        let all = all.map_err(|error| StepError::from_fault(&error))?;
        let versions = all.into_iter().find(|one| one.name == *secret).map(|one| one.versions);
        Ok(versions.unwrap_or_default().into_iter().find(|one| one.why == mark).map(|one| one.version))
    }

    /// Writes which versions are taken, with its entry, unless it says so already.
    async fn write(
        &self,
        ctx: &Ctx,
        turn: &Turn,
        kind: &str,
        why: &str,
        wanted: PasswordVersions,
    ) -> Result<(), StepError> {
        self.books
            .change_service(ctx, &turn.name, |record| {
                if record.password.as_ref() == Some(&wanted) {
                    return Ok(None);
                }
                let body = json!({"before": {"password": record.password}, "after": {"password": wanted}});
                record.password = Some(wanted.clone());
                Ok(Some(draft(ctx, kind, record.entity.as_str(), why, body)))
            })
            .await
            .map(drop)
            .map_err(failed)
    }

    /// Makes the running server take what the record says, and `retired` no more.
    async fn settle(&self, ctx: &Ctx, turn: &Turn, retired: Option<u64>) -> Result<(), StepError> {
        let Some((record, release)) = self.need(ctx, &turn.name).await? else { return Ok(()) };
        let spec: Need = serde_json::from_value(record.definition.clone())
            .map_err(|error| StepError::fatal(format!("the need cannot be read: {error}")))?;
        let at = place(&self.ports, &ctx.scope, &record).map_err(failed)?;
        let accepted = credentials(&self.ports, &ctx.scope, &record, &release, None).await.map_err(failed)?;
        let mut gone = Vec::new();
        if let Some(version) = retired {
            let secret = secret_of(turn)?;
            gone.push(login(&self.ports, &ctx.scope, &secret, Some(version)).await.map_err(failed)?);
        }
        self.ports
            .tasks
            .blocking("change passwords", move || need::settle(&spec, &at, &accepted, &gone))
            .await
            .map_err(|error| StepError::retryable(error.to_string()))?
            .map_err(failed)
    }
}

/// The reason that a version of this flow carries.
fn mark(call: &StepCall) -> String {
    format!("rotation {}", call.flow)
}
