//! Every route: shut without a credential, open exactly to those whom its action lets in.

use std::collections::BTreeSet;

use access::{Action, Reach, Role, TokenScope};
use api::routes::{Gate, TABLE};
use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::world::{Token, World, read, request};

/// A request that a handler takes, for one row of the table.
struct Case {
    method: &'static str,
    path: &'static str,
    /// The path with its holes filled in.
    sent: &'static str,
    body: Value,
}

fn case(method: &'static str, path: &'static str, sent: &'static str, body: Value) -> Case {
    Case { method, path, sent, body }
}

fn cases() -> Vec<Case> {
    let get = |path| case("GET", path, path, Value::Null);
    let person = "/people/per_0190a1b2c3d4701a8b9c0d1e2f3a4b5c";
    let token = "/tokens/tok_0190a1b2c3d4701a8b9c0d1e2f3a4b5c";
    vec![
        get("/health"),
        get("/ready"),
        case("POST", "/session", "/session", json!({"link": "no link"})),
        get("/session"),
        case("DELETE", "/session", "/session", Value::Null),
        case("PUT", "/session/password", "/session/password", json!({"password": "correct horse battery"})),
        get("/info"),
        get("/stream"),
        get("/services"),
        case("GET", "/services/{name}", "/services/web", Value::Null),
        case("POST", "/services/{name}/restart", "/services/web/restart", json!({})),
        case("POST", "/services/{name}/scale", "/services/web/scale", json!({"replicas": 2})),
        case("POST", "/services/{name}/jobs/{job}/run", "/services/web/jobs/tidy/run", json!({})),
        case("POST", "/services/{name}/exec", "/services/web/exec", json!({"command": ["true"]})),
        case("GET", "/services/{name}/traffic", "/services/web/traffic", Value::Null),
        case("GET", "/services/{name}/logs", "/services/web/logs", Value::Null),
        case("GET", "/services/{name}/logs/stream", "/services/web/logs/stream", Value::Null),
        get("/map"),
        case("POST", "/plans", "/plans", json!({"source": {"project": "/p"}, "documents": []})),
        get("/plans"),
        case("GET", "/plans/{id}", "/plans/plan_1", Value::Null),
        case("POST", "/plans/{id}/apply", "/plans/plan_1/apply", Value::Null),
        get("/runs"),
        case("GET", "/runs/{id}", "/runs/run_1", Value::Null),
        case("POST", "/runs/{id}/cancel", "/runs/run_1/cancel", json!({})),
        case("PUT", "/artifacts", "/artifacts", Value::Null),
        get("/events"),
        get("/events/export"),
        get("/events/verify"),
        get("/secrets"),
        case("PUT", "/secrets/{name}", "/secrets/API_KEY", json!({"value": "x"})),
        case("DELETE", "/secrets/{name}", "/secrets/API_KEY", Value::Null),
        get("/people"),
        case("POST", "/people", "/people", json!({"name": "grace", "role": "viewer"})),
        case("PATCH", "/people/{id}", person, json!({"name": "eve"})),
        case("POST", "/people/{id}/link", "/people/owner/link", Value::Null),
        get("/tokens"),
        case("POST", "/tokens", "/tokens", json!({"name": "ci", "scopes": ["read"]})),
        case("DELETE", "/tokens/{id}", token, Value::Null),
        case("POST", "/machine/backup", "/machine/backup", Value::Null),
        case("POST", "/machine/shutdown", "/machine/shutdown", json!({})),
        case("POST", "/machine/upgrade", "/machine/upgrade", json!({"path": "/bin/true"})),
    ]
}

/// Each case with what its row needs; fails where a row has no case or a case no row.
fn paired() -> Vec<(Case, Gate)> {
    let cases = cases();
    let routed: BTreeSet<_> = TABLE.iter().map(|row| (row.method, row.path)).collect();
    let covered: BTreeSet<_> = cases.iter().map(|case| (case.method, case.path)).collect();
    assert_eq!(routed, covered, "every route has a case here");
    let gate = |case: &Case| {
        TABLE.iter().find(|row| (row.method, row.path) == (case.method, case.path)).unwrap().gate
    };
    cases
        .into_iter()
        .map(|case| {
            let gate = gate(&case);
            (case, gate)
        })
        .collect()
}

