//! What driver and shim say to each other: the specification over a pipe, the record and the status
//! as files, requests over the control socket. Each carries a version where it is kept on disk.

use std::{collections::BTreeMap, path::PathBuf};

use base::{
    Scope,
    id::{ReleaseId, ReplicaId},
};
use runtime_api::{EnvValue, Exit, Identity, Limits, LogBounds, Phase, ReplicaSpec, Restart, Stop, Usage};
use serde::{Deserialize, Serialize};

/// Version of `spec.json` and `status.json`.
pub(crate) const VERSION: u32 = 1;
/// Bound on the specification as it goes over the pipe; secret files are most of it.
pub(crate) const SPEC_BYTES_MAX: usize = 24 << 20;
/// Bound on one request to the control socket.
pub(crate) const REQUEST_BYTES_MAX: usize = 128 << 10;

pub(crate) const RECORD: &str = "spec.json";
pub(crate) const STATUS: &str = "status.json";
pub(crate) const CONTROL: &str = "control.sock";
pub(crate) const LOG: &str = "log";
pub(crate) const ROOT: &str = "root";

/// Environment variable that marks each process of a replica with its id.
pub(crate) const MARK: &str = "STEAD_REPLICA";
pub(crate) const SECRETS_DIR: &str = "STEAD_SECRETS_DIR";
/// Number of a descriptor to which a program writes one byte when it is ready (see `upgrade`).
pub(crate) const READY_FD: &str = "STEAD_READY_FD";
pub(crate) const FD_STORE: &str = "STEAD_FD_STORE";

/// What the shim needs, secrets included. It lives in a pipe and in the shim's memory only, so that
/// it has no `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct ShimSpec {
    pub(crate) version: u32,
    pub(crate) id: ReplicaId,
    pub(crate) command: Vec<String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) secret_files: Vec<SecretFile>,
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
    pub(crate) log: LogBounds,
    pub(crate) restart: Restart,
    pub(crate) cgroups: bool,
    pub(crate) notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SecretFile {
    pub(crate) path: PathBuf,
    #[serde(with = "bytes_base64")]
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
    /// A link at its path in the root leads to it.
    #[serde(default)]
    pub(crate) linked: bool,
}

/// `spec.json`: what was asked, without any secret value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) id: ReplicaId,
    pub(crate) scope: Scope,
    pub(crate) service: String,
    pub(crate) release: ReleaseId,
    pub(crate) command: Vec<String>,
    pub(crate) source: Option<PathBuf>,
    pub(crate) working_directory: PathBuf,
    pub(crate) environment: BTreeMap<String, RecordedValue>,
    pub(crate) files: Vec<RecordedFile>,
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
    pub(crate) log: LogBounds,
    pub(crate) restart: Restart,
    pub(crate) data_directories: Vec<PathBuf>,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum RecordedValue {
    Plain(String),
    Secret { secret: bool },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecordedFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: usize,
    pub(crate) secret: bool,
    pub(crate) mode: u32,
}

impl From<&ReplicaSpec> for Record {
    fn from(spec: &ReplicaSpec) -> Self {
        let environment = spec.environment.iter().map(|(name, value)| {
            let kept = match value {
                EnvValue::Plain(text) => RecordedValue::Plain(text.clone()),
                EnvValue::Secret(_) => RecordedValue::Secret { secret: true },
            };
            (name.clone(), kept)
        });
        let files = spec.files.iter().map(|file| RecordedFile {
            path: file.path.clone(),
            bytes: file.content.len(),
            secret: file.secret,
            mode: file.mode,
        });
        Self {
            version: VERSION,
            id: spec.id.clone(),
            scope: spec.scope.clone(),
            service: spec.service.clone(),
            release: spec.release.clone(),
            command: spec.command.clone(),
            source: spec.source.clone(),
            working_directory: spec.working_directory.clone(),
            environment: environment.collect(),
            files: files.collect(),
            user: spec.user,
            limits: spec.limits.clone(),
            stop: spec.stop.clone(),
            log: spec.log.clone(),
            restart: spec.restart,
            data_directories: spec.data_directories.clone(),
            labels: spec.labels.clone(),
        }
    }
}

/// `status.json`: what the shim last knew, replaced as a whole on each change of phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: u32,
    pub(crate) phase: Phase,
    pub(crate) shim: Identity,
    pub(crate) restarts: u32,
    pub(crate) notes: Vec<String>,
    /// How the last run ended, while it is being started again.
    pub(crate) last_exit: Option<Exit>,
    pub(crate) cgroups: Vec<PathBuf>,
    pub(crate) secrets_dir: Option<PathBuf>,
    /// Total use, taken when it ended.
    pub(crate) usage: Usage,
}

/// One line to the control socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Answered at once; the end shows in the status.
    Stop,
    /// Comes with two descriptors, for output and errors. The command lives as long as the
    /// connection; the answer says how it ended.
    Exec { command: Vec<String>, deadline_ms: u64 },
    /// Starts `program` beside the running one, then stops the old one. Answered when done.
    Upgrade { program: String },
    /// The status, for when it could not be written to disk.
    Status,
}

/// The one line that answers a request.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Box<Status>>,
}

impl Reply {
    pub(crate) fn error(text: impl Into<String>) -> Self {
        Self { error: Some(text.into()), ..Self::default() }
    }
}

mod bytes_base64 {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(STANDARD.encode(bytes)))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}
