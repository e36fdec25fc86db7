//! What goes on the ledger, what is read from it, and what is told of a failure.

use std::sync::{Arc, Mutex};

use access::{Role, TokenScope};
use axum::{body::Body, http::StatusCode};
use base::{Class, Problem};
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::{
    doubles::from,
    world::{World, read, request},
};

#[tokio::test]
async fn reading_all_environments_is_a_question_of_its_own() {
    let world = World::new().await;
    let one = world.limited(Role::Admin, &[TokenScope::Read], Some(&["staging"])).await;
    let every = world.limited(Role::Admin, &[TokenScope::Read], None).await;
    for path in ["/events", "/events/export"] {
        let own = world.ask(&one, "GET", &format!("{path}?environment=staging"), &Value::Null).await;
        assert_eq!(own.status(), StatusCode::OK, "{path}");
        let all = world.ask(&one, "GET", &format!("{path}?environment=staging&all=true"), &Value::Null).await;
        assert_eq!(all.status(), StatusCode::FORBIDDEN, "{path}");
        let all = world.ask(&every, "GET", &format!("{path}?all=true"), &Value::Null).await;
        assert_eq!(all.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_command_is_on_record_before_it_runs() {
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    let kinds: Arc<Mutex<Vec<String>>> = Arc::default();
    let (state, seen) = (world.state.clone(), kinds.clone());
    let look = async move {
        let query = state::EntryQuery {
            tenant: base::Tenant::default(),
            environment: None,
            subject: None,
            kind_prefix: Some("stead.replica.".into()),
            actor: None,
            correlation: None,
            from: None,
            to: None,
            after: None,
            descending: false,
            limit: 10,
        };
        let found = state.entries(query).await.unwrap().items;
        seen.lock().unwrap().extend(found.into_iter().map(|entry| entry.draft.kind));
    };
    *world.double.during_exec.lock().unwrap() = Some(look.boxed());
    let wish = json!({"command": ["psql", "--password=canary"]});
    let (status, body) = read(world.ask(&admin, "POST", "/services/web/exec", &wish).await).await;
    assert_eq!((status, &body["code"]), (StatusCode::OK, &json!(0)));
    assert_eq!(*kinds.lock().unwrap(), ["stead.replica.exec.v1"]);
    let entries = world.entries().await;
    let [.., intent, end] = entries.as_slice() else { panic!() };
    assert_eq!(end.draft.kind, "stead.replica.exec-ended.v1");
    assert_eq!(end.draft.cause.causation.as_ref(), Some(&intent.draft.id));
    assert_eq!(end.draft.body["code"], 0);
    assert!(!serde_json::to_string(&entries).unwrap().contains("canary"));
}

#[tokio::test]
async fn deleting_data_takes_the_right_to_whatever_the_plan_says_in_words() {
    let world = World::new().await;
    let operator = world.token(Role::Operator).await;
    let admin = world.token(Role::Admin).await;
    let step = |deletes: bool, warning: &str| {
        from::<delivery_api::Step>(json!({
            "subject": "service/web", "action": "remove", "why": "you asked for it",
            "warnings": [warning], "deletes_data": deletes,
        }))
    };
    for (deletes, warning, expected) in [
        (true, "nothing to see here", StatusCode::FORBIDDEN),
        (false, "a name that holds DELETED", StatusCode::ACCEPTED),
    ] {
        *world.double.steps.lock().unwrap() = vec![step(deletes, warning)];
        let response = world.ask(&operator, "POST", "/plans/plan_1/apply", &Value::Null).await;
        assert_eq!(response.status(), expected, "{warning}");
        let response = world.ask(&admin, "POST", "/plans/plan_1/apply", &Value::Null).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{warning}");
    }
}

#[tokio::test]
async fn a_rotation_takes_the_right_to_manage_secrets() {
    let world = World::new().await;
    let deploy = world.limited(Role::Operator, &[TokenScope::Deploy], None).await;
    let both = world.limited(Role::Operator, &[TokenScope::Deploy, TokenScope::Secrets], None).await;
    let submission = json!({"source": {"project": ""}, "documents": [], "rotation": {"service": "web"}});
    *world.double.steps.lock().unwrap() = vec![from::<delivery_api::Step>(json!({
        "subject": "need/web-db", "action": "change", "why": "a new password", "rotates_credentials": true,
    }))];
    for (path, body) in [("/plans", &submission), ("/plans/plan_1/apply", &Value::Null)] {
        let refused = world.ask(&deploy, "POST", path, body).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
        assert!(world.ask(&both, "POST", path, body).await.status().is_success(), "{path}");
    }
}

#[tokio::test]
async fn what_failed_within_stays_within() {
    let world = World::new().await;
    let viewer = world.token(Role::Viewer).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let ask = || {
        let request = request("GET", "/services")
            .header("authorization", format!("Bearer {}", viewer.text))
            .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
        world.send(request.body(Body::empty()).unwrap())
    };
    let inside = Problem::new(Class::Internal, "runtime.io", "/var/lib/stead/replicas/x: no such file");
    *world.double.broken.lock().unwrap() = Some(inside);
    let (status, body) = read(ask().await).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!((&body["code"], &body["message"]), (&json!("runtime.io"), &json!("internal error")));
    assert!(body["hint"].as_str().unwrap().contains(trace), "{body}");
    assert!(!body.to_string().contains("/var/lib"), "{body}");
    // What the caller can do something about is told in full.
    *world.double.broken.lock().unwrap() = Some(Problem::new(Class::Invalid, "x.y", "line 3: no"));
    let (_, body) = read(ask().await).await;
    assert_eq!(body["message"], "line 3: no");
}

#[tokio::test]
async fn a_secret_may_be_any_bytes() {
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    let response = world.ask(&admin, "PUT", "/secrets/KEY", &json!({"value": "/wA=", "base64": true})).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(*world.double.asked.lock().unwrap(), ["set secret [255, 0]"]);
    let wrong = json!({"value": "not base64", "base64": true});
    let (status, body) = read(world.ask(&admin, "PUT", "/secrets/KEY", &wrong).await).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(body["message"], "the value is not base64");
}
