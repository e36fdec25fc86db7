//! The envelope of every answer: `{"status":…,"data":…,"warnings":…}`, and errors with the status
//! codes of Prometheus.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Class, Fault};
use serde::Serialize;

/// Names Prometheus gives to kinds of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorType {
    BadData,
    Execution,
    Timeout,
    Canceled,
    Unavailable,
    Internal,
}

impl ErrorType {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What a request fails with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorType,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
    pub(crate) fn bad_data(message: String) -> Self {
        Self::new(ErrorType::BadData, message)
    }
    pub(crate) fn parameter(name: &str, why: &str) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {why}"))
    }
    pub(crate) fn internal(message: &str) -> Self {
        Self::new(ErrorType::Internal, message)
    }
}

impl From<metrics_api::Error> for Failure {
    fn from(error: metrics_api::Error) -> Self {
        let kind = match &error {
            metrics_api::Error::Regex { .. } => ErrorType::BadData,
            metrics_api::Error::Limit { .. } => ErrorType::Execution,
            metrics_api::Error::Timeout { .. } => ErrorType::Timeout,
            metrics_api::Error::Cancelled => ErrorType::Canceled,
            metrics_api::Error::Unavailable { .. } => ErrorType::Unavailable,
            metrics_api::Error::Damaged { .. } | metrics_api::Error::Storage { .. } => ErrorType::Internal,
        };
        let message = match error.hint() {
            Some(hint) if error.class() == Class::Limit => format!("{error}: {hint}"),
            _ => error.to_string(),
        };
        Self { kind, message }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            status: &'a str,
            error_type: &'a str,
            error: &'a str,
        }
        if self.kind == ErrorType::Internal {
            tracing::error!(message = self.message, "a query of metrics failed");
        }
        let wire = Wire { status: "error", error_type: self.kind.as_str(), error: &self.message };
        json(self.kind.status(), serde_json::to_vec(&wire).unwrap_or_default())
    }
}

pub(crate) type Answer = Result<Response, Failure>;

pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// A success whose data can be serialised.
pub(crate) fn success(data: &impl Serialize) -> Answer {
    said(data, &[], &[])
}

/// A success with warnings and notes beside the data.
pub(crate) fn said(data: &impl Serialize, warnings: &[String], infos: &[String]) -> Answer {
    let data = serde_json::to_vec(data).map_err(|error| Failure::internal(&error.to_string()))?;
    Ok(enveloped(&data, warnings, infos))
}

/// A success whose data is JSON already.
pub(crate) fn enveloped(data: &[u8], warnings: &[String], infos: &[String]) -> Response {
    let mut body = Vec::with_capacity(data.len() + 64);
    body.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    body.extend_from_slice(data);
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            body.extend_from_slice(format!(",\"{name}\":").as_bytes());
            body.extend_from_slice(&serde_json::to_vec(texts).unwrap_or_default());
        }
    }
    body.push(b'}');
    json(StatusCode::OK, body)
}
