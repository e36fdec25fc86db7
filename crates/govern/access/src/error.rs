//! Why access was refused or could not be changed.

use std::time::Duration;

use base::{Class, Fault};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why access was refused or could not be changed. What concerns credentials says as little as
/// helps the honest: whether a link was used, expired or never existed is not told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("nobody is signed in with this credential")]
    Unauthenticated,
    #[error("this sign-in link is not good: it was used, it expired, or it never was")]
    Link,
    #[error("name and password do not match")]
    Password,
    #[error("too many attempts, the next in {} s", retry_after.as_secs().max(1))]
    Throttled { retry_after: Duration },
    #[error("the request does not prove that it comes from Stead's own page")]
    Csrf,
    #[error("the header {header} is not readable")]
    Header { header: &'static str },
    #[error("the current password is needed")]
    CurrentPassword,
    #[error("a password is only for a person who is signed in with a session")]
    NoSession,
    #[error("this is no good password: {why}")]
    WeakPassword { why: &'static str },
    #[error("{what} {given:?} is not known")]
    Unknown { what: &'static str, given: String, known: String },
    #[error("{given:?} is not a name")]
    Name { given: String },
    #[error("the name {name:?} is taken")]
    NameTaken { name: String },
    #[error("{what} {id} does not exist")]
    NotFound { what: &'static str, id: String },
    #[error("{name} is not active")]
    Inactive { name: String },
    #[error("{name} is the last active admin")]
    LastAdmin { name: String },
    #[error("a token may not do more than the one who makes it: {why}")]
    Exceeds { why: String },
    #[error("a token lives from one minute to one year")]
    Lifetime,
    #[error("a token without scopes is good for nothing")]
    NoScopes,
    #[error("{what} are limited to {limit}")]
    Limit { what: &'static str, limit: usize },
    #[error("access was changed by many at once, and this change gave way")]
    Busy,
    #[error("the file of this machine's token cannot be used")]
    KeyFile(#[source] keyfile::Error),
    #[error("access cannot reach its records")]
    State(#[source] state::Error),
    #[error("access failed: {why}")]
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
            Self::Unauthenticated => "access.unauthenticated",
            Self::Link => "access.link",
            Self::Password => "access.password",
            Self::Throttled { .. } => "access.throttled",
            Self::Csrf => "access.csrf",
            Self::Header { .. } => "access.header",
            Self::CurrentPassword => "access.current_password",
            Self::NoSession => "access.no_session",
            Self::WeakPassword { .. } => "access.weak_password",
            Self::Unknown { .. } => "access.unknown",
            Self::Name { .. } => "access.name",
            Self::NameTaken { .. } => "access.name_taken",
            Self::NotFound { .. } => "access.not_found",
            Self::Inactive { .. } => "access.inactive",
            Self::LastAdmin { .. } => "access.last_admin",
            Self::Exceeds { .. } => "access.exceeds",
            Self::Lifetime => "access.lifetime",
            Self::NoScopes => "access.no_scopes",
            Self::Limit { .. } => "access.limit",
            Self::Busy => "access.busy",
            Self::KeyFile(error) => error.code(),
            Self::State(error) => error.code(),
            Self::Internal { .. } => "access.internal",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Unauthenticated | Self::Link | Self::Password => Class::Unauthenticated,
            Self::Csrf | Self::Exceeds { .. } | Self::CurrentPassword | Self::NoSession => Class::Denied,
            Self::Throttled { .. } | Self::Limit { .. } => Class::Limit,
            Self::Header { .. }
            | Self::WeakPassword { .. }
            | Self::Unknown { .. }
            | Self::Name { .. }
            | Self::Lifetime
            | Self::NoScopes => Class::Invalid,
            Self::NotFound { .. } => Class::NotFound,
            Self::NameTaken { .. } | Self::Inactive { .. } | Self::LastAdmin { .. } | Self::Busy => {
                Class::Conflict
            }
            Self::KeyFile(error) => error.class(),
            Self::State(error) => error.class(),
            Self::Internal { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unauthenticated => "sign in, or use a token that is neither expired nor revoked".into(),
            Self::Link => "ask for a new one; the owner gets it with `stead open` on the machine".into(),
            Self::Password => "ask for a sign-in link if the password is lost".into(),
            Self::Csrf => "send the header X-Stead-Csrf that the session was given".into(),
            Self::CurrentPassword => {
                "give the current password, or sign in with a link and change it at once".into()
            }
            Self::NoSession => "sign in with a browser".into(),
            Self::WeakPassword { .. } => "12 to 256 characters, not the name; a few words are good".into(),
            Self::Unknown { known, .. } => format!("one of {known}"),
            Self::Name { .. } => "1 to 64 printable characters".into(),
            Self::LastAdmin { .. } => "make somebody else admin first".into(),
            Self::Inactive { .. } => "activate them first".into(),
            Self::Exceeds { .. } => "ask somebody who may, or leave it out".into(),
            Self::NoScopes => "name at least one".into(),
            Self::Limit { .. } => "revoke or deactivate what is not needed".into(),
            Self::Busy => "try again".into(),
            Self::KeyFile(error) => return error.hint(),
            Self::State(error) => return error.hint(),
            Self::Throttled { .. }
            | Self::Header { .. }
            | Self::NameTaken { .. }
            | Self::NotFound { .. }
            | Self::Lifetime
            | Self::Internal { .. } => return None,
        })
    }
}
