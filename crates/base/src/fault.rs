//! Faults: every error that crosses a crate boundary says its code, its class and what to do.

use std::error::Error;

use serde::{Deserialize, Serialize};

/// What kind of failure it is. One table maps it to an HTTP status and an exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The caller's input is wrong.
    Invalid,
    /// Nobody is signed in, or the credential is not good.
    Unauthenticated,
    /// The actor may not do this.
    Denied,
    /// The thing does not exist.
    NotFound,
    /// The thing changed meanwhile, or exists already.
    Conflict,
    /// A named limit is reached.
    Limit,
    /// It would work on another machine or later; something is missing or down.
    Unavailable,
    /// It took longer than its deadline.
    Timeout,
    /// Stead's own fault.
    Internal,
}

impl Class {
    /// HTTP status of this class (RFC 9110).
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 422,
            Self::Unauthenticated => 401,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Limit => 429,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::Internal => 500,
        }
    }

    /// Exit status of the command line for this class.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Invalid => 2,
            Self::Unauthenticated | Self::Denied => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Limit => 6,
            Self::Unavailable | Self::Timeout => 7,
            Self::Internal => 1,
        }
    }
}

/// An error that crosses a crate boundary.
///
/// Messages are lowercase, without a full stop, and never repeat their source.
pub trait Fault: Error {
    /// A stable code, `domain.what`, such as `state.conflict`.
    fn code(&self) -> &'static str;
    /// The class, which decides HTTP status and exit status.
    fn class(&self) -> Class;
    /// What the reader can do about it.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// A fault as it goes over the wire: problem+json (RFC 9457) with `code`, `message` and `hint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub code: String,
    pub class: Class,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem said in place, where a crate needs no enum of its own.
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), class, message: message.into(), hint: None }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The whole chain of `fault` in one message, parts joined by `: `.
    #[must_use]
    pub fn from_fault(fault: &(impl Fault + ?Sized)) -> Self {
        let mut message = fault.to_string();
        let mut source = fault.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { code: fault.code().to_owned(), class: fault.class(), message, hint: fault.hint() }
    }
}
