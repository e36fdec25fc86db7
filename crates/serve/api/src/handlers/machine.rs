//! The installation: health, what the machine lacks, backup, stop, upgrade.

use api_types::{BackupFile, Info, ShutDown, Upgrade};
use axum::{extract::State, http::StatusCode};

use super::In;
use crate::{Ports, extract::Json, gate::Caller, problem::Answer};

/// The process answers.
#[utoipa::path(get, path = "/api/stead/v1/health", responses((status = 200, body = String)))]
pub(crate) async fn health() -> &'static str {
    "ok"
}

/// It has looked at everything once and can be asked.
#[utoipa::path(get, path = "/api/stead/v1/ready", responses((status = 200, body = String), (status = 503, body = String)))]
pub(crate) async fn ready(State(ports): State<Ports>) -> (StatusCode, &'static str) {
    if *ports.world.borrow() > 0 {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    }
}

#[utoipa::path(get, path = "/api/stead/v1/info", params(In), responses((status = 200, body = Info)))]
pub(crate) async fn info(State(ports): State<Ports>, _: Caller) -> Json<Info> {
    Json(ports.machine.info().await)
}

#[utoipa::path(post, path = "/api/stead/v1/machine/backup", params(In), responses((status = 200, body = BackupFile)))]
pub(crate) async fn backup(State(ports): State<Ports>, _: Caller) -> Answer<Json<BackupFile>> {
    let path = ports.machine.backup().await?;
    Ok(Json(BackupFile { path: path.display().to_string() }))
}

#[utoipa::path(post, path = "/api/stead/v1/machine/shutdown", params(In), request_body = ShutDown, responses((status = 202)))]
pub(crate) async fn shutdown(
    State(ports): State<Ports>,
    _: Caller,
    Json(wish): Json<ShutDown>,
) -> Answer<StatusCode> {
    ports.machine.shut_down(wish.everything).await?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(post, path = "/api/stead/v1/machine/upgrade", params(In), request_body = Upgrade, responses((status = 202)))]
pub(crate) async fn upgrade(
    State(ports): State<Ports>,
    _: Caller,
    Json(wish): Json<Upgrade>,
) -> Answer<StatusCode> {
    ports.machine.upgrade(wish.path.into()).await?;
    Ok(StatusCode::ACCEPTED)
}
