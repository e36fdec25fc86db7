//! A service as its file describes it, defaults filled in.
//!
//! The serialised form is the canonical one, format 1: fields in the order written here, maps in
//! order of their keys, units in their text form. Secrets and templates are named, never resolved.

use std::collections::BTreeMap;

use base::id::NameId;
use serde::{Deserialize, Serialize};

pub use self::{
    command::{Command, ParsedCommand},
    needs::{Need, NeedKind, Postgres, Redis},
    run::{
        Check, Health, Kind, Limits, Port, Probe, Restart, RestartPolicy, Run, Schedule, StatusRange, Stop,
    },
};
use crate::template::{Reference, Template};

mod command;
mod needs;
mod run;

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: NameId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub tier: Tier,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// None for a service that only has needs, jobs or catalogue data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<NameId, Job>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub needs: BTreeMap<NameId, Need>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Expose>,
    #[serde(default, skip_serializing_if = "Config::is_empty")]
    pub config: Config,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Secret>,
}

impl Service {
    /// Version of the canonical form.
    pub const FORMAT: u32 = 1;

    /// The stable form for digests and diffs: the same service gives the same bytes, whatever the
    /// order, comments and spelling of its file.
    #[must_use]
    pub fn canonical(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Reads the canonical form back, of this format or an older one.
    ///
    /// # Errors
    /// The value is not of this form.
    pub fn from_canonical(value: serde_json::Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(value)
    }

    /// The services that this one calls.
    pub fn called_services(&self) -> impl Iterator<Item = &NameId> {
        self.needs.values().filter_map(|need| match &need.kind {
            NeedKind::Service { service } => Some(service),
            _ => None,
        })
    }

    /// The templates of the environment that the service's processes share: `config.values`, the
    /// needs' variables, then what the `run` section or the job sets. Later ones win.
    /// Secrets delivered as environment are not in it.
    #[must_use]
    pub fn environment<'s>(&'s self, own: &'s BTreeMap<String, Template>) -> BTreeMap<&'s str, Template> {
        let mut all: BTreeMap<&str, Template> = BTreeMap::new();
        for (name, value) in &self.config.values {
            all.insert(name, value.clone());
        }
        for (need_name, need) in &self.needs {
            for (output, variable) in &need.environment {
                all.insert(
                    variable,
                    Template::reference(&Reference::Need {
                        need: need_name.to_string(),
                        output: output.clone(),
                    }),
                );
            }
        }
        for (name, value) in own {
            all.insert(name, value.clone());
        }
        all
    }
}

/// How much depends on it; defaults of later sections follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    Critical,
    Important,
    #[default]
    Standard,
    NonCritical,
    Development,
}

impl Tier {
    pub(crate) const WORDS: &'static [(&'static str, Self)] = &[
        ("critical", Self::Critical),
        ("important", Self::Important),
        ("standard", Self::Standard),
        ("non-critical", Self::NonCritical),
        ("development", Self::Development),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, tier)| *tier == self).map_or("standard", |(word, _)| word)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub title: String,
    pub url: String,
}

/// A command that runs to its end with the service's artifact, bindings, configuration and secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub command: Command,
    pub when: When,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, Template>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default)]
    pub limits: Limits,
    pub stop: Stop,
    /// After this it is stopped and counts as failed.
    pub timeout: base::units::Span,
    /// How often it is tried again after a failure.
    pub retries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Each time a release is delivered, before it takes over; the release fails when it fails.
    BeforeRelease,
    /// Only when somebody asks for it.
    Manual,
    Schedule(Schedule),
}

/// A way in from outside, through the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expose {
    /// Host name, or `*.example.com`; none takes every host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path prefix on segment borders.
    pub path: String,
    /// Name of the port in `run.ports`.
    pub port: String,
    pub strip_prefix: bool,
    /// The longest wait for the response to begin, and between two of its parts.
    pub timeout: base::units::Span,
    /// How often an idempotent request is tried again.
    pub retries: u32,
    pub body_max: base::units::Bytes,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// For `${config.NAME}`, and set in the environment of the service and its jobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Template>,
    /// By path, relative to the replica's root.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, ConfigFile>,
}

impl Config {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.files.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    pub content: Content,
    /// Unix permission bits; in octal in the canonical form.
    #[serde(with = "octal")]
    pub mode: u32,
}

mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(mode: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{mode:04o}"))
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        u32::from_str_radix(&String::deserialize(from)?, 8).map_err(D::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Text with references.
    Template(Template),
    /// Text as it is.
    Literal(String),
    /// A file of the service's folder; with `template`, its references are filled in.
    From { path: String, template: bool },
}

/// A secret that the service gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name in the secret store.
    pub from: String,
    #[serde(rename = "as")]
    pub delivery: SecretDelivery,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretDelivery {
    /// In an environment variable of its name.
    Environment,
    /// In a file under `STEAD_SECRETS_DIR`.
    File { path: String },
    /// Only through `${secrets.NAME}`.
    Template,
}
