//! Extractors whose refusals are problems as all other answers are, not text of the framework.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::problem::Refused;

/// A JSON body, of a request or an answer.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

/// Parts of the path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub T);

/// The query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub T);

fn refused(status: StatusCode, code: &'static str, message: String) -> Refused {
    let hint = match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Some("send it with `Content-Type: application/json`"),
        StatusCode::PAYLOAD_TOO_LARGE => Some("the route has a limit for its body"),
        _ => None,
    };
    Refused { status, code, message, hint }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let found = axum::Json::<T>::from_request(request, state).await;
        found
            .map(|axum::Json(body)| Self(body))
            .map_err(|error| refused(error.status(), "api.body", error.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let found = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        found
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|error| refused(error.status(), "api.path", error.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let found = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        found
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| refused(error.status(), "api.query", error.body_text()))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}
