//! What a service needs from elsewhere, and what it learns of it.

use std::collections::BTreeMap;

use base::{id::NameId, units::Bytes};
use serde::{Deserialize, Serialize};

/// A need and the environment variables that carry its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Need {
    #[serde(flatten)]
    pub kind: NeedKind,
    /// Environment variable by output, such as `url` in `DATABASE_URL`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeedKind {
    Postgres(Postgres),
    Redis(Redis),
    /// Another service of the same environment, by name.
    #[serde(untagged)]
    Service {
        service: NameId,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postgres {
    /// Major version, such as `16`; none takes what the machine has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Name of the database; none takes the service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The most memory its data may take; none leaves it to the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

impl NeedKind {
    pub(crate) const KINDS: &'static [&'static str] = &["postgres", "redis", "service"];

    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Service { .. } => "service",
        }
    }

    /// What a binding gives, and whether it is secret.
    #[must_use]
    pub fn outputs(&self) -> &'static [(&'static str, bool)] {
        match self {
            Self::Postgres(_) => &[
                ("database", false),
                ("host", false),
                ("password", true),
                ("port", false),
                ("url", true),
                ("user", false),
            ],
            Self::Redis(_) => &[("host", false), ("password", true), ("port", false), ("url", true)],
            Self::Service { .. } => &[("host", false), ("port", false), ("url", false)],
        }
    }

    /// Variables set when the file chooses none.
    pub(crate) fn environment_default(&self, need: &str) -> BTreeMap<String, String> {
        let own = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(output, variable)| ((*output).to_owned(), (*variable).to_owned())).collect()
        };
        match self {
            Self::Postgres(_) => own(&[
                ("database", "PGDATABASE"),
                ("host", "PGHOST"),
                ("password", "PGPASSWORD"),
                ("port", "PGPORT"),
                ("url", "DATABASE_URL"),
                ("user", "PGUSER"),
            ]),
            Self::Redis(_) => own(&[("url", "REDIS_URL")]),
            Self::Service { .. } => {
                own(&[("url", &format!("{}_URL", need.to_uppercase().replace('-', "_")))])
            }
        }
    }
}
