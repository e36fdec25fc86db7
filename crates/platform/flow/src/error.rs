//! Why the engine refuses or fails.

use base::{Class, Fault, id::FlowId};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("workflow {flow:?} is wrong: {why}")]
    Invalid { flow: String, why: String },
    #[error("step {step:?} calls handler {handler:?} version {version}, which this Stead does not have")]
    UnknownHandler { step: String, handler: String, version: u32 },
    #[error("{what} is over the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
    #[error("key {key:?} was used for another workflow ({flow})")]
    KeyReused { key: String, flow: FlowId },
    #[error("there is no flow {flow}")]
    NotFound { flow: FlowId },
    #[error("flow {flow} has no step {step:?}")]
    NoStep { flow: FlowId, step: String },
    #[error("flow {flow} has ended")]
    Ended { flow: FlowId },
    #[error("step {step:?} does not wait for an answer")]
    NotAsking { step: String },
    #[error("{choice:?} is no choice of step {step:?}")]
    NoChoice { step: String, choice: String, choices: Vec<String> },
    #[error("the schedule {name:?} is wrong: {why}")]
    Schedule { name: String, why: String },
    #[error("there is no schedule {name:?}")]
    NoSchedule { name: String },
    #[error("this engine does not lead: another one holds the lease, or none does yet")]
    NotLeading,
    #[error("flow records of {what} cannot be read: {why}")]
    Unreadable { what: String, why: String },
    #[error("workflow journal")]
    State(#[from] state::Error),
    #[error("workflow task")]
    Tasks(#[from] tasks::Error),
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "flow.invalid",
            Self::UnknownHandler { .. } => "flow.unknown_handler",
            Self::Limit { .. } => "flow.limit",
            Self::KeyReused { .. } => "flow.key_reused",
            Self::NotFound { .. } => "flow.not_found",
            Self::NoStep { .. } => "flow.no_step",
            Self::Ended { .. } => "flow.ended",
            Self::NotAsking { .. } => "flow.not_asking",
            Self::NoChoice { .. } => "flow.no_choice",
            Self::Schedule { .. } => "flow.schedule",
            Self::NoSchedule { .. } => "flow.no_schedule",
            Self::NotLeading => "flow.not_leading",
            Self::Unreadable { .. } => "flow.unreadable",
            Self::State(source) => source.code(),
            Self::Tasks(source) => source.code(),
        }
    }
    fn class(&self) -> Class {
        match self {
            Self::Invalid { .. }
            | Self::UnknownHandler { .. }
            | Self::NoChoice { .. }
            | Self::Schedule { .. } => Class::Invalid,
            Self::Limit { .. } => Class::Limit,
            Self::KeyReused { .. } | Self::Ended { .. } | Self::NotAsking { .. } => Class::Conflict,
            Self::NotFound { .. } | Self::NoStep { .. } | Self::NoSchedule { .. } => Class::NotFound,
            Self::NotLeading => Class::Unavailable,
            Self::Unreadable { .. } => Class::Internal,
            Self::State(source) => source.class(),
            Self::Tasks(source) => source.class(),
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoChoice { choices, .. } => Some(format!("choose one of: {}", choices.join(", "))),
            Self::NotLeading => Some("ask again in a few seconds".into()),
            Self::Limit { .. } => Some("wait for running workflows to end, or split this one".into()),
            Self::Unreadable { .. } => Some("it was left as it is; a newer Stead may have written it".into()),
            Self::State(source) => source.hint(),
            Self::Tasks(source) => source.hint(),
            _ => None,
        }
    }
}
