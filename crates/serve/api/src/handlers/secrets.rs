//! Secrets: names and versions. No route gives a value back.

use api_types::{Secret, SetSecret};
use axum::{extract::State, http::StatusCode};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrets_api::{SecretName, Value};

use super::In;
use crate::{
    Ports,
    extract::{Json, Path},
    gate::Caller,
    problem::{Answer, Failure},
};

#[utoipa::path(get, path = "/api/stead/v1/secrets", params(In), responses((status = 200, body = Vec<Secret>)))]
pub(crate) async fn list(State(ports): State<Ports>, caller: Caller) -> Answer<Json<Vec<Secret>>> {
    let scope = caller.ctx.scope.clone();
    let found = ports.secrets.list(scope.clone()).await.map_err(|error| Failure::of(&error))?;
    let services = ports.delivery.services(scope).await?;
    let secrets = found
        .into_iter()
        .filter(|summary| summary.removed_at.is_none())
        .map(|summary| {
            let last = summary.versions.last();
            let name = summary.name.to_string();
            let used_by = services
                .iter()
                .filter(|service| {
                    service
                        .release
                        .iter()
                        .flat_map(|release| &release.secrets)
                        .any(|pinned| pinned.rsplit_once('@').is_some_and(|(pinned, _)| pinned == name))
                })
                .map(|service| service.name.clone())
                .collect();
            Secret {
                version: summary.latest,
                updated_at: last.map(|version| version.at.to_string()).unwrap_or_default(),
                updated_by: last.map(|version| version.actor.to_string()).unwrap_or_default(),
                generated: summary.generated,
                used_by,
                name,
            }
        })
        .collect();
    Ok(Json(secrets))
}

#[utoipa::path(put, path = "/api/stead/v1/secrets/{name}", params(("name" = String, Path), In), request_body = SetSecret, responses((status = 200, body = u64)))]
pub(crate) async fn set(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
    Json(body): Json<SetSecret>,
) -> Answer<Json<u64>> {
    let name = SecretName::parse(&name).map_err(|error| Failure::of(&error))?;
    let bytes = match body.base64 {
        // What is wrong with it is not said: it would be a part of the secret.
        true => STANDARD.decode(body.value).map_err(|_| Failure::invalid("the value is not base64"))?,
        false => body.value.into_bytes(),
    };
    let value = Value::new(bytes).map_err(|error| Failure::of(&error))?;
    let why = "set by hand".to_owned();
    let version =
        ports.secrets.set(caller.ctx, name, value, why).await.map_err(|error| Failure::of(&error))?;
    Ok(Json(version))
}

#[utoipa::path(delete, path = "/api/stead/v1/secrets/{name}", params(("name" = String, Path), In), responses((status = 204)))]
pub(crate) async fn remove(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
) -> Answer<StatusCode> {
    let name = SecretName::parse(&name).map_err(|error| Failure::of(&error))?;
    ports
        .secrets
        .remove(caller.ctx, name, "removed by hand".into())
        .await
        .map_err(|error| Failure::of(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
