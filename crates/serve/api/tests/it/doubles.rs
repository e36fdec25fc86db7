//! Stand-ins for what the API calls: they answer with something small and remember that they were asked.

use std::{collections::BTreeMap, path::PathBuf, sync::Mutex};

use api_types::{AuditVerdict, Info};
use base::{Ctx, Problem, Scope, id::ReleaseId, id::ReplicaId};
use bytes::Bytes;
use delivery_api::{
    Health, Kind, Map, Plan, Replica, ReplicaState, Run, RunState, Series, Service, ServiceDetail,
    Submission, port::Command,
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use runtime_api::{Driver, ExecOutcome, ExecRequest, LogLine, LogQuery, Observed, ReplicaSpec};
use secrets_api::{Existing, Opened, SecretName, Secrets, Summary, Value, Which};

#[derive(Default)]
pub struct Double {
    /// What was asked that would change something.
    pub asked: Mutex<Vec<String>>,
    /// The steps of the one plan there is.
    pub steps: Mutex<Vec<delivery_api::Step>>,
    /// What reading services fails with.
    pub broken: Mutex<Option<Problem>>,
    /// Runs within `exec`, to look at the world from there.
    pub during_exec: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl std::fmt::Debug for Double {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Double")
    }
}

impl Double {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }
}

pub fn from<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).unwrap()
}

fn run() -> Run {
    Run {
        id: "run_1".into(),
        plan: "plan_1".into(),
        state: RunState::Running,
        started_at: String::new(),
        ended_at: None,
        started_by: String::new(),
        steps: Vec::new(),
        problem: None,
    }
}

fn service() -> Service {
    Service {
        id: "svc_1".into(),
        name: "web".into(),
        kind: Kind::Service,
        environment: "default".into(),
        description: None,
        owner: None,
        tier: "standard".into(),
        health: Health::Healthy,
        reason: None,
        since: String::new(),
        replicas_ready: 1,
        replicas_wanted: 1,
        release: None,
        url: None,
        needs: Vec::new(),
        belongs_to: None,
    }
}

fn replica() -> Replica {
    Replica {
        id: ReplicaId::new().to_string(),
        release: String::new(),
        state: ReplicaState::Ready,
        since: String::new(),
        pid: Some(1),
        port: None,
        cpu_cores: 0.0,
        memory_bytes: 0,
        memory_bytes_max: None,
        processes: 1,
        checks: Vec::new(),
        exit: None,
        notes: Vec::new(),
    }
}

impl delivery_api::Delivery for Double {
    fn plan(&self, _: Ctx, _: Submission) -> BoxFuture<'_, Result<Plan, Problem>> {
        self.note("plan");
        async { Ok(self.one_plan()) }.boxed()
    }
    fn apply(&self, _: Ctx, _: String) -> BoxFuture<'_, Result<Run, Problem>> {
        self.note("apply");
        async { Ok(run()) }.boxed()
    }
    fn plans(&self, _: Scope, _: Option<String>) -> BoxFuture<'_, Result<Vec<Plan>, Problem>> {
        async { Ok(vec![self.one_plan()]) }.boxed()
    }
    fn runs(&self, _: Scope, _: Option<String>) -> BoxFuture<'_, Result<Vec<Run>, Problem>> {
        async { Ok(vec![run()]) }.boxed()
    }
    fn cancel(&self, _: Ctx, _: String, _: String) -> BoxFuture<'_, Result<Run, Problem>> {
        self.note("cancel");
        async { Ok(run()) }.boxed()
    }
    fn services(&self, _: Scope) -> BoxFuture<'_, Result<Vec<Service>, Problem>> {
        let broken = self.broken.lock().unwrap().clone();
        async { broken.map_or_else(|| Ok(vec![service()]), Err) }.boxed()
    }
    fn service(&self, _: Scope, _: String) -> BoxFuture<'_, Result<ServiceDetail, Problem>> {
        let detail = ServiceDetail {
            service: service(),
            generation: 1,
            replicas: vec![replica()],
            releases: Vec::new(),
            bindings: Vec::new(),
            endpoints: Vec::new(),
            definition: serde_json::Value::Null,
            links: Vec::new(),
        };
        async { Ok(detail) }.boxed()
    }
    fn command(&self, _: Ctx, _: String, command: Command) -> BoxFuture<'_, Result<(), Problem>> {
        self.note(format!("{command:?}"));
        async { Ok(()) }.boxed()
    }
    fn traffic(&self, _: Scope, service: String, _: u32) -> BoxFuture<'_, Result<Series, Problem>> {
        async { Ok(Series { service, step_seconds: 1, points: Vec::new() }) }.boxed()
    }
    fn map(&self, _: Scope) -> BoxFuture<'_, Result<Map, Problem>> {
        async { Ok(Map::default()) }.boxed()
    }
}

