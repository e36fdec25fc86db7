//! What goes wrong when metrics are written or read.

use std::time::Duration;

use base::{Class, Fault};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{value:?} is not a regular expression: {why}")]
    Regex { value: String, why: String },
    /// A named bound was reached; the query ends, ingest goes on.
    #[error("more than {limit} {what}")]
    Limit { what: &'static str, limit: u64 },
    #[error("the query took longer than {after:?}")]
    Timeout { after: Duration },
    #[error("the query was given up")]
    Cancelled,
    /// Nothing can be taken in just now.
    #[error("samples cannot be taken in: {why}")]
    Unavailable { why: String },
    /// Stored data that does not read back. What is touched is named; the rest is served.
    #[error("stored metrics are damaged at {place}: {why}")]
    Damaged { place: String, why: String },
    #[error("storage failed at {place}")]
    Storage {
        place: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn regex(value: &str, why: &regex::Error) -> Self {
        let why = match why {
            regex::Error::CompiledTooBig(limit) => {
                format!("this regular expression compiles to over {limit} bytes")
            }
            other => {
                other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
        };
        Self::Regex { value: value.to_owned(), why }
    }
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Regex { .. } => "metrics.regex",
            Self::Limit { .. } => "metrics.limit",
            Self::Timeout { .. } => "metrics.timeout",
            Self::Cancelled => "metrics.cancelled",
            Self::Unavailable { .. } => "metrics.unavailable",
            Self::Damaged { .. } => "metrics.damaged",
            Self::Storage { .. } => "metrics.storage",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Regex { .. } => Class::Invalid,
            Self::Limit { .. } => Class::Limit,
            Self::Timeout { .. } | Self::Cancelled => Class::Timeout,
            Self::Unavailable { .. } => Class::Unavailable,
            Self::Damaged { .. } | Self::Storage { .. } => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Limit { .. } => Some("select fewer series or a shorter time, or raise the limit".into()),
            Self::Timeout { .. } => Some("ask for a shorter time or fewer series".into()),
            Self::Unavailable { .. } => Some("send the same samples again later".into()),
            _ => None,
        }
    }
}
