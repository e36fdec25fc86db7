//! Streams end when their reader may no longer read.

use std::time::Duration;

use access::Role;
use axum::{body::Body, http::Response};
use futures_util::StreamExt;
use serde_json::Value;

use crate::world::{World, ctx};

/// Reads until the stream ends; gives how long it took, or none after `longest`.
async fn ends(response: Response<Body>, longest: Duration) -> Option<Duration> {
    let begin = tokio::time::Instant::now();
    let mut body = response.into_body().into_data_stream();
    tokio::time::timeout(longest, async { while body.next().await.is_some() {} }).await.ok()?;
    Some(begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_reads_on_for_at_most_half_a_minute() {
    let world = World::new().await;
    for path in ["/stream", "/services/web/logs/stream"] {
        let token = world.token(Role::Viewer).await;
        let response = world.ask(&token, "GET", path, &Value::Null).await;
        assert!(response.status().is_success());
        world.access.revoke_token(&ctx(), &token.id, "test").await.unwrap();
        let ended = ends(response, Duration::from_secs(120)).await;
        assert!(ended.is_some_and(|after| after <= Duration::from_secs(31)), "{path} {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_still_may_reads_on() {
    let world = World::new().await;
    let token = world.token(Role::Viewer).await;
    let response = world.ask(&token, "GET", "/stream", &Value::Null).await;
    assert_eq!(ends(response, Duration::from_secs(600)).await, None);
}

#[tokio::test(start_paused = true)]
async fn names_of_another_environment_are_not_told() {
    let world = World::new().await;
    let token = world.limited(Role::Admin, access::TokenScope::ALL, Some(&["staging"])).await;
    let response = world.ask(&token, "GET", "/stream?environment=staging", &Value::Null).await;
    assert!(response.status().is_success());
    let put = |environment: &str, name: &str| {
        let scope = base::Scope {
            environment: base::Environment::parse(environment).unwrap(),
            ..base::Scope::default()
        };
        let key = state::Key::new(&scope, "service", name);
        state::Put::Put { key, body: Value::Null, index: Vec::new() }
    };
    let puts = vec![put("default", "hidden"), put("staging", "shown")];
    let mut body = response.into_body().into_data_stream();
    let mut heard = String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap();
    world.state.commit(state::Commit { puts, ..state::Commit::default() }).await.unwrap();
    while !heard.contains("shown") {
        heard.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(!heard.contains("hidden"), "{heard}");
}
