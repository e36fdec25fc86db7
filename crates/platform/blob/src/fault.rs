//! Why content could not be kept or given.

use base::{Class, Fault};

use crate::Digest;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("blob {digest} is not there")]
    Missing { digest: Digest },
    #[error("blob {digest} is damaged: its content is another")]
    Damaged { digest: Digest },
    #[error("{what}")]
    Invalid { what: String },
    #[error("{what} is over the limit of {limit}")]
    Limit { what: String, limit: u64 },
    #[error("content is in use: {why}")]
    Busy { why: &'static str },
    #[error("content could not be read: {why}")]
    Source { why: String },
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "blob.missing",
            Self::Damaged { .. } => "blob.damaged",
            Self::Invalid { .. } => "blob.invalid",
            Self::Limit { .. } => "blob.limit",
            Self::Busy { .. } => "blob.busy",
            Self::Source { .. } => "blob.source",
            Self::Disk(fault) => fault.code(),
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::Missing { .. } => Class::NotFound,
            Self::Damaged { .. } => Class::Internal,
            Self::Invalid { .. } | Self::Source { .. } => Class::Invalid,
            Self::Limit { .. } => Class::Limit,
            Self::Busy { .. } => Class::Unavailable,
            Self::Disk(fault) => fault.class(),
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("upload it first".into()),
            Self::Damaged { .. } => Some("upload it again: what is there is replaced".into()),
            Self::Limit { .. } => Some("name what need not be shipped in .steadignore".into()),
            Self::Busy { .. } => Some("try again shortly".into()),
            Self::Disk(fault) => fault.hint(),
            Self::Invalid { .. } | Self::Source { .. } => None,
        }
    }
}
