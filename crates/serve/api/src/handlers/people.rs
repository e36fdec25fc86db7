//! People and tokens.

use std::{collections::BTreeSet, time::Duration};

use access::{Grant, OneTimeLink, PersonId, TokenId, TokenScope};
use api_types::{ChangePerson, CreatedToken, Invite, NewToken, Person, Role, SignInLink, Token};
use axum::{extract::State, http::StatusCode};
use base::Environment;

use crate::{
    Ports,
    extract::{Json, Path},
    gate::Caller,
    problem::{Answer, Failure},
};

const DAY: Duration = Duration::from_secs(86_400);

#[utoipa::path(get, path = "/api/stead/v1/people", responses((status = 200, body = Vec<Person>)))]
pub(crate) async fn list(State(ports): State<Ports>, _: Caller) -> Answer<Json<Vec<Person>>> {
    let found = ports.access.people(&ports.tenant).await.map_err(|error| Failure::of(&error))?;
    Ok(Json(found.into_iter().map(person).collect()))
}

#[utoipa::path(post, path = "/api/stead/v1/people", request_body = Invite, responses((status = 201, body = SignInLink)))]
pub(crate) async fn invite(
    State(ports): State<Ports>,
    caller: Caller,
    Json(wish): Json<Invite>,
) -> Answer<(StatusCode, Json<SignInLink>)> {
    let role = domain_role(wish.role);
    let invited =
        ports.access.invite(&caller.ctx, &wish.name, role).await.map_err(|error| Failure::of(&error))?;
    Ok((StatusCode::CREATED, Json(link_view(&ports, invited.person, &invited.link))))
}

#[utoipa::path(patch, path = "/api/stead/v1/people/{id}", params(("id" = String, Path)), request_body = ChangePerson, responses((status = 200, body = Person)))]
pub(crate) async fn change(
    State(ports): State<Ports>,
    caller: Caller,
    Path(id): Path<String>,
    Json(wish): Json<ChangePerson>,
) -> Answer<Json<Person>> {
    let change =
        access::ChangePerson { name: wish.name, role: wish.role.map(domain_role), active: wish.active };
    let changed = ports
        .access
        .change_person(&caller.ctx, &person_id(&id)?, change)
        .await
        .map_err(|error| Failure::of(&error))?;
    Ok(Json(person(changed)))
}

#[utoipa::path(post, path = "/api/stead/v1/people/{id}/link", params(("id" = String, Path)), responses((status = 201, body = SignInLink)))]
pub(crate) async fn link(
    State(ports): State<Ports>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<(StatusCode, Json<SignInLink>)> {
    // `owner` stands for the first one who was in: what `stead open` asks for.
    let found = match id.as_str() {
        "owner" => ports.access.owner(&ports.tenant).await,
        _ => ports.access.person(&ports.tenant, &person_id(&id)?).await,
    };
    let found = found.map_err(|error| Failure::of(&error))?;
    let link =
        ports.access.sign_in_link(&caller.ctx, &found.id).await.map_err(|error| Failure::of(&error))?;
    Ok((StatusCode::CREATED, Json(link_view(&ports, found, &link))))
}

#[utoipa::path(get, path = "/api/stead/v1/tokens", responses((status = 200, body = Vec<Token>)))]
pub(crate) async fn tokens(State(ports): State<Ports>, caller: Caller) -> Answer<Json<Vec<Token>>> {
    let everybody = access::decide(
        &caller.principal,
        access::Action::ManageTokens,
        &access::Resource::tenant(&ports.tenant),
    );
    let owner = if everybody.allow { None } else { Some(caller.principal.person.as_ref()) };
    let found = ports.access.tokens(&ports.tenant, owner).await.map_err(|error| Failure::of(&error))?;
    Ok(Json(found.into_iter().map(token).collect()))
}

#[utoipa::path(post, path = "/api/stead/v1/tokens", request_body = NewToken, responses((status = 201, body = CreatedToken)))]
pub(crate) async fn create_token(
    State(ports): State<Ports>,
    caller: Caller,
    Json(wish): Json<NewToken>,
) -> Answer<(StatusCode, Json<CreatedToken>)> {
    let mut scopes = BTreeSet::new();
    for scope in &wish.scopes {
        scopes.insert(scope.parse::<TokenScope>().map_err(|error| Failure::of(&error))?);
    }
    let mut environments = BTreeSet::new();
    for name in &wish.environments {
        environments.insert(Environment::parse(name).map_err(|error| Failure::invalid(error.to_string()))?);
    }
    let grant = Grant { scopes, environments: (!environments.is_empty()).then_some(environments) };
    let life = wish.days.map(|days| DAY * days.clamp(1, 365));
    let new = access::NewToken { name: wish.name, grant, life };
    let made = ports
        .access
        .create_token(&caller.ctx, &caller.principal, &new)
        .await
        .map_err(|error| Failure::of(&error))?;
    let body = CreatedToken { token: token(made.token), secret: made.secret.expose().to_owned() };
    Ok((StatusCode::CREATED, Json(body)))
}

#[utoipa::path(delete, path = "/api/stead/v1/tokens/{id}", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn revoke_token(
    State(ports): State<Ports>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let id = TokenId::parse(&id).map_err(|error| Failure::invalid(error.to_string()))?;
    let found = ports.access.token(&ports.tenant, &id).await.map_err(|error| Failure::of(&error))?;
    if found.person != caller.principal.person {
        let resource = access::Resource::tenant(&ports.tenant);
        caller.also(access::Action::ManageTokens, &resource)?;
    }
    ports
        .access
        .revoke_token(&caller.ctx, &id, "revoked by hand")
        .await
        .map_err(|error| Failure::of(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

fn person_id(text: &str) -> Answer<PersonId> {
    PersonId::parse(text).map_err(|error| Failure::invalid(error.to_string()))
}

pub(crate) fn role(role: access::Role) -> Role {
    match role {
        access::Role::Viewer => Role::Viewer,
        access::Role::Operator => Role::Operator,
        access::Role::Admin => Role::Admin,
    }
}

fn domain_role(role: Role) -> access::Role {
    match role {
        Role::Viewer => access::Role::Viewer,
        Role::Operator => access::Role::Operator,
        Role::Admin => access::Role::Admin,
    }
}

pub(crate) fn person(person: access::Person) -> Person {
    Person {
        id: person.id.to_string(),
        name: person.name,
        role: role(person.role),
        active: person.active,
        password: person.password,
        created_at: person.created_at.to_string(),
        last_seen_at: person.signed_in_at.map(|at| at.to_string()),
    }
}

fn link_view(ports: &Ports, found: access::Person, link: &OneTimeLink) -> SignInLink {
    SignInLink {
        person: person(found),
        url: format!("{}/sign-in#{}", ports.base_url, link.token.expose()),
        expires_at: link.expires_at.to_string(),
    }
}

fn token(token: access::Token) -> Token {
    Token {
        id: token.id.to_string(),
        name: token.name,
        scopes: token.grant.scopes.iter().map(ToString::to_string).collect(),
        environments: token.grant.environments.iter().flatten().map(ToString::to_string).collect(),
        created_at: token.created_at.to_string(),
        created_by: token.created_by.to_string(),
        expires_at: token.expires_at.to_string(),
        last_used_at: token.used_at.map(|at| at.to_string()),
    }
}
