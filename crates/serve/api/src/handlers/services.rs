//! Services: what they are, and what may be asked of them.

use std::time::Duration;

use api_types::{Exec, ExecOutcome, ScaleTo, Why};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Class, Fault, Problem, id::ReplicaId};
use delivery_api::{Map, ReplicaState, Series, Service, ServiceDetail, port::Command};
use runtime_api::{ExecOutcome as Outcome, ExecRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use super::In;
use crate::{
    Ports,
    extract::{Json, Path, Query},
    gate::Caller,
    problem::{Answer, Failure},
};

#[utoipa::path(get, path = "/api/stead/v1/services", params(In), responses((status = 200, body = Vec<Service>)))]
pub(crate) async fn list(State(ports): State<Ports>, caller: Caller) -> Answer<Json<Vec<Service>>> {
    Ok(Json(ports.delivery.services(caller.ctx.scope).await?))
}

#[utoipa::path(get, path = "/api/stead/v1/services/{name}", params(("name" = String, Path), In), responses((status = 200, body = ServiceDetail)))]
pub(crate) async fn show(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<Response> {
    let detail = ports.delivery.service(caller.ctx.scope, name).await?;
    let tag = format!("\"{}\"", detail.generation);
    Ok(([(header::ETAG, tag)], Json(detail)).into_response())
}

#[utoipa::path(get, path = "/api/stead/v1/map", params(In), responses((status = 200, body = Map)))]
pub(crate) async fn map(State(ports): State<Ports>, caller: Caller) -> Answer<Json<Map>> {
    Ok(Json(ports.delivery.map(caller.ctx.scope).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Last {
    /// How far back, 10 to 900; 900 unless told.
    seconds: Option<u32>,
}

#[utoipa::path(get, path = "/api/stead/v1/services/{name}/traffic", params(("name" = String, Path), Last, In), responses((status = 200, body = Series)))]
pub(crate) async fn traffic(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
    Query(last): Query<Last>,
) -> Answer<Json<Series>> {
    Ok(Json(ports.delivery.traffic(caller.ctx.scope, name, last.seconds.unwrap_or(900)).await?))
}

#[utoipa::path(post, path = "/api/stead/v1/services/{name}/restart", params(("name" = String, Path), In), request_body = Why, responses((status = 202)))]
pub(crate) async fn restart(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(why): Json<Why>,
) -> Answer<StatusCode> {
    if_match(&ports, &caller, &name, &headers).await?;
    ports.delivery.command(caller.ctx, name, Command::Restart { why: why.why }).await?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(post, path = "/api/stead/v1/services/{name}/scale", params(("name" = String, Path), In), request_body = ScaleTo, responses((status = 202)))]
pub(crate) async fn scale(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(to): Json<ScaleTo>,
) -> Answer<StatusCode> {
    if_match(&ports, &caller, &name, &headers).await?;
    ports.delivery.command(caller.ctx, name, Command::Scale { replicas: to.replicas, why: to.why }).await?;
    Ok(StatusCode::ACCEPTED)
}

#[utoipa::path(post, path = "/api/stead/v1/services/{name}/jobs/{job}/run", params(("name" = String, Path), ("job" = String, Path), In), request_body = Why, responses((status = 202)))]
pub(crate) async fn run_job(
    State(ports): State<Ports>,
    caller: Caller,
    Path((name, job)): Path<(String, String)>,
    Json(_): Json<Why>,
) -> Answer<StatusCode> {
    ports.delivery.command(caller.ctx, name, Command::RunJob { job }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Longest that a command may take.
const EXEC_SECONDS_MAX: u32 = 600;

#[utoipa::path(post, path = "/api/stead/v1/services/{name}/exec", params(("name" = String, Path), In), request_body = Exec, responses((status = 200, body = ExecOutcome)))]
pub(crate) async fn exec(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
    Json(wish): Json<Exec>,
) -> Answer<Json<ExecOutcome>> {
    if wish.command.is_empty() {
        return Err(Failure::invalid("the command is empty"));
    }
    let replica = choose(&ports, &caller, &name, wish.replica.as_deref()).await?;
    let seconds = wish.timeout_seconds.unwrap_or(60).clamp(1, EXEC_SECONDS_MAX);
    let request = ExecRequest {
        replica: replica.clone(),
        command: wish.command.clone(),
        deadline: Duration::from_secs(seconds.into()),
    };
    let intent = note_exec(&ports, &caller, &name, &replica, &wish).await?;
    let outcome = ports.driver.exec(request).await;
    note_end(&ports, intent, &outcome).await;
    let outcome = outcome.map_err(|error| Failure::of(&error))?;
    Ok(Json(ExecOutcome {
        code: outcome.code,
        signal: outcome.signal,
        stdout: outcome.stdout,
        stderr: outcome.stderr,
    }))
}

/// A command beside a replica can read its secrets, so it stands on the ledger before it runs, or it
/// does not run (program only: the arguments may hold secrets).
async fn note_exec(
    ports: &Ports,
    caller: &Caller,
    name: &str,
    replica: &ReplicaId,
    wish: &Exec,
) -> Answer<ledger::Draft> {
    let program = wish.command.first().cloned().unwrap_or_default();
    let entry = ledger::Draft {
        id: base::id::EventId::new(),
        tenant: caller.ctx.scope.tenant.clone(),
        environment: caller.ctx.scope.environment.clone(),
        kind: "stead.replica.exec.v1".into(),
        subject: format!("service/{name}"),
        actor: caller.ctx.actor.clone(),
        cause: caller.ctx.cause.clone(),
        why: format!("runs `{program}` beside a replica of `{name}`"),
        body: serde_json::json!({"replica": replica, "program": program}),
    };
    let commit = state::Commit { entries: vec![entry.clone()], ..state::Commit::default() };
    ports.state.commit(commit).await.map_err(|error| Failure::of(&error))?;
    Ok(entry)
}

/// How it ended. That this cannot be written takes nothing back, so the answer is given all the same.
async fn note_end(ports: &Ports, intent: ledger::Draft, outcome: &runtime_api::Result<Outcome>) {
    let (why, code, signal) = match outcome {
        Ok(outcome) => ("the command ended".to_owned(), outcome.code, outcome.signal),
        Err(error) => (format!("the command did not end well: {}", error.code()), None, None),
    };
    let entry = ledger::Draft {
        id: base::id::EventId::new(),
        kind: "stead.replica.exec-ended.v1".into(),
        cause: base::Cause { causation: Some(intent.id), ..intent.cause },
        why,
        body: serde_json::json!({"code": code, "signal": signal}),
        ..intent
    };
    let commit = state::Commit { entries: vec![entry], ..state::Commit::default() };
    if let Err(error) = ports.state.commit(commit).await {
        tracing::warn!(%error, "the end of a command is not on the ledger");
    }
}

/// The replica that was asked for, else a ready one.
pub(crate) async fn choose(
    ports: &Ports,
    caller: &Caller,
    name: &str,
    wanted: Option<&str>,
) -> Answer<ReplicaId> {
    let detail = ports.delivery.service(caller.ctx.scope.clone(), name.to_owned()).await?;
    let found = match wanted {
        Some(wanted) => detail.replicas.iter().find(|replica| replica.id.ends_with(wanted)),
        None => detail
            .replicas
            .iter()
            .find(|replica| replica.state == ReplicaState::Ready)
            .or_else(|| detail.replicas.iter().find(|replica| replica.pid.is_some())),
    };
    let found = found.ok_or_else(|| {
        Failure(Problem::new(
            Class::NotFound,
            "api.no_replica",
            match wanted {
                Some(wanted) => format!("`{name}` has no replica `{wanted}`"),
                None => format!("`{name}` has no running replica"),
            },
        ))
    })?;
    ReplicaId::parse(&found.id).map_err(|error| Failure::invalid(error.to_string()))
}

/// Refuses when the service has changed since the caller saw it.
async fn if_match(ports: &Ports, caller: &Caller, name: &str, headers: &HeaderMap) -> Answer<()> {
    let Some(wanted) = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    let detail = ports.delivery.service(caller.ctx.scope.clone(), name.to_owned()).await?;
    if wanted == "*" || wanted.trim_matches('"') == detail.generation.to_string() {
        return Ok(());
    }
    Err(Failure(
        Problem::new(Class::Conflict, "api.changed", format!("`{name}` has changed since you looked"))
            .with_hint("look again, then repeat"),
    ))
}
