//! What a browser gets. Works with and without a build of the interface in `ui/dist`.

#![allow(clippy::unwrap_used)]

use axum::{
    body::Body,
    http::{Request, Response, StatusCode},
};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn ask(request: Request<Body>) -> (StatusCode, axum::http::HeaderMap, String) {
    let response: Response<Body> = web::router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8_lossy(&bytes).into_owned())
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// The first script that the page names, when there is a build.
async fn script() -> Option<String> {
    let (_, _, page) = ask(get("/")).await;
    let from = page.find("/assets/")?;
    page[from..].split('"').next().map(str::to_owned)
}

#[tokio::test]
async fn every_path_of_the_interface_gets_the_page() {
    for path in ["/", "/services/checkout.db", "/sign-in", "/assets", "/index.html"] {
        let (status, headers, page) = ask(get(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(page.contains("<title>Stead</title>"), "{path}");
        assert!(!page.contains("__CSP_NONCE__"), "{path}");
    }
}

#[tokio::test]
async fn the_page_runs_nothing_that_is_not_ours() {
    let (_, first, page) = ask(get("/")).await;
    let policy = first["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    assert!(page.contains(&nonce), "the page does not carry the nonce of its policy");
    assert_eq!(first["x-content-type-options"], "nosniff");
    assert_eq!(first["referrer-policy"], "no-referrer");

    let (_, second, _) = ask(get("/")).await;
    assert_ne!(first["content-security-policy"], second["content-security-policy"], "a nonce was used twice");
}

#[tokio::test]
async fn the_api_is_never_answered_with_the_page() {
    for path in ["/api", "/api/stead/v1/nowhere"] {
        let (status, headers, _) = ask(get(path)).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    }
}

#[tokio::test]
async fn a_file_of_an_older_build_is_missing_and_no_page() {
    let (status, ..) = ask(get("/assets/index-of-an-older-build.js")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder() {
    for path in
        ["/../package.json", "/assets/../../package.json", "/%2e%2e/package.json", "/..%2fpackage.json"]
    {
        let (_, _, body) = ask(get(path)).await;
        assert!(!body.contains("devDependencies"), "{path}");
    }
}

#[tokio::test]
async fn only_reading_is_answered() {
    let request = Request::post("/").body(Body::empty()).unwrap();
    let (status, ..) = ask(request).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_hashed_file_is_kept_forever_compressed_and_known_again() {
    // Without a build there is no such file; the build of the interface comes first in `xtask test`.
    let Some(path) = script().await else { return };
    let plain = ask(get(&path)).await;
    assert_eq!(plain.0, StatusCode::OK);
    assert!(plain.1["cache-control"].to_str().unwrap().contains("immutable"));
    assert!(plain.1.get("content-encoding").is_none());

    let request = Request::get(&path).header("accept-encoding", "gzip;q=0, br").body(Body::empty()).unwrap();
    let small = ask(request).await;
    assert_eq!(small.1["content-encoding"], "br");
    assert_eq!(small.1["content-type"], plain.1["content-type"]);
    assert_ne!(small.1["etag"], plain.1["etag"], "two forms of a file need two tags");

    let request =
        Request::get(&path).header("if-none-match", plain.1["etag"].clone()).body(Body::empty()).unwrap();
    let (status, _, body) = ask(request).await;
    assert_eq!(status, StatusCode::NOT_MODIFIED);
    assert!(body.is_empty());

    let request = Request::head(&path).body(Body::empty()).unwrap();
    let (status, headers, body) = ask(request).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-length"], plain.1["content-length"]);
    assert!(body.is_empty());

    let (_, _, variant) = ask(get(&format!("{path}.br"))).await;
    assert!(!variant.is_empty());
}
