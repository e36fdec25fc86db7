//! Plans and the runs that carry them out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use api_types::Why;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Class, Problem};
use delivery_api::{Plan, Run, Submission};
use futures_util::{StreamExt, TryStreamExt};

use super::In;
use crate::{
    ARTIFACTS_BYTES_MAX, Ports,
    extract::{Json, Path},
    gate::Caller,
    problem::{Answer, Failure, Refused},
};

#[utoipa::path(post, path = "/api/stead/v1/plans", params(In), request_body = Submission, responses((status = 201, body = Plan)))]
pub(crate) async fn make(
    State(ports): State<Ports>,
    caller: Caller,
    Json(submission): Json<Submission>,
) -> Answer<(StatusCode, Json<Plan>)> {
    let deletes = submission.removal.as_ref().is_some_and(|removal| removal.delete_data);
    if deletes {
        also(&caller, access::Action::DeleteData)?;
    }
    if submission.rotation.is_some() {
        also(&caller, access::Action::ManageSecrets)?;
    }
    Ok((StatusCode::CREATED, Json(ports.delivery.plan(caller.ctx, submission).await?)))
}

fn also(caller: &Caller, action: access::Action) -> Answer<()> {
    caller.also(action, &access::Resource::environment(caller.scope()))
}

#[utoipa::path(get, path = "/api/stead/v1/plans", params(In), responses((status = 200, body = Vec<Plan>)))]
pub(crate) async fn list(State(ports): State<Ports>, caller: Caller) -> Answer<Json<Vec<Plan>>> {
    Ok(Json(ports.delivery.plans(caller.ctx.scope, None).await?))
}

#[utoipa::path(get, path = "/api/stead/v1/plans/{id}", params(("id" = String, Path), In), responses((status = 200, body = Plan)))]
pub(crate) async fn show(
    State(ports): State<Ports>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Plan>> {
    let found = ports.delivery.plans(caller.ctx.scope, Some(id.clone())).await?;
    found.into_iter().next().map(Json).ok_or_else(|| none("plan", &id))
}

#[utoipa::path(post, path = "/api/stead/v1/plans/{id}/apply", params(("id" = String, Path), In), responses((status = 202, body = Run)))]
pub(crate) async fn apply(
    State(ports): State<Ports>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<(StatusCode, Json<Run>)> {
    let plan = ports.delivery.plans(caller.ctx.scope.clone(), Some(id.clone())).await?;
    let mut steps = plan.iter().flat_map(|plan| &plan.steps);
    if steps.clone().any(|step| step.action == delivery_api::Action::Remove) {
        also(&caller, access::Action::Remove)?;
    }
    if steps.clone().any(|step| step.deletes_data) {
        also(&caller, access::Action::DeleteData)?;
    }
    if steps.any(|step| step.rotates_credentials) {
        also(&caller, access::Action::ManageSecrets)?;
    }
    Ok((StatusCode::ACCEPTED, Json(ports.delivery.apply(caller.ctx, id).await?)))
}

#[utoipa::path(get, path = "/api/stead/v1/runs", params(In), responses((status = 200, body = Vec<Run>)))]
pub(crate) async fn runs(State(ports): State<Ports>, caller: Caller) -> Answer<Json<Vec<Run>>> {
    Ok(Json(ports.delivery.runs(caller.ctx.scope, None).await?))
}

#[utoipa::path(get, path = "/api/stead/v1/runs/{id}", params(("id" = String, Path), In), responses((status = 200, body = Run)))]
pub(crate) async fn run(
    State(ports): State<Ports>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Json<Run>> {
    let found = ports.delivery.runs(caller.ctx.scope, Some(id.clone())).await?;
    found.into_iter().next().map(Json).ok_or_else(|| none("run", &id))
}

#[utoipa::path(post, path = "/api/stead/v1/runs/{id}/cancel", params(("id" = String, Path), In), request_body = Why, responses((status = 202, body = Run)))]
pub(crate) async fn cancel(
    State(ports): State<Ports>,
    caller: Caller,
    Path(id): Path<String>,
    Json(why): Json<Why>,
) -> Answer<(StatusCode, Json<Run>)> {
    let why = why.why.unwrap_or_else(|| "cancelled by hand".into());
    Ok((StatusCode::ACCEPTED, Json(ports.delivery.cancel(caller.ctx, id, why).await?)))
}

#[utoipa::path(put, path = "/api/stead/v1/artifacts", params(In), request_body(content = Vec<u8>, content_type = "application/x-tar"), responses((status = 200, body = u64)))]
pub(crate) async fn upload(
    State(ports): State<Ports>,
    _: Caller,
    request: Request,
) -> Result<Json<u64>, Response> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse().ok()).is_some_and(|bytes: u64| bytes > ARTIFACTS_BYTES_MAX) {
        return Err(upload_too_large().into_response());
    }
    let passed = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&passed);
    let mut taken = 0u64;
    let body = request
        .into_body()
        .into_data_stream()
        .map_err(|error| Problem::new(Class::Invalid, "api.body", format!("the upload broke off: {error}")))
        .and_then(move |part| {
            taken = taken.saturating_add(part.len() as u64);
            let is_over = taken > ARTIFACTS_BYTES_MAX;
            over.fetch_or(is_over, Ordering::Relaxed);
            let problem = || Problem::new(Class::Limit, "api.artifacts", "the upload is too large");
            std::future::ready(if is_over { Err(problem()) } else { Ok(part) })
        })
        .boxed();
    let outcome = ports.machine.upload(body).await;
    // Whoever took the stream in knows only that it broke off.
    if passed.load(Ordering::Relaxed) {
        return Err(upload_too_large().into_response());
    }
    outcome.map(Json).map_err(|problem| Failure(problem).into_response())
}

fn upload_too_large() -> Refused {
    Refused {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        code: "api.artifacts",
        message: format!("an upload of artifacts may have {ARTIFACTS_BYTES_MAX} bytes"),
        hint: Some("leave out what the service does not run with, in .steadignore"),
    }
}

fn none(what: &str, id: &str) -> Failure {
    Failure(Problem::new(Class::NotFound, "api.not_found", format!("there is no {what} `{id}`")))
}
