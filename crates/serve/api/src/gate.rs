//! The gate: who asks, and whether they may. It stands before every route.

use std::net::{IpAddr, SocketAddr};

use access::{Action, Principal, RequestHeaders, Resource, decide};
use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, Method, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base::{Cause, Class, Ctx, Environment, Problem, Scope};

use crate::{
    Ports,
    problem::Failure,
    routes::{self, Gate},
};

/// Who asks, once let through.
#[derive(Debug, Clone)]
pub struct Caller {
    pub ctx: Ctx,
    pub principal: Principal,
    /// What the session has to send back with every change; none for a token.
    pub csrf: Option<String>,
    pub expires_at: base::Timestamp,
}

impl Caller {
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.ctx.scope
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // Only an open route gets here without one, and none of those asks for it.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Failure(unauthenticated()))
    }
}

/// Where a request comes from, for throttling.
#[derive(Debug, Clone, Copy)]
pub struct From(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())))
    }
}

fn unauthenticated() -> Problem {
    Problem::new(Class::Unauthenticated, "access.unauthenticated", "nobody is signed in")
        .with_hint("sign in with a link (`stead open`) or send an API token as `Authorization: Bearer`")
}

/// Lets a request through or answers it.
pub(crate) async fn guard(State(ports): State<Ports>, mut request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(gate) = matched.as_deref().and_then(|path| routes::gate(request.method(), path)) else {
        return Failure(Problem::new(
            Class::Denied,
            "access.no_rule",
            "this route has no rule, so it is closed",
        ))
        .into_response();
    };
    if let Err(failure) = same_origin(&ports, request.method(), request.headers()) {
        return failure.into_response();
    }
    let Gate::Needs(action) = gate else { return next.run(request).await };
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    match authorize(&ports, &method, &uri, &headers, action).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

async fn authorize(
    ports: &Ports,
    method: &Method,
    uri: &Uri,
    sent: &HeaderMap,
    action: Action,
) -> Result<Caller, Failure> {
    let environment = environment(uri)?;
    let scope = Scope { tenant: ports.tenant.clone(), environment };
    let credential = headers(ports, method, sent)
        .credential()
        .map_err(|error| Failure::of(&error))?
        .ok_or_else(|| Failure(unauthenticated()))?;
    let found =
        ports.access.authenticate(&ports.tenant, &credential).await.map_err(|error| Failure::of(&error))?;
    let principal = found.principal;
    let resource = match action.reach() {
        access::Reach::Environment => Resource::environment(&scope),
        access::Reach::Tenant => Resource::tenant(&scope.tenant),
        access::Reach::Own => Resource::owned(&scope.tenant, principal.person.clone()),
    };
    let decision = decide(&principal, action, &resource);
    if !decision.allow {
        return Err(Failure(
            Problem::new(Class::Denied, "access.denied", decision.why)
                .with_hint("an admin can change roles and scopes under Access"),
        ));
    }
    let correlation = correlation(sent);
    let ctx = Ctx {
        actor: principal.actor(),
        scope,
        cause: Cause { correlation, causation: None },
        budget: Ctx::BUDGET_DEFAULT,
    };
    Ok(Caller { ctx, principal, csrf: found.csrf, expires_at: found.expires_at })
}

pub(crate) fn headers<'h>(ports: &Ports, method: &Method, headers: &'h HeaderMap) -> RequestHeaders<'h> {
    let text = |name: &header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    RequestHeaders {
        authorization: text(&header::AUTHORIZATION),
        cookie: text(&header::COOKIE),
        csrf: headers.get("x-stead-csrf").and_then(|value| value.to_str().ok()),
        safe_method: is_safe(method),
        tls: ports.tls,
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A browser says where a change comes from; another site's is refused, also on open routes.
fn same_origin(ports: &Ports, method: &Method, headers: &HeaderMap) -> Result<(), Failure> {
    if is_safe(method) {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let own =
        origin == ports.base_url || origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    if own {
        return Ok(());
    }
    Err(Failure(Problem::new(
        Class::Denied,
        "access.origin",
        format!("a change from {origin} is not let in"),
    )))
}

/// The environment in the query, else the default one.
fn environment(uri: &Uri) -> Result<Environment, Failure> {
    let query = uri.query().unwrap_or_default();
    let given = query.split('&').find_map(|pair| pair.strip_prefix("environment="));
    match given {
        None | Some("") => Ok(Environment::default()),
        Some(name) => {
            Environment::parse(name).map_err(|error| Failure::invalid(format!("environment: {error}")))
        }
    }
}

/// The trace id of the request where it has one (W3C trace context), so that all it leads to is found.
fn correlation(headers: &HeaderMap) -> String {
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(|text| {
        let id = text.split('-').nth(1)?;
        (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_ascii_lowercase())
    });
    trace.unwrap_or_else(|| {
        let id = base::id::EventId::new();
        id.as_str().trim_start_matches("evt_").to_owned()
    })
}
