//! Errors as they go over the wire.

use api_types::Problem as Wire;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Class, Fault, Problem};

tokio::task_local! {
    /// The correlation of the request that is being answered.
    pub(crate) static CORRELATION: String;
}

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
        let told = if self.0.class == Class::Internal { masked(self.0) } else { self.0 };
        let wire = Wire { code: told.code, status, message: told.message, hint: told.hint };
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

/// A request that no handler saw: its form is wrong, and its status says how.
#[derive(Debug)]
pub struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let wire = Wire {
            code: self.code.into(),
            status: self.status.as_u16(),
            message: self.message,
            hint: self.hint.map(str::to_owned),
        };
        let mut response = (self.status, Json(wire)).into_response();
        let form = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, form);
        response
    }
}

/// What went wrong within Stead stays in its log: paths and texts of other parts are nobody's business
/// outside. The answer says under which id it stands there.
fn masked(problem: Problem) -> Problem {
    let id = CORRELATION.try_with(Clone::clone).unwrap_or_default();
    tracing::error!(correlation = id, code = problem.code, message = problem.message, "request failed");
    let place = format!("the server's log says more, under {id}");
    let hint = match problem.hint {
        Some(hint) => format!("{hint}; {place}"),
        None => place,
    };
    Problem::new(Class::Internal, problem.code, "internal error").with_hint(hint)
}
