//! Plans and the runs that carry them out.

use api_types::Why;
use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
};
use base::{Class, Problem};
use delivery_api::{Plan, Run, Submission};
use futures_util::{StreamExt, TryStreamExt};

use super::In;
use crate::{
    Ports,
    gate::Caller,
    problem::{Answer, Failure},
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
pub(crate) async fn upload(State(ports): State<Ports>, _: Caller, request: Request) -> Answer<Json<u64>> {
    let body = request
        .into_body()
        .into_data_stream()
        .map_err(|error| Problem::new(Class::Invalid, "api.body", format!("the upload broke off: {error}")))
        .boxed();
    Ok(Json(ports.machine.upload(body).await?))
}

fn none(what: &str, id: &str) -> Failure {
    Failure(Problem::new(Class::NotFound, "api.not_found", format!("there is no {what} `{id}`")))
}
