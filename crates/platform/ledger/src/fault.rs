//! Why a checkpoint could not be made or read.

use base::{Class, Fault};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the key that signs checkpoints cannot be used: {why}")]
    Key { why: String },
    #[error("the log of checkpoints cannot be used: {why}")]
    Log { why: String },
}

impl From<disk::Error> for Error {
    fn from(fault: disk::Error) -> Self {
        Self::Log { why: fault.to_string() }
    }
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Key { .. } => "ledger.key",
            Self::Log { .. } => "ledger.log",
        }
    }
    fn class(&self) -> Class {
        Class::Unavailable
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Key { .. } => "put the key back from where you keep it, or name another file".into(),
            Self::Log { .. } => "see that the place for checkpoints is there and writable".into(),
        })
    }
}
