//! Why a secret could not be read or changed.

use base::{Class, Fault};

use crate::SecretName;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a secret could not be read or changed. No message ever holds a value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{given} is not a name for a secret")]
    Name { given: String },
    #[error("a secret cannot be empty")]
    Empty,
    #[error("the name {name} is the platform's own")]
    Reserved { name: SecretName },
    #[error("the reason given contains the secret itself")]
    WhyTells,
    #[error("secret {name} does not exist in {scope}")]
    NotFound { name: SecretName, scope: String },
    #[error("version {version} of secret {name} is not kept any more")]
    NoVersion { name: SecretName, version: u64 },
    #[error("the release pins version {pinned} of secret {name} already")]
    PinnedOther { name: SecretName, pinned: u64 },
    #[error("{what} are limited to {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("{given} is not a length for a made-up credential")]
    Length { given: usize },
    #[error("secret {name} was changed by many at once, and this change gave way")]
    Busy { name: String },
    #[error(
        "version {version} of secret {name} cannot be opened: its record was changed or belongs elsewhere"
    )]
    Tampered { name: SecretName, version: u64 },
    #[error("the data keys of tenant {tenant} are sealed under root key {sealed_under}, not under {have}")]
    WrongRoot { tenant: String, sealed_under: String, have: String },
    #[error(
        "the data keys of tenant {tenant} cannot be opened: their record was changed or belongs elsewhere"
    )]
    KeysTampered { tenant: String },
    #[error("the root key {path} is missing, but there are secrets sealed under it")]
    RootMissing { path: String },
    #[error("the root key {path} is not usable: {why}")]
    RootDamaged { path: String, why: String },
    #[error("that is not the passphrase of the root key {path}")]
    WrongPassphrase { path: String },
    #[error("the root key {path} is locked with a passphrase")]
    PassphraseNeeded { path: String },
    #[error("the root key {path} is not locked with a passphrase, but one was given")]
    NotLocked { path: String },
    #[error("the passphrase is too short")]
    PassphraseShort,
    #[error("the root key cannot be used")]
    KeyFile(#[source] keyfile::Error),
    #[error("secrets cannot reach their records")]
    State(#[source] state::Error),
    #[error("secrets failed: {why}")]
    Internal { why: String },
}

impl From<state::Error> for Error {
    fn from(error: state::Error) -> Self {
        Self::State(error)
    }
}
impl From<keyfile::Error> for Error {
    fn from(error: keyfile::Error) -> Self {
        Self::KeyFile(error)
    }
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "secrets.name",
            Self::Empty => "secrets.empty",
            Self::Reserved { .. } => "secrets.reserved",
            Self::WhyTells => "secrets.why_tells",
            Self::NotFound { .. } => "secrets.not_found",
            Self::NoVersion { .. } => "secrets.no_version",
            Self::PinnedOther { .. } => "secrets.pinned_other",
            Self::Limit { .. } => "secrets.limit",
            Self::Length { .. } => "secrets.length",
            Self::Busy { .. } => "secrets.busy",
            Self::Tampered { .. } => "secrets.tampered",
            Self::WrongRoot { .. } => "secrets.wrong_root",
            Self::KeysTampered { .. } => "secrets.keys_tampered",
            Self::RootMissing { .. } => "secrets.root_missing",
            Self::RootDamaged { .. } => "secrets.root_damaged",
            Self::WrongPassphrase { .. } => "secrets.wrong_passphrase",
            Self::PassphraseNeeded { .. } => "secrets.passphrase_needed",
            Self::NotLocked { .. } => "secrets.not_locked",
            Self::PassphraseShort => "secrets.passphrase_short",
            Self::KeyFile(error) => error.code(),
            Self::State(error) => error.code(),
            Self::Internal { .. } => "secrets.internal",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Name { .. }
            | Self::Empty
            | Self::Reserved { .. }
            | Self::WhyTells
            | Self::Length { .. } => Class::Invalid,
            Self::NotFound { .. } | Self::NoVersion { .. } => Class::NotFound,
            Self::Limit { .. } => Class::Limit,
            Self::Busy { .. } | Self::PinnedOther { .. } => Class::Conflict,
            Self::WrongPassphrase { .. }
            | Self::PassphraseNeeded { .. }
            | Self::NotLocked { .. }
            | Self::PassphraseShort => Class::Invalid,
            Self::WrongRoot { .. } | Self::RootMissing { .. } | Self::RootDamaged { .. } => {
                Class::Unavailable
            }
            Self::Tampered { .. } | Self::KeysTampered { .. } | Self::Internal { .. } => Class::Internal,
            Self::KeyFile(error) => error.class(),
            Self::State(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => {
                "letters, digits, `_`, `-` and `.`, at most 160, starting with a letter, a digit or `_`, without `..`"
                    .into()
            }
            Self::Reserved { .. } => "choose a name that does not start with `stead.`".into(),
            Self::WhyTells => "reasons stand on the ledger for all to read: say it without the value".into(),
            Self::NotFound { name, .. } => format!("`stead secret set {name}`"),
            Self::NoVersion { .. } => "plan again, so that the newest version is used".into(),
            Self::Limit { .. } => "remove what is not needed with `stead secret remove NAME`".into(),
            Self::PinnedOther { .. } => "make a new release".into(),
            Self::Length { .. } => "16 to 1024".into(),
            Self::Busy { .. } => "try again".into(),
            Self::Tampered { name, .. } => format!(
                "set the value again with `stead secret set {name}`, and find out who can write the state file"
            ),
            Self::KeysTampered { .. } => "restore the latest backup with `stead restore FILE`".into(),
            Self::WrongRoot { .. } => {
                "put back the root key that belongs to this data directory, from where you keep it".into()
            }
            Self::RootMissing { path } => {
                format!("put {path} back from where you keep it; without it the secrets cannot be read")
            }
            Self::RootDamaged { path, .. } => format!("put {path} back from where you keep it"),
            Self::WrongPassphrase { .. } => "give the passphrase it was locked with".into(),
            Self::PassphraseNeeded { .. } => "name the file that holds it in STEAD_PASSPHRASE_FILE".into(),
            Self::NotLocked { .. } => {
                "start without the passphrase, then lock it by rotating the root key".into()
            }
            Self::PassphraseShort => "at least 12 characters".into(),
            Self::KeyFile(error) => return error.hint(),
            Self::State(error) => return error.hint(),
            Self::Empty | Self::Internal { .. } => return None,
        })
    }
}
