//! Stand-ins for what delivery asks of others, for tests within this crate.

use std::{collections::BTreeMap, path::Path, path::PathBuf, sync::Arc, sync::Mutex};

use base::{
    Ctx, Problem, Scope, Tenant, Timestamp,
    id::{EntityId, ReleaseId, ReplicaId},
    time::ManualClock,
};
use delivery_api::{ArtifactTree, Kind, ReleaseState, Source};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use gateway_api::{Sample, Snapshot, Status};
use runtime_api::{
    Driver, ExecOutcome, ExecRequest, Exit, LogLine, LogQuery, Observed, Phase, ReplicaSpec, Usage,
};
use secrets_api::{Existing, Opened, SecretName, Secrets, Summary, Value, Which};
use service_file::Service;

use crate::{
    ports::{Artifacts, Gateway, Ports},
    record::{ReleaseRecord, ServiceRecord},
};

/// Runs nothing: what is started has ended at once with `exit_code`, having printed `printed`.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub started: Mutex<Vec<ReplicaSpec>>,
    pub exit_code: i32,
    pub printed: String,
    pub exec: Option<ExecOutcome>,
}

impl Machine {
    fn ended(&self, spec: &ReplicaSpec) -> Observed {
        let exit = Exit {
            at: Timestamp::from_millis(0),
            code: Some(self.exit_code),
            signal: None,
            oom: false,
            reason: format!("exited with {}", self.exit_code),
        };
        Observed {
            id: spec.id.clone(),
            scope: spec.scope.clone(),
            service: spec.service.clone(),
            release: spec.release.clone(),
            labels: spec.labels.clone(),
            phase: Phase::Exited { exit },
            usage: Usage::default(),
            restarts: 0,
            notes: Vec::new(),
        }
    }
}

impl Driver for Machine {
    fn start(&self, spec: ReplicaSpec) -> BoxFuture<'_, runtime_api::Result<()>> {
        self.started.lock().unwrap().push(spec);
        async { Ok(()) }.boxed()
    }
    fn stop(&self, _: ReplicaId) -> BoxFuture<'_, runtime_api::Result<()>> {
        async { Ok(()) }.boxed()
    }
    fn remove(&self, _: ReplicaId) -> BoxFuture<'_, runtime_api::Result<()>> {
        async { Ok(()) }.boxed()
    }
    fn list(&self) -> BoxFuture<'_, runtime_api::Result<Vec<Observed>>> {
        let seen = self.started.lock().unwrap().iter().map(|spec| self.ended(spec)).collect();
        async { Ok(seen) }.boxed()
    }
    fn changed(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
    fn logs(&self, query: LogQuery) -> BoxFuture<'_, runtime_api::Result<BoxStream<'static, LogLine>>> {
        let text = self.printed.clone();
        let line = LogLine { at: Timestamp::from_millis(0), replica: query.replica, stderr: true, text };
        async { Ok(stream::iter([line]).boxed()) }.boxed()
    }
    fn exec(&self, _: ExecRequest) -> BoxFuture<'_, runtime_api::Result<ExecOutcome>> {
        let outcome = self.exec.clone().unwrap();
        async { Ok(outcome) }.boxed()
    }
}

/// Secrets by name, each with one version.
#[derive(Debug, Default)]
pub(crate) struct Keep(pub BTreeMap<String, Vec<u8>>);

