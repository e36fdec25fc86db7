//! Where a change may come from.

use axum::{body::Body, http::StatusCode};
use serde_json::json;

use crate::world::{World, read, request};

/// Whether a sign-in from `origin` to `host` reaches the handler. `h2` puts the host where HTTP/2 has
/// it: in the request's target.
async fn comes_in(world: &World, origin: &str, host: &str, h2: bool) -> bool {
    let mut request =
        request("POST", "/session").body(Body::from(json!({"link": "none"}).to_string())).unwrap();
    request.headers_mut().remove("host");
    if h2 {
        *request.uri_mut() = format!("http://{host}{}/session", api::PREFIX).parse().unwrap();
    } else {
        request.headers_mut().insert("host", host.parse().unwrap());
    }
    request.headers_mut().insert("origin", origin.parse().unwrap());
    let (status, body) = read(world.send(request).await).await;
    match status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::FORBIDDEN => {
            assert_eq!(body["code"], "access.origin");
            false
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_name_that_was_pointed_here_does_not_come_in() {
    let mut world = World::new().await;
    for h2 in [false, true] {
        for own in [
            "127.0.0.1:7070",
            "localhost:7070",
            "stead.localhost:7070",
            "[::1]:7070",
            "192.168.1.5:7070",
            "build-host:7070",
            "BUILD-host:7070",
        ] {
            assert!(comes_in(&world, &format!("http://{own}"), own, h2).await, "{own} {h2}");
        }
        for (origin, host) in [
            // Rebound: the page's own name, pointed at us.
            ("http://evil.example:7070", "evil.example:7070"),
            ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"),
            ("http://notlocalhost", "notlocalhost"),
            ("http://evil.example:7070", "evil.example@127.0.0.1:7070"),
            // Of another site, or of a service on another port of this machine.
            ("http://evil.example", "127.0.0.1:7070"),
            ("http://127.0.0.1:8080", "127.0.0.1:7070"),
            ("null", "127.0.0.1:7070"),
        ] {
            if h2 && host.contains('@') {
                continue;
            }
            assert!(!comes_in(&world, origin, host, h2).await, "{origin} {host} {h2}");
        }
    }
    // With TLS the certificate speaks for the name.
    world.ports.tls = true;
    assert!(comes_in(&world, "https://stead.example", "stead.example", false).await);
    assert!(!comes_in(&world, "https://evil.example", "stead.example", false).await);
}
