//! The gate: who asks, and whether they may. It stands before every route.

use std::net::{IpAddr, SocketAddr};

use access::{Action, Authenticated, Credential, Principal, RequestHeaders, Resource, decide};
use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base::{Cause, Class, Ctx, Environment, Problem, Scope};

use crate::{
    Ports,
    problem::{self, Failure},
    routes::{Gate, Surface},
};

/// Who asks, once let through.
#[derive(Debug, Clone)]
pub struct Caller {
    pub ctx: Ctx,
    pub principal: Principal,
    /// What the session has to send back with every change; none for a token.
    pub csrf: Option<String>,
    pub expires_at: base::Timestamp,
    /// What let it in, to be asked again while an answer streams.
    proof: Proof,
}

#[derive(Debug, Clone)]
struct Proof {
    credential: Credential,
    action: Action,
}

impl Caller {
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.ctx.scope
    }

    /// Whether the credential is still good and its owner still may. State that cannot be read is a
    /// no: whoever follows a stream comes back by itself.
    pub(crate) async fn is_still_let_in(&self, ports: &Ports) -> bool {
        let Proof { credential, action } = &self.proof;
        let found = ports.access.authenticate(&ports.tenant, credential).await;
        found.is_ok_and(|found| {
            decide(&found.principal, *action, &resource(self.scope(), *action, &found)).allow
        })
    }

    /// A second question to the decision point, for what only query or body tell.
    pub(crate) fn also(&self, action: Action, resource: &Resource) -> Result<(), Failure> {
        allowed(&self.principal, action, resource)
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

/// What the gate needs to know: what it asks, and the routes it stands before.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    pub(crate) ports: Ports,
    pub(crate) surface: Surface,
}

/// Lets a request through or answers it. What is logged on the way carries its correlation.
pub(crate) async fn guard(State(guarded): State<Guarded>, request: Request, next: Next) -> Response {
    let correlation = correlation(request.headers());
    let basic = guarded.surface.basic;
    let mut response =
        problem::CORRELATION.scope(correlation.clone(), let_in(guarded, correlation, request, next)).await;
    if basic && response.status() == StatusCode::UNAUTHORIZED {
        let ask = HeaderValue::from_static("Basic realm=\"stead\"");
        response.headers_mut().append(header::WWW_AUTHENTICATE, ask);
    }
    response
}

async fn let_in(guarded: Guarded, correlation: String, mut request: Request, next: Next) -> Response {
    let Guarded { ports, surface } = guarded;
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(gate) = matched.as_deref().and_then(|path| surface.gate(request.method(), path)) else {
        return Failure(Problem::new(
            Class::Denied,
            "access.no_rule",
            "this route has no rule, so it is closed",
        ))
        .into_response();
    };
    if let Err(failure) = same_origin(&ports, request.method(), request.uri(), request.headers()) {
        return failure.into_response();
    }
    let Gate::Needs(action) = gate else { return next.run(request).await };
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    match authorize(&ports, &method, &uri, &headers, correlation, action).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller.ctx.clone());
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
    correlation: String,
    action: Action,
) -> Result<Caller, Failure> {
    let environment = environment(uri)?;
    let scope = Scope { tenant: ports.tenant.clone(), environment };
    let cookies = cookies(sent);
    let credential = headers(ports, method, sent, cookies.as_deref())
        .credential()
        .map_err(|error| Failure::of(&error))?
        .ok_or_else(|| Failure(unauthenticated()))?;
    let found =
        ports.access.authenticate(&ports.tenant, &credential).await.map_err(|error| Failure::of(&error))?;
    allowed(&found.principal, action, &resource(&scope, action, &found))?;
    let ctx = Ctx {
        actor: found.principal.actor(),
        scope,
        cause: Cause { correlation, causation: None },
        budget: Ctx::BUDGET_DEFAULT,
    };
    Ok(Caller {
        ctx,
        principal: found.principal,
        csrf: found.csrf,
        expires_at: found.expires_at,
        proof: Proof { credential, action },
    })
}

/// What `action` is asked about.
fn resource(scope: &Scope, action: Action, found: &Authenticated) -> Resource {
    match action.reach() {
        access::Reach::Environment => Resource::environment(scope),
        access::Reach::Tenant => Resource::tenant(&scope.tenant),
        access::Reach::Own => Resource::owned(&scope.tenant, found.principal.person.clone()),
    }
}

fn allowed(principal: &Principal, action: Action, resource: &Resource) -> Result<(), Failure> {
    let decision = decide(principal, action, resource);
    if decision.allow {
        return Ok(());
    }
    let problem = Problem::new(Class::Denied, "access.denied", decision.why)
        .with_hint("an admin can change roles and scopes under Access");
    Err(Failure(problem))
}

/// All cookies as one text: HTTP/2 lets a client send each pair in a field of its own (RFC 9113).
fn cookies(headers: &HeaderMap) -> Option<String> {
    let fields: Vec<&str> =
        headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
    (!fields.is_empty()).then(|| fields.join("; "))
}

fn headers<'h>(
    ports: &Ports,
    method: &Method,
    headers: &'h HeaderMap,
    cookies: Option<&'h str>,
) -> RequestHeaders<'h> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    RequestHeaders {
        authorization: text("authorization"),
        cookie: cookies,
        csrf: text("x-stead-csrf"),
        safe_method: is_safe(method),
        tls: ports.tls,
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A browser says where a change comes from; another site's is refused, also on open routes. So is
/// that of a page whose own name was pointed at this machine: it would name itself in `Host` too.
fn same_origin(ports: &Ports, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    if is_safe(method) {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    // HTTP/2 has the authority in place of `Host`.
    let sent = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(sent).unwrap_or_default();
    let same =
        origin == ports.base_url || origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    if same && is_own_name(ports, host) {
        return Ok(());
    }
    let problem = Problem::new(
        Class::Denied,
        "access.origin",
        format!("a change from {origin} by way of {host:?} is not let in"),
    )
    .with_hint("open Stead under the address that `stead open` gives");
    Err(Failure(problem))
}

/// Whether `authority` can only mean this server: a number cannot be pointed elsewhere, a loopback
/// name is not asked of DNS, and with TLS the certificate speaks for the name.
fn is_own_name(ports: &Ports, authority: &str) -> bool {
    let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else { return false };
    let host = authority.host().to_ascii_lowercase();
    let own = ports.base_url.split_once("://").map_or("", |(_, authority)| authority);
    ports.tls
        || own.parse::<axum::http::uri::Authority>().is_ok_and(|own| own.host().eq_ignore_ascii_case(&host))
        || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || ports.host_names.contains(&host)
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
