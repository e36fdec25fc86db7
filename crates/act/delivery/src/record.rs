//! Records of delivery as they stand in state. Each carries its format in `v`; readers accept all
//! older ones.

use std::collections::BTreeMap;

use base::{
    Problem, Scope, Timestamp,
    id::{EntityId, EventId, ReleaseId},
};
use delivery_api::{Action, Kind, Plan, ReleaseState, Source};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use state::{IndexTerm, Key, Put, Record};

pub const SERVICE: &str = "service";
pub const RELEASE: &str = "release";
pub const BINDING: &str = "binding";
pub const PLAN: &str = "plan";
pub const RUN: &str = "run";
pub const ALLOCATION: &str = "allocation";
/// Under the id of a replica: its end is on the ledger. It goes with the replica.
pub const REPLICA_END: &str = "replica-end";

/// A service or a platform service as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    pub v: u32,
    pub entity: EntityId,
    pub name: String,
    pub kind: Kind,
    /// The service whose need it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belongs_to: Option<String>,
    /// The project it was delivered from; what leaves the project's files is planned to go.
    pub project: String,
    /// Canonical form of the service, or the need.
    pub definition: Value,
    pub replicas: u32,
    /// The release that should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// Counts requested restarts: another count is another revision of the same release.
    #[serde(default)]
    pub restarts: u64,
    /// It is on its way out.
    #[serde(default)]
    pub removing: bool,
    /// Unprivileged user and group of its processes, when Stead is root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Which versions of its password a platform service takes, once they were rotated; until then the
    /// one its release pins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordVersions>,
    /// Port of a platform service, the same for its whole life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    pub created_at: Timestamp,
    /// The ledger entry of the latest change: the cause of what the reconciler does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<EventId>,
}

/// Versions of a platform service's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordVersions {
    /// What the service that needs it is given, unless its release pins another one that is taken.
    pub current: u64,
    /// What is taken as well; empty unless a rotation is under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<u64>,
}

impl PasswordVersions {
    #[must_use]
    pub fn takes(&self, version: u64) -> bool {
        self.current == version || self.also.contains(&version)
    }
}

impl ServiceRecord {
    pub const FORMAT: u32 = 1;

    /// What its replicas must run to be current; none when it has no release.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
        self.release.as_ref().map(|release| format!("{release}#{}", self.restarts))
    }

    #[must_use]
    pub fn is_platform_service(&self) -> bool {
        matches!(self.kind, Kind::Postgres | Kind::Redis)
    }
}

/// An immutable version of a service; only `state` and `reason` change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    pub v: u32,
    pub id: ReleaseId,
    pub service: String,
    pub number: u64,
    pub definition: Value,
    /// Digest of the pinned artifact tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Versions of the secrets it runs with.
    #[serde(default)]
    pub secrets: BTreeMap<String, u64>,
    pub source: Source,
    pub state: ReleaseState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub created_by: String,
}

impl ReleaseRecord {
    pub const FORMAT: u32 = 1;
}

/// The way from one service to another: a listener of the gateway for that caller alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRecord {
    pub v: u32,
    pub caller: String,
    pub need: String,
    pub service: String,
    pub port: u16,
}

impl BindingRecord {
    pub const FORMAT: u32 = 1;

    #[must_use]
    pub fn id(caller: &str, need: &str) -> String {
        format!("{caller}.{need}")
    }
}

/// A plan with what it takes to carry it out.
///
/// Format 2 keeps `plan` and `work` as JSON in a string: a plan of a thousand services is written
/// once and read rarely, and as a tree of values it would be built and taken apart three times on its
/// way to the disk. Format 1 had them as objects, and listed the fields of what is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    pub v: u32,
    #[serde(with = "as_text")]
    pub plan: Plan,
    /// Digest of what was seen when it was made; another one makes it stale.
    pub basis: String,
    #[serde(with = "as_text")]
    pub work: Vec<Work>,
    pub created_at: Timestamp,
}

impl PlanRecord {
    pub const FORMAT: u32 = 2;

    /// The plan for a reader, with the fields of what is created: they follow from its definition and
    /// are not kept with the plan.
    #[must_use]
    pub fn shown(mut self) -> Plan {
        let created: BTreeMap<&str, &Value> = self
            .work
            .iter()
            .filter_map(|work| match work {
                Work::Release { name, definition, .. } => Some((name.as_str(), definition)),
                _ => None,
            })
            .collect();
        for step in self.plan.steps.iter_mut().filter(|step| step.action == Action::Create) {
            let name = step.subject.strip_prefix("service/");
            if let Some(definition) = name.and_then(|name| created.get(name))
                && step.changes.is_empty()
            {
                step.changes = crate::planner::changes(&Value::Null, definition);
            }
        }
        self.plan
    }
}

