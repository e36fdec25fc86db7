//! Services as they are: health, replicas, releases, bindings, and the runs that change them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a thing on the map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Service,
    /// Runs to its end, once or on a schedule.
    Job,
    Postgres,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As many replicas are ready as are wanted.
    Healthy,
    /// On the way up.
    Starting,
    /// Serves, with fewer replicas than wanted or a part of it failing.
    Degraded,
    /// Wanted and not serving.
    Down,
    /// Ends again and again; the next start is put off.
    CrashLoop,
    /// Not wanted to run (no replicas asked for, or a job that is not due).
    Stopped,
}

/// A service, a job or a need, at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    pub id: String,
    pub name: String,
    pub kind: Kind,
    pub environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub tier: String,
    pub health: Health,
    /// Why it is so, in a sentence, when it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub since: String,
    pub replicas_ready: u32,
    pub replicas_wanted: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Where a client reaches it, when it is exposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Names of what it needs, services and platform services.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The service that a platform service belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belongs_to: Option<String>,
}

/// A service with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceDetail {
    #[serde(flatten)]
    pub service: Service,
    /// Grows with every change; the ETag.
    pub generation: u64,
    pub replicas: Vec<Replica>,
    /// Newest first.
    pub releases: Vec<Release>,
    pub bindings: Vec<Binding>,
    pub endpoints: Vec<Endpoint>,
    /// The definition in force, secrets by name only.
    pub definition: Value,
    #[serde(default)]
    pub links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Link {
    pub title: String,
    pub url: String,
}

/// Where it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// `public`, or the name of the service it is for.
    pub audience: String,
    pub url: String,
}

/// What a workload was given for one of its needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Binding {
    pub need: String,
    pub kind: Kind,
    /// Name of the service or platform service behind it.
    pub target: String,
    /// Names of the environment variables it arrives in, never their values.
    pub environment: Vec<String>,
    /// Version of the password that it is given, for a need that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_version: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    Starting,
    Ready,
    /// Runs, but its readiness check fails.
    NotReady,
    Stopping,
    Exited,
    /// Its supervisor is gone without a word.
    Lost,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    pub at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    pub oom: bool,
    pub reason: String,
}

/// The latest result of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// `readiness` or `liveness`.
    pub name: String,
    pub ok: bool,
    pub failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Replica {
    pub id: String,
    pub release: String,
    pub state: ReplicaState,
    pub since: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Cores in use over the last seconds.
    pub cpu_cores: f64,
    pub memory_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes_max: Option<u64>,
    pub processes: u32,
    #[serde(default)]
    pub checks: Vec<Check>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// What this machine could not enforce.
    #[serde(default)]
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseState {
    /// Being rolled out.
    Rolling,
    /// Serves.
    Active,
    /// A later one took over.
    Superseded,
    /// Never became ready, or was undone.
    Failed,
}

/// An immutable version of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Release {
    pub id: String,
    /// Counts up from 1 per service.
    pub number: u64,
    pub state: ReleaseState,
    pub created_at: String,
    pub created_by: String,
    pub source: crate::Source,
    /// Digest of the pinned artifact; none for platform services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Names and versions of the secrets it was pinned to.
    #[serde(default)]
    pub secrets: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it runs, secrets by name only; where a service is shown in full, for its newest releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Running,
    Done,
    /// Failed, and what had been done was undone.
    Undone,
    /// Waits for a person.
    Parked,
    Cancelled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Waiting,
    Running,
    Retrying,
    Done,
    Failed,
    Undone,
    Skipped,
    /// Waits for a person.
    Parked,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunStep {
    pub name: String,
    pub state: StepState,
    pub attempts: u32,
    /// Progress or failure, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A plan being carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    pub id: String,
    pub plan: String,
    pub state: RunState,
    pub started_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    pub started_by: String,
    pub steps: Vec<RunStep>,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