/// Whether the gate let it through. What the handler then says of a made-up id is its own matter.
async fn lets_in(world: &World, token: &Token, case: &Case, query: &str) -> bool {
    let response = world.ask(token, case.method, &format!("{}{query}", case.sent), &case.body).await;
    let status = response.status();
    assert_ne!(status, StatusCode::UNAUTHORIZED, "{} {}", case.method, case.path);
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{} {}", case.method, case.path);
    // The gate's own words; a handler has others, such as that a password is not for tokens.
    status != StatusCode::FORBIDDEN || read(response).await.1["code"] != "access.denied"
}

#[tokio::test]
async fn nobody_gets_in_without_a_credential() {
    let world = World::new().await;
    for (case, gate) in paired() {
        for credential in
            [None, Some("Bearer stead_pat_made_up"), Some("Basic bm86Ym9keQ=="), Some("Other x")]
        {
            let mut request = request(case.method, case.sent);
            if let Some(text) = credential {
                request = request.header("authorization", text);
            }
            let response = world.send(request.body(Body::from(case.body.to_string())).unwrap()).await;
            let expected = match (gate, credential) {
                // Signing in with a link that is none is refused by the handler.
                (Gate::Open, _) if case.path == "/session" => StatusCode::UNAUTHORIZED,
                (Gate::Open, _) => StatusCode::OK,
                (Gate::Needs(_), Some("Other x")) => StatusCode::UNPROCESSABLE_ENTITY,
                (Gate::Needs(_), _) => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(response.status(), expected, "{} {} {credential:?}", case.method, case.path);
        }
    }
    assert!(world.double.asked.lock().unwrap().is_empty(), "nothing was done");
}

#[tokio::test]
async fn each_role_gets_exactly_what_its_actions_say() {
    let world = World::new().await;
    for role in Role::ALL {
        for (case, gate) in paired() {
            // One of its own each time: signing out and revoking end it.
            let token = world.token(*role).await;
            let expected = match gate {
                Gate::Open => continue,
                Gate::Needs(action) => *role >= action.role(),
            };
            let found = lets_in(&world, &token, &case, "").await;
            assert_eq!(found, expected, "{role} {} {}", case.method, case.path);
        }
    }
}

#[tokio::test]
async fn a_token_without_the_scope_or_the_environment_stays_out() {
    let world = World::new().await;
    let staging = world.limited(Role::Admin, TokenScope::ALL, Some(&["staging"])).await;
    for (case, gate) in paired() {
        let Gate::Needs(action) = gate else { continue };
        let any = action.token_scope().is_none();
        let without: Vec<_> = TokenScope::ALL.iter().copied().filter(|scope| !action.is_in(*scope)).collect();
        let without = if any { &[TokenScope::Exec][..] } else { &without };
        let none = world.limited(Role::Admin, without, None).await;
        assert_eq!(lets_in(&world, &none, &case, "").await, any, "{} {}", case.method, case.path);
        assert_eq!(lets_in(&world, &staging, &case, "").await, any, "{} {}", case.method, case.path);
        let there = any || action.reach() == Reach::Environment;
        let found = lets_in(&world, &staging, &case, "?environment=staging").await;
        assert_eq!(found, there, "{} {} in staging", case.method, case.path);
    }
}

#[tokio::test]
async fn a_method_or_path_without_a_row_is_closed() {
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    let response = world.ask(&admin, "DELETE", "/services/web", &Value::Null).await;
    assert!(response.status().is_client_error());
    assert!(world.double.asked.lock().unwrap().is_empty());
    let response = world.ask(&admin, "GET", "/nothing", &Value::Null).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    // An action that no route names would be a rule for nothing; these are for what is to come.
    let named: BTreeSet<Action> = TABLE
        .iter()
        .filter_map(|row| match row.gate {
            Gate::Needs(action) => Some(action),
            Gate::Open => None,
        })
        .collect();
    // The surface that speaks as Prometheus does has a table of its own.
    let elsewhere = [Action::ReadMetrics, Action::WriteMetrics, Action::ReloadScrapes, Action::DeleteMetrics];
    let unnamed: Vec<_> =
        Action::ALL.iter().filter(|action| !named.contains(action) && !elsewhere.contains(action)).collect();
    let asked_within =
        [Action::Remove, Action::DeleteData, Action::ManageTokens, Action::RotateKeys, Action::Restore];
    assert_eq!(unnamed, asked_within.iter().collect::<Vec<_>>());
}
