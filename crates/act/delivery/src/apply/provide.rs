//! Providing a platform service: records, credentials, data directory, then running.

use std::collections::BTreeMap;

use base::{
    Ctx,
    id::{EntityId, ReleaseId},
};
use delivery_api::ReleaseState;
use flow::{StepCall, StepError};
use secrets_api::{Existing, Kind as SecretKind};
use serde_json::{Value, json};
use state::{Commit, Key, Precondition};

use super::{Applier, Input, failed, input, output};
use crate::{
    books::{Versioned, draft, put_release, put_service},
    need::{self, Need},
    reconcile::start::{credential_secret, credentials, place},
    record::{self, ReleaseRecord, ServiceRecord, Work},
};

impl Applier {
    pub(super) async fn provide(&self, call: StepCall) -> Result<Value, StepError> {
        let input: Input = input(&call)?;
        let Work::Provide { name, belongs_to, need } = &input.work else {
            return Err(StepError::fatal("not a need"));
        };
        let ctx = Self::ctx(&call, &input.cause);
        let found: Option<Versioned<ServiceRecord>> =
            self.books.get(&ctx.scope, record::SERVICE, name).await.map_err(failed)?;
        let definition = serde_json::to_value(need).unwrap_or_default();
        let provided = found.as_ref().filter(|found| {
            found.body.definition == definition && found.body.release.is_some() && !found.body.removing
        });
        let revision = match provided {
            // An earlier attempt got this far.
            Some(found) => found.body.revision().unwrap_or_default(),
            None => {
                self.note(&call, "making credentials and data directory");
                self.record_need(&ctx, &input, name, belongs_to, need, found).await?
            }
        };
        self.note(&call, "starting");
        self.wait_rolled_out(&call, name, &revision).await?;
        Ok(output(revision.split('#').next(), None))
    }

    async fn record_need(
        &self,
        ctx: &Ctx,
        input: &Input,
        name: &str,
        belongs_to: &str,
        need: &Need,
        found: Option<Versioned<ServiceRecord>>,
    ) -> Result<String, StepError> {
        let secrets = self.need_secrets(ctx, name, need, found.as_ref().map(|found| &found.body)).await?;
        let mut record = match &found {
            Some(found) => found.body.clone(),
            None => self.new_need(ctx, input, name, belongs_to, need).await?,
        };
        let number = self
            .books
            .releases(&ctx.scope, name)
            .await
            .map_err(failed)?
            .first()
            .map_or(0, |last| last.number);
        let before = record.definition.clone();
        let release = ReleaseRecord {
            v: ReleaseRecord::FORMAT,
            id: ReleaseId::new(),
            service: name.to_owned(),
            number: number + 1,
            definition: serde_json::to_value(need).unwrap_or_default(),
            artifact: None,
            secrets,
            source: input.source.clone(),
            state: ReleaseState::Rolling,
            reason: None,
            created_at: self.ports.clock.now(),
            created_by: ctx.actor.to_string(),
        };
        self.prepare(ctx, &record, &release, need).await?;
        record.definition.clone_from(&release.definition);
        record.release = Some(release.id.clone());
        record.replicas = 1;
        record.removing = false;
        let entry = draft(
            ctx,
            "need.provided",
            record.entity.as_str(),
            format!("`{belongs_to}` needs `{name}`"),
            json!({"name": name, "before": found.is_some().then_some(before), "after": release.definition}),
        );
        record.changed_by = Some(entry.id.clone());
        let key = Key::new(&ctx.scope, record::SERVICE, name);
        let precondition = match &found {
            Some(found) => Precondition::Version(key, found.version),
            None => Precondition::Absent(key),
        };
        let revision = record.revision().unwrap_or_default();
        let commit = Commit {
            preconditions: vec![precondition],
            puts: vec![put_service(&ctx.scope, &record), put_release(&ctx.scope, &release)],
            entries: vec![entry],
            ..Commit::default()
        };
        self.books.commit(commit).await.map_err(failed)?;
        Ok(revision)
    }

    /// The versions of a need's credentials that a release of it pins: those that its data knows, else
    /// fresh ones.
    async fn need_secrets(
        &self,
        ctx: &Ctx,
        name: &str,
        need: &Need,
        known: Option<&ServiceRecord>,
    ) -> Result<BTreeMap<String, u64>, StepError> {
        let earlier = match known {
            Some(_) => self.books.releases(&ctx.scope, name).await.map_err(failed)?,
            None => Vec::new(),
        };
        let rotated = known.and_then(|record| record.password.as_ref()).map(|password| password.current);
        let mut secrets = BTreeMap::new();
        for credential in need::credential_names(need) {
            let secret = credential_secret(name, credential).map_err(failed)?;
            let pinned = earlier.iter().find_map(|release| release.secrets.get(secret.as_str()).copied());
            let version = match rotated.filter(|_| *credential == need::PASSWORD).or(pinned) {
                Some(version) => version,
                None => {
                    let why = format!("credential of `{name}`");
                    self.ports
                        .secrets
                        .generate(ctx.clone(), secret.clone(), SecretKind::default(), Existing::Keep, why)
                        .await
                        .map_err(|error| StepError::from_fault(&error))?
                }
            };
            secrets.insert(secret.to_string(), version);
        }
        Ok(secrets)
    }

    async fn prepare(
        &self,
        ctx: &Ctx,
        record: &ServiceRecord,
        release: &ReleaseRecord,
        need: &Need,
    ) -> Result<(), StepError> {
        self.pin_secrets(ctx, release).await?;
        let at = place(&self.ports, &ctx.scope, record).map_err(failed)?;
        let credentials =
            credentials(&self.ports, &ctx.scope, record, release, None).await.map_err(failed)?;
        let spec = need.clone();
        self.ports
            .tasks
            .blocking("prepare need", move || need::prepare(&spec, &at, &credentials))
            .await
            .map_err(|error| StepError::retryable(error.to_string()))?
            .map_err(failed)
    }

    async fn new_need(
        &self,
        ctx: &Ctx,
        input: &Input,
        name: &str,
        belongs_to: &str,
        need: &Need,
    ) -> Result<ServiceRecord, StepError> {
        let user = match self.ports.root {
            true => Some(self.books.allocate_user(&ctx.scope).await.map_err(failed)?),
            false => None,
        };
        let port = self.books.allocate_port(&ctx.scope.tenant).await.map_err(failed)?;
        Ok(ServiceRecord {
            v: ServiceRecord::FORMAT,
            entity: EntityId::new(),
            name: name.to_owned(),
            kind: need.kind(),
            belongs_to: Some(belongs_to.to_owned()),
            project: input.source.project.clone(),
            definition: Value::Null,
            replicas: 1,
            release: None,
            restarts: 0,
            removing: false,
            user,
            password: None,
            port: Some(port),
            created_at: self.ports.clock.now(),
            changed_by: None,
        })
    }
}
