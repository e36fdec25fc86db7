//! Signing in and out.

use access::Client;
use api_types::{Session, SetPassword, SignIn};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base::{Actor, Cause, Ctx, Scope};

use super::people;
use crate::{
    Ports,
    extract::Json,
    gate::{self, Caller},
    problem::{Answer, Failure},
};

#[utoipa::path(post, path = "/api/stead/v1/session", request_body = SignIn, responses((status = 201, body = Session), (status = 401, body = api_types::Problem)))]
pub(crate) async fn sign_in(
    State(ports): State<Ports>,
    gate::From(address): gate::From,
    headers: HeaderMap,
    Json(wish): Json<SignIn>,
) -> Answer<Response> {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let client = Client { address, agent: agent.to_owned() };
    let scope = Scope { tenant: ports.tenant.clone(), ..Scope::default() };
    let ctx =
        Ctx { actor: Actor::system("sign-in"), scope, cause: Cause::default(), budget: Ctx::BUDGET_DEFAULT };
    let made = match (&wish.link, &wish.name, &wish.password) {
        (Some(link), _, _) => ports.access.redeem(&ctx, link, &client).await,
        (None, Some(name), Some(password)) => ports.access.sign_in(&ctx, name, password, &client).await,
        _ => return Err(Failure::invalid("a link, or a name and a password, is needed")),
    };
    let made = made.map_err(|error| Failure::of(&error))?;
    let cookie = access::set_cookie(&made.secret, made.lives, ports.tls);
    let actor = Actor::user(made.person.id.as_str()).to_string();
    let body = Session {
        role: people::role(made.person.role),
        person: Some(people::person(made.person)),
        actor,
        csrf: Some(made.csrf),
        expires_at: Some(made.session.expires_at.to_string()),
    };
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

#[utoipa::path(get, path = "/api/stead/v1/session", responses((status = 200, body = Session), (status = 401, body = api_types::Problem)))]
pub(crate) async fn show(State(ports): State<Ports>, caller: Caller) -> Answer<Json<Session>> {
    let person = match &caller.principal.person {
        Some(id) => Some(ports.access.person(&ports.tenant, id).await.map_err(|error| Failure::of(&error))?),
        None => None,
    };
    Ok(Json(Session {
        person: person.map(people::person),
        actor: caller.ctx.actor.to_string(),
        role: people::role(caller.principal.role),
        csrf: caller.csrf,
        expires_at: Some(caller.expires_at.to_string()),
    }))
}

#[utoipa::path(delete, path = "/api/stead/v1/session", responses((status = 204)))]
pub(crate) async fn sign_out(State(ports): State<Ports>, caller: Caller) -> Answer<Response> {
    if let Some(session) = caller.principal.session() {
        ports.access.end_session(&caller.ctx, session).await.map_err(|error| Failure::of(&error))?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, access::clear_cookie(ports.tls))]).into_response())
}

#[utoipa::path(put, path = "/api/stead/v1/session/password", request_body = SetPassword, responses((status = 204)))]
pub(crate) async fn set_password(
    State(ports): State<Ports>,
    caller: Caller,
    Json(wish): Json<SetPassword>,
) -> Answer<StatusCode> {
    ports
        .access
        .set_password(&caller.ctx, &caller.principal, wish.current.as_deref(), Some(&wish.password))
        .await
        .map_err(|error| Failure::of(&error))?;
    Ok(StatusCode::NO_CONTENT)
}
