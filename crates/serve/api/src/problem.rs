//! Errors as they go over the wire.

use api_types::Problem as Wire;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Class, Fault, Problem};

/// What a handler fails with.
#[derive(Debug)]
pub struct Failure(pub Problem);

pub type Answer<T> = Result<T, Failure>;

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl Failure {
    pub(crate) fn of(fault: &impl Fault) -> Self {
        Self(Problem::from_fault(fault))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self(Problem::new(Class::Invalid, "api.invalid", message))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.0.class.http_status();
        let masked = self.0.class == Class::Internal;
        if masked {
            tracing::error!(code = self.0.code, message = self.0.message, "request failed");
        }
        let wire = Wire { code: self.0.code, status, message: self.0.message, hint: self.0.hint };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(wire)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"stead\""));
        }
        response
    }
}