/// A value as its JSON in a string; reads the value itself too.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error, ser};
    use serde_json::Value;

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&serde_json::to_string(value).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        match Value::deserialize(from)? {
            Value::String(text) => serde_json::from_str(&text).map_err(D::Error::custom),
            other => serde_json::from_value(other).map_err(D::Error::custom),
        }
    }
}

/// What a step of a plan does, with all it needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Work {
    /// Provides a platform service, or changes how it runs.
    Provide { name: String, belongs_to: String, need: crate::need::Need },
    /// Gives a platform service a new password: the old one works until the service has the new one.
    Rotate {
        name: String,
        belongs_to: String,
        /// Name of the need in its service's file.
        need: String,
        /// The release of the service that pins the new version; none when the service does not run.
        #[serde(default)]
        release: Option<ReleaseId>,
    },
    /// Makes a new release and lets it take over.
    Release {
        name: String,
        release: ReleaseId,
        definition: Value,
        #[serde(default)]
        artifact: Option<String>,
        #[serde(default)]
        secrets: BTreeMap<String, u64>,
    },
    /// Changes what needs no new processes: replicas, routes, ownership.
    Update { name: String, definition: Value },
    Remove {
        name: String,
        /// It is a platform service.
        #[serde(default)]
        need: bool,
        delete_data: bool,
    },
}

impl Work {
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Provide { name, .. }
            | Self::Rotate { name, .. }
            | Self::Release { name, .. }
            | Self::Update { name, .. }
            | Self::Remove { name, .. } => name,
        }
    }
}

/// Reads a record's body.
///
/// # Errors
/// It is of a form this version does not know.
pub fn read<T: DeserializeOwned>(record: &Record) -> Result<T, Problem> {
    serde_json::from_value(record.body.clone()).map_err(|error| {
        Problem::new(
            base::Class::Internal,
            "delivery.record",
            format!("{} {:?} cannot be read: {error}", record.key.kind, record.key.id),
        )
    })
}

/// A write of a record with its index terms.
#[must_use]
pub fn put<T: Serialize>(scope: &Scope, kind: &str, id: &str, body: &T, index: &[(&str, &str)]) -> Put {
    Put::Put {
        key: Key::new(scope, kind, id),
        body: serde_json::to_value(body).unwrap_or_default(),
        index: index
            .iter()
            .map(|(name, value)| IndexTerm { name: (*name).to_owned(), value: (*value).to_owned() })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As format 1 wrote it.
    const FIRST: &str = r#"{"v":1,"plan":{"id":"pln_0192f5a8c0de7000800000000000000a","environment":"default",
        "state":"open","created_at":"2026-01-02T03:04:05Z","created_by":"person/ada","source":{"project":"/p","dirty":false},
        "steps":[{"subject":"service/web","action":"create","why":"it is new",
        "changes":[{"path":"name","after":"web"}],"after":[],"warnings":[]}],
        "summary":{"create":1,"change":0,"replace":0,"remove":0,"keep":0},"warnings":[],"missing_blobs":[]},
        "basis":"sha256:00","work":[{"do":"release","name":"web","release":"rel_0192f5a8c0de7000800000000000000b",
        "definition":{"name":"web","owner":"ada"},"artifact":null,"secrets":{}}],"created_at":1700000000000000000}"#;

    #[test]
    fn a_plan_of_format_1_is_still_read_and_format_2_gives_the_same() {
        let mut first: PlanRecord = serde_json::from_str(FIRST).unwrap();
        assert_eq!(first.clone().shown().steps[0].changes.len(), 1, "kept as they were");
        first.plan.steps[0].changes.clear();
        let second = serde_json::to_value(PlanRecord { v: PlanRecord::FORMAT, ..first.clone() }).unwrap();
        assert!(second["plan"].is_string() && second["work"].is_string());
        let read: PlanRecord = serde_json::from_value(second).unwrap();
        assert_eq!((read.v, &read.plan, &read.work), (2, &first.plan, &first.work));
        let shown = read.shown();
        let paths: Vec<&str> = shown.steps[0].changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["name", "owner"], "what is created is shown from its definition");
    }

    #[test]
    fn a_plan_whose_text_is_damaged_is_an_error() {
        let mut value: Value = serde_json::from_str(FIRST).unwrap();
        value["work"] = Value::String("[{\"do\":\"nothing-known\"}]".into());
        assert!(serde_json::from_value::<PlanRecord>(value.clone()).is_err());
        value["work"] = Value::String("[".into());
        assert!(serde_json::from_value::<PlanRecord>(value).is_err());
    }
}
