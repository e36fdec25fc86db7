//! The receiver of Prometheus' remote write 1.0.
//!
//! [`decode`] makes a batch of a request's body without allocating per series; [`Receiver`] is the
//! HTTP service around it, to be mounted behind something that puts a [`base::Ctx`] or
//! [`base::Scope`] into the request's extensions, and a [`Stamp`] where the sender is a workload.
//!
//! Answers: 204 when all was taken; 400 when something was refused that would be refused again (the
//! rest is kept); 413 and 415 for what is too large or of another kind, remote write 2.0 among it;
//! 429 and 503 with `Retry-After` when the same request may be sent again.
//!
//! Source: prometheus.io/docs/specs/prw/remote_write_spec, `prompb/types.proto`.

mod decode;
mod service;

pub use self::{
    decode::{Decoded, Stamp, decode},
    service::{Answer, Receiver},
};

/// Bytes of a request as it is sent.
pub const BODY_BYTES_MAX: usize = 32 << 20;
/// Bytes of a request after decompression.
pub const DECODED_BYTES_MAX: usize = 128 << 20;
/// Series of one request.
pub const SERIES_MAX: usize = 500_000;
/// Samples, histograms and exemplars of one request.
pub const SAMPLES_MAX: usize = 2_000_000;
/// Entries of metadata in one request; further ones are dropped and counted.
pub const METADATA_MAX: usize = 100_000;
/// Buckets of one histogram.
pub const BUCKETS_MAX: usize = 65_536;
/// Requests that are read and written at once; more are told to come again.
pub const IN_FLIGHT_MAX: usize = 16;

/// Why a request is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the content type {given:?} is not application/x-protobuf")]
    ContentType { given: String },
    #[error("the message {given:?} is not prometheus.WriteRequest: remote write 1.0 is spoken here")]
    Message { given: String },
    #[error("the content encoding {given:?} is not snappy")]
    Encoding { given: String },
    #[error("the body is not snappy in block format")]
    Snappy,
    #[error("the body is no WriteRequest: {0}")]
    Wire(#[from] crate::wire::WireError),
    #[error("the request has more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
}

impl base::Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::ContentType { .. } => "remote_write.content_type",
            Self::Message { .. } => "remote_write.message",
            Self::Encoding { .. } => "remote_write.encoding",
            Self::Snappy => "remote_write.snappy",
            Self::Wire(_) => "remote_write.wire",
            Self::TooMany { .. } => "remote_write.too_many",
        }
    }
    fn class(&self) -> base::Class {
        base::Class::Invalid
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Message { .. } => Some(
                "leave protobuf_message out of remote_write, or set it to prometheus.WriteRequest".into(),
            ),
            Self::TooMany { .. } => Some("lower max_samples_per_send in queue_config".into()),
            _ => None,
        }
    }
}

impl Error {
    /// The status that Prometheus' own receiver gives.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::ContentType { .. } | Self::Message { .. } | Self::Encoding { .. } => {
                http::StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::TooMany { .. } => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Snappy | Self::Wire(_) => http::StatusCode::BAD_REQUEST,
        }
    }
}
