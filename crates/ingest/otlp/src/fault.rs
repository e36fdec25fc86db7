//! Why a request was not taken.

use base::{Class, Fault};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the request is no metrics export: {why}")]
    Malformed { why: String },
    #[error("the request is larger than {limit} bytes {what}")]
    TooLarge { what: &'static str, limit: usize },
    #[error("the content type {sent:?} is not taken")]
    ContentType { sent: String },
    #[error("the content encoding {sent:?} is not taken")]
    Encoding { sent: String },
    #[error("{signal} are not available yet")]
    NotYet { signal: &'static str },
    #[error("it is not known who sends this")]
    NoSender,
    #[error("as many requests as may be are under way")]
    Busy,
    #[error("samples cannot be taken in: {why}")]
    Unavailable { why: String },
    #[error("the request took longer than {after_ms} ms")]
    Timeout { after_ms: u64 },
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "otlp.malformed",
            Self::TooLarge { .. } => "otlp.too_large",
            Self::ContentType { .. } => "otlp.content_type",
            Self::Encoding { .. } => "otlp.encoding",
            Self::NotYet { .. } => "otlp.not_yet",
            Self::NoSender => "otlp.no_sender",
            Self::Busy => "otlp.busy",
            Self::Unavailable { .. } => "otlp.unavailable",
            Self::Timeout { .. } => "otlp.timeout",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Malformed { .. } | Self::ContentType { .. } | Self::Encoding { .. } => Class::Invalid,
            Self::TooLarge { .. } | Self::Busy => Class::Limit,
            Self::NoSender => Class::Unauthenticated,
            Self::NotYet { .. } | Self::Unavailable { .. } => Class::Unavailable,
            Self::Timeout { .. } => Class::Timeout,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TooLarge { .. } => "send smaller batches",
            Self::ContentType { .. } => "send application/x-protobuf or application/json",
            Self::Encoding { .. } => "send gzip, deflate, zstd or plain",
            Self::NotYet { .. } => "export metrics only",
            Self::Busy | Self::Unavailable { .. } | Self::Timeout { .. } => "send the same again later",
            Self::Malformed { .. } | Self::NoSender => return None,
        };
        Some(hint.into())
    }
}

impl Error {
    /// As the OTLP specification asks: 429 and 503 may be sent again, all else not.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Malformed { .. } => 400,
            Self::NoSender => 401,
            Self::TooLarge { .. } => 413,
            Self::ContentType { .. } | Self::Encoding { .. } => 415,
            Self::Busy => 429,
            Self::NotYet { .. } => 501,
            Self::Unavailable { .. } | Self::Timeout { .. } => 503,
        }
    }

    /// The code of gRPC for it; only `UNAVAILABLE` may be sent again.
    #[must_use]
    pub fn grpc_status(&self) -> u32 {
        match self {
            Self::Malformed { .. } | Self::ContentType { .. } => 3,
            Self::Timeout { .. } => 4,
            Self::TooLarge { .. } => 8,
            Self::Encoding { .. } | Self::NotYet { .. } => 12,
            Self::Busy | Self::Unavailable { .. } => 14,
            Self::NoSender => 16,
        }
    }

    /// Whether it is worth sending again, after [`crate::RETRY_AFTER_SECONDS`].
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable { .. } | Self::Timeout { .. })
    }
}
