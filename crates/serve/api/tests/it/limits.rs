//! The named limits, each hit.

use access::Role;
use axum::{body::Body, http::StatusCode};
use serde_json::{Value, json};

use crate::world::{World, read, request};

#[tokio::test]
async fn streams_have_a_limit_and_give_their_seats_back() {
    let world = World::new().await;
    let viewer = world.token(Role::Viewer).await;
    let mut open = Vec::new();
    for _ in 0..api::STREAMS_MAX {
        let response = world.ask(&viewer, "GET", "/stream", &Value::Null).await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    for path in ["/stream", "/services/web/logs/stream"] {
        let (status, body) = read(world.ask(&viewer, "GET", path, &Value::Null).await).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(body["code"], "api.streams");
    }
    open.pop();
    let response = world.ask(&viewer, "GET", "/stream", &Value::Null).await;
    assert_eq!(response.status(), StatusCode::OK);
}

async fn status_of(world: &World, method: &str, path: &str, token: Option<&str>, bytes: usize) -> StatusCode {
    let mut request = request(method, path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = format!("{{\"filler\": \"{}\"}}", "x".repeat(bytes));
    world.send(request.body(Body::from(body)).unwrap()).await.status()
}

#[tokio::test]
async fn bodies_have_a_limit_per_route() {
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    let too_large = StatusCode::PAYLOAD_TOO_LARGE;
    let status = status_of(&world, "POST", "/session", None, api::SIGN_IN_BYTES_MAX).await;
    assert_eq!(status, too_large, "anybody may send this one");
    assert_ne!(status_of(&world, "POST", "/session", None, api::SIGN_IN_BYTES_MAX - 64).await, too_large);
    let token = Some(admin.text.as_str());
    for (method, path) in [("POST", "/people"), ("PUT", "/secrets/A"), ("POST", "/services/web/exec")] {
        assert_eq!(status_of(&world, method, path, token, api::BODY_BYTES_MAX).await, too_large, "{path}");
    }
    assert_ne!(status_of(&world, "POST", "/plans", token, api::BODY_BYTES_MAX).await, too_large);
    assert_eq!(status_of(&world, "POST", "/plans", token, api::PLAN_BYTES_MAX).await, too_large);
}

#[tokio::test]
async fn the_largest_secret_fits_whatever_it_is_made_of() {
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    let value = "\n".repeat(secrets_api::Value::SIZE_BYTES_MAX);
    let response = world.ask(&admin, "PUT", "/secrets/A", &json!({"value": value})).await;
    assert_eq!(response.status(), StatusCode::OK);
}
