//! The handlers: extract, one call, map.

pub(crate) mod events;
pub(crate) mod logs;
pub(crate) mod machine;
pub(crate) mod people;
pub(crate) mod plans;
pub(crate) mod secrets;
pub(crate) mod services;
pub(crate) mod session;
pub(crate) mod stream;

use axum::http::{Method, StatusCode, Uri};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::Refused;

/// What no route serves.
pub(crate) async fn nothing(method: Method, uri: Uri) -> Refused {
    Refused {
        status: StatusCode::NOT_FOUND,
        code: "api.no_route",
        message: format!("there is no {method} {}", uri.path()),
        hint: Some("`docs/reference/openapi.json` has all routes of this version"),
    }
}

/// Every scoped route takes the environment in its query.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)] // read by the gate
pub(crate) struct In {
    /// Environment; `default` unless told.
    pub environment: Option<String>,
}