impl Secrets for Keep {
    fn set(&self, _: Ctx, _: SecretName, _: Value, _: String) -> BoxFuture<'_, secrets_api::Result<u64>> {
        unreachable!("nothing is set in these tests")
    }
    fn list(&self, _: Scope) -> BoxFuture<'_, secrets_api::Result<Vec<Summary>>> {
        async { Ok(Vec::new()) }.boxed()
    }
    fn latest(
        &self,
        _: Scope,
        _: Vec<SecretName>,
    ) -> BoxFuture<'_, secrets_api::Result<BTreeMap<SecretName, u64>>> {
        async { Ok(BTreeMap::new()) }.boxed()
    }
    fn get(&self, _: Scope, name: SecretName, _: Which) -> BoxFuture<'_, secrets_api::Result<Opened>> {
        let value = Value::new(self.0[name.as_str()].clone()).unwrap();
        async { Ok(Opened { version: 1, value }) }.boxed()
    }
    fn remove(&self, _: Ctx, _: SecretName, _: String) -> BoxFuture<'_, secrets_api::Result<()>> {
        unreachable!("nothing is removed in these tests")
    }
    fn generate(
        &self,
        _: Ctx,
        _: SecretName,
        _: secrets_api::Kind,
        _: Existing,
        _: String,
    ) -> BoxFuture<'_, secrets_api::Result<u64>> {
        unreachable!("nothing is made up in these tests")
    }
    fn pin(
        &self,
        _: Ctx,
        _: ReleaseId,
        _: BTreeMap<SecretName, u64>,
    ) -> BoxFuture<'_, secrets_api::Result<()>> {
        async { Ok(()) }.boxed()
    }
    fn unpin(&self, _: Ctx, _: ReleaseId) -> BoxFuture<'_, secrets_api::Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// No gateway and no artifacts.
#[derive(Debug)]
struct Nothing;

impl Gateway for Nothing {
    fn published(&self) -> BoxFuture<'_, Result<Option<Snapshot>, Problem>> {
        async { Ok(None) }.boxed()
    }
    fn publish(&self, _: Snapshot) -> BoxFuture<'_, Result<(), Problem>> {
        async { Ok(()) }.boxed()
    }
    fn status(&self) -> BoxFuture<'_, Result<Status, Problem>> {
        unreachable!("nobody asks the gateway in these tests")
    }
    fn samples(&self) -> BoxStream<'static, Vec<Sample>> {
        stream::pending().boxed()
    }
}

impl Artifacts for Nothing {
    fn missing(&self, _: Vec<ArtifactTree>) -> BoxFuture<'_, Result<Vec<String>, Problem>> {
        async { Ok(Vec::new()) }.boxed()
    }
    fn checkout(&self, _: String) -> BoxFuture<'_, Result<PathBuf, Problem>> {
        unreachable!("these services have no files")
    }
}

pub(crate) fn ports(directory: &Path, machine: &Arc<Machine>, secrets: Keep) -> Ports {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
    Ports {
        tenant: Tenant::default(),
        data_directory: directory.to_owned(),
        root: false,
        public_address: ([127, 0, 0, 1], 8080).into(),
        public_tls: None,
        state: Arc::new(state::MemoryState::new(clock.clone())),
        driver: machine.clone(),
        secrets: Arc::new(secrets),
        gateway: Arc::new(Nothing),
        artifacts: Arc::new(Nothing),
        clock,
        tasks: tasks::Tasks::new(tasks::Limits::default()),
    }
}

/// The one service of a file's text, with its records as after a release.
pub(crate) fn delivered(text: &str) -> (Service, ServiceRecord, ReleaseRecord) {
    let parsed = service_file::parse("stead.yaml", text);
    assert!(parsed.problems.items.is_empty(), "{}", parsed.problems.render(false));
    let service = parsed.services[0].base().clone();
    let at = Timestamp::from_millis(0);
    let release = ReleaseRecord {
        v: ReleaseRecord::FORMAT,
        id: ReleaseId::new(),
        service: service.name.to_string(),
        number: 1,
        definition: service.canonical(),
        artifact: None,
        secrets: BTreeMap::new(),
        source: Source::default(),
        state: ReleaseState::Active,
        reason: None,
        created_at: at,
        created_by: String::new(),
    };
    let record = ServiceRecord {
        v: ServiceRecord::FORMAT,
        entity: EntityId::new(),
        name: service.name.to_string(),
        kind: Kind::Service,
        belongs_to: None,
        project: String::new(),
        definition: service.canonical(),
        replicas: 1,
        release: Some(release.id.clone()),
        restarts: 0,
        removing: false,
        user: None,
        password: None,
        port: None,
        created_at: at,
        changed_by: None,
    };
    (service, record, release)
}
