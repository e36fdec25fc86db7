//! Sessions as a browser brings them.

use axum::{body::Body, http::StatusCode};
use serde_json::json;

use crate::world::{World, request};

#[tokio::test]
async fn cookies_may_come_in_several_fields() {
    let world = World::new().await;
    let (session, csrf) = world.session();
    // As HTTP/2 lets a browser split them.
    let request = request("PUT", "/session/password")
        .header("cookie", "theme=dark")
        .header("cookie", format!("stead_session={session}"))
        .header("cookie", "a=b")
        .header("x-stead-csrf", csrf)
        .body(Body::from(json!({"password": "correct horse battery staple"}).to_string()))
        .unwrap();
    assert_eq!(world.send(request).await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn two_sessions_are_refused_also_in_two_fields() {
    let world = World::new().await;
    let (session, _) = world.session();
    let request = request("GET", "/session")
        .header("cookie", format!("stead_session={session}"))
        .header("cookie", "stead_session=planted")
        .body(Body::empty())
        .unwrap();
    assert!(world.send(request).await.status().is_client_error());
}

#[tokio::test]
async fn a_change_needs_the_csrf_token() {
    let world = World::new().await;
    let (session, _) = world.session();
    let request = request("POST", "/machine/backup")
        .header("cookie", format!("stead_session={session}"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.status(), StatusCode::FORBIDDEN);
}
