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
async fn an_upload_has_a_limit_announced_or_not() {
    use futures_util::stream;
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    let upload = |length: Option<u64>, body: Body| {
        let mut request =
            request("PUT", "/artifacts").header("authorization", format!("Bearer {}", admin.text));
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        world.send(request.body(body).unwrap())
    };
    let (status, body) = read(upload(Some(api::ARTIFACTS_BYTES_MAX + 1), Body::empty()).await).await;
    assert_eq!((status, &body["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("api.artifacts")));
    // The same part again and again: it takes no memory.
    let part = bytes::Bytes::from(vec![0; 1 << 20]);
    let parts = |count: u64| {
        let part = part.clone();
        Body::from_stream(stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(part.clone()))))
    };
    let most = api::ARTIFACTS_BYTES_MAX >> 20;
    assert_eq!(upload(None, parts(most)).await.status(), StatusCode::OK);
    let (status, body) = read(upload(None, parts(most + 1)).await).await;
    assert_eq!((status, &body["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("api.artifacts")));
}

#[tokio::test]
async fn what_no_handler_sees_is_refused_as_a_problem_too() {
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    for (method, path, form, body, status, code) in [
        ("POST", "/people", "application/json", "{", 400, "api.body"),
        ("POST", "/people", "application/json", "{\"name\": 7}", 422, "api.body"),
        ("POST", "/people", "text/plain", "{}", 415, "api.body"),
        ("POST", "/people", "application/json", "", 400, "api.body"),
        ("GET", "/events?limit=many", "", "", 400, "api.query"),
        ("GET", "/events?from=yesterday", "", "", 422, "api.invalid"),
        ("GET", "/services/%ff", "", "", 400, "api.path"),
        ("GET", "/no/such/route", "", "", 404, "api.no_route"),
    ] {
        let asked = request(method, path).header("authorization", format!("Bearer {}", admin.text));
        let mut asked = asked.body(Body::from(body)).unwrap();
        asked.headers_mut().insert("content-type", form.parse().unwrap());
        let response = world.send(asked).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path} {body}");
        let (got, problem) = read(response).await;
        assert_eq!((got.as_u16(), &problem["code"]), (status, &json!(code)), "{path} {body}: {problem}");
        assert_eq!(problem["status"], status);
    }
    let large = request("POST", "/people")
        .header("authorization", format!("Bearer {}", admin.text))
        .header("content-type", "application/json")
        .body(Body::from(format!("\"{}\"", "x".repeat(api::BODY_BYTES_MAX))))
        .unwrap();
    let response = world.send(large).await;
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_largest_secret_fits_whatever_it_is_made_of() {
    let world = World::new().await;
    let admin = world.token(Role::Admin).await;
    let value = "\n".repeat(secrets_api::Value::SIZE_BYTES_MAX);
    let response = world.ask(&admin, "PUT", "/secrets/A", &json!({"value": value})).await;
    assert_eq!(response.status(), StatusCode::OK);
}