impl Double {
    fn one_plan(&self) -> Plan {
        let mut plan: Plan = from(serde_json::json!({
            "id": "plan_1", "environment": "default", "state": "open", "created_at": "", "created_by": "",
            "source": {"project": "/"}, "steps": [],
            "summary": {"create": 0, "change": 0, "replace": 0, "remove": 0, "keep": 0},
        }));
        plan.steps.clone_from(&self.steps.lock().unwrap());
        plan
    }
}

impl Secrets for Double {
    fn set(&self, _: Ctx, _: SecretName, value: Value, _: String) -> BoxFuture<'_, secrets_api::Result<u64>> {
        self.note(format!("set secret {:?}", value.expose()));
        async { Ok(1) }.boxed()
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
    fn get(&self, _: Scope, _: SecretName, _: Which) -> BoxFuture<'_, secrets_api::Result<Opened>> {
        unreachable!("the API never reads a value")
    }
    fn remove(&self, _: Ctx, _: SecretName, _: String) -> BoxFuture<'_, secrets_api::Result<()>> {
        self.note("remove secret");
        async { Ok(()) }.boxed()
    }
    fn generate(
        &self,
        _: Ctx,
        _: SecretName,
        _: secrets_api::Kind,
        _: Existing,
        _: String,
    ) -> BoxFuture<'_, secrets_api::Result<u64>> {
        unreachable!("the API makes up no secret")
    }
    fn pin(
        &self,
        _: Ctx,
        _: ReleaseId,
        _: BTreeMap<SecretName, u64>,
    ) -> BoxFuture<'_, secrets_api::Result<()>> {
        unreachable!("the API pins nothing")
    }
    fn unpin(&self, _: Ctx, _: ReleaseId) -> BoxFuture<'_, secrets_api::Result<()>> {
        unreachable!("the API pins nothing")
    }
}

impl Driver for Double {
    fn start(&self, _: ReplicaSpec) -> BoxFuture<'_, runtime_api::Result<()>> {
        unreachable!("the API starts nothing")
    }
    fn stop(&self, _: ReplicaId) -> BoxFuture<'_, runtime_api::Result<()>> {
        unreachable!("the API stops nothing")
    }
    fn remove(&self, _: ReplicaId) -> BoxFuture<'_, runtime_api::Result<()>> {
        unreachable!("the API removes nothing")
    }
    fn list(&self) -> BoxFuture<'_, runtime_api::Result<Vec<Observed>>> {
        async { Ok(Vec::new()) }.boxed()
    }
    fn changed(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
    fn logs(&self, _: LogQuery) -> BoxFuture<'_, runtime_api::Result<BoxStream<'static, LogLine>>> {
        async { Ok(stream::pending().boxed()) }.boxed()
    }
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, runtime_api::Result<ExecOutcome>> {
        self.note(format!("exec {:?}", request.command));
        let look = self.during_exec.lock().unwrap().take();
        async move {
            if let Some(look) = look {
                look.await;
            }
            Ok(ExecOutcome { code: Some(0), signal: None, stdout: "out".into(), stderr: String::new() })
        }
        .boxed()
    }
}

/// The machine: says yes to everything.
#[derive(Debug)]
pub struct Fixed;

impl api::Machine for Fixed {
    fn info(&self) -> BoxFuture<'_, Info> {
        let info = Info {
            version: "1".into(),
            started_at: String::new(),
            tenant: "default".into(),
            environments: vec!["default".into()],
            api: String::new(),
            gateway: None,
            findings: Vec::new(),
        };
        async { info }.boxed()
    }
    fn verify(&self) -> BoxFuture<'_, Result<AuditVerdict, Problem>> {
        let verdict = AuditVerdict { intact: true, entries: 0, findings: Vec::new(), tail_proven: false };
        async { Ok(verdict) }.boxed()
    }
    fn upload(
        &self,
        body: BoxStream<'static, Result<Bytes, Problem>>,
    ) -> BoxFuture<'_, Result<u64, Problem>> {
        async { Ok(body.count().await as u64) }.boxed()
    }
    fn backup(&self) -> BoxFuture<'_, Result<PathBuf, Problem>> {
        async { Ok("/backup".into()) }.boxed()
    }
    fn shut_down(&self, _: bool) -> BoxFuture<'_, Result<(), Problem>> {
        async { Ok(()) }.boxed()
    }
    fn upgrade(&self, _: PathBuf) -> BoxFuture<'_, Result<(), Problem>> {
        async { Ok(()) }.boxed()
    }
}
