//! Serves the web interface: the files that `npm --prefix ui run build` leaves in `ui/dist`.
//!
//! A release build carries the files within the binary; a debug build reads them from disk at every
//! request, so that a new build of the interface needs no new build of Stead. Without a build there
//! is a page that says how to make one.
//!
//! It is not an API and knows none: it answers nothing under `/api/`. Every other path that is no
//! file is the interface's own (`/services/checkout.db`) and gets the page, which routes by itself.
//!
//! What keeps a page safe stands in [`headers`]: only scripts and styles of our own run, nothing is
//! framed, nothing is loaded from elsewhere. Styles that the component library writes at run time
//! carry a nonce that is new for each answer, which is why the page itself is never cached.
//!
//! Enter at [`router`]; merge it last: `api.merge(web::router())`.

#![forbid(unsafe_code)]

mod headers;

use std::borrow::Cow;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    routing::get,
};
use rust_embed::{EmbeddedFile, RustEmbed};

use headers::Nonce;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../../ui/dist"]
struct Dist;

const PAGE: &str = "index.html";
/// Names in here hold a digest of the content: what was fetched once never changes.
const HASHED: &str = "assets/";
const FOREVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";
const NONCE_PLACE: &str = "__CSP_NONCE__";
const NOT_BUILT: &str = include_str!("not-built.html");

/// All paths that no other route takes. Answers `GET` and `HEAD`.
pub fn router() -> Router {
    Router::new().route("/", get(answer)).route("/{*path}", get(answer))
}

async fn answer(request: Request) -> Response<Body> {
    let path = request.uri().path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return text(StatusCode::NOT_FOUND, "no such route in this version of the api");
    }
    if path != PAGE && !is_hidden(path) {
        if let Some(file) = Dist::get(path) {
            return asset(path, file, request.headers(), request.method());
        }
        if path.starts_with(HASHED) {
            return text(StatusCode::NOT_FOUND, "no such file in this version of the interface");
        }
    }
    page()
}

/// The page, with a nonce of its own.
fn page() -> Response<Body> {
    let nonce = match Nonce::new() {
        Ok(nonce) => nonce,
        Err(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers"),
    };
    let source: Cow<'static, str> = match Dist::get(PAGE) {
        Some(file) => Cow::Owned(String::from_utf8_lossy(&file.data).into_owned()),
        None => Cow::Borrowed(NOT_BUILT),
    };
    let mut response = Response::new(Body::from(source.replace(NONCE_PLACE, nonce.as_str())));
    headers::guard(response.headers_mut());
    headers::guard_page(response.headers_mut(), &nonce);
    set(response.headers_mut(), header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(response.headers_mut(), header::CACHE_CONTROL, "no-store");
    response
}

/// A file, in the smallest form that the client takes, or 304 when it has it already.
fn asset(path: &str, file: EmbeddedFile, asked: &HeaderMap, method: &Method) -> Response<Body> {
    let (file, encoding) = smallest(path, file, asked);
    let digest = file.metadata.sha256_hash();
    let tag = format!("\"{:032x}\"", u128::from_be_bytes(first_16(&digest)));
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers::guard(headers);
    set(headers, header::CACHE_CONTROL, if path.starts_with(HASHED) { FOREVER } else { ASK_AGAIN });
    set(headers, header::VARY, "accept-encoding");
    set(headers, header::ETAG, &tag);
    if asked.get_all(header::IF_NONE_MATCH).iter().any(|known| names(known, &tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    set(headers, header::CONTENT_TYPE, media_type(path));
    set(headers, header::CONTENT_LENGTH, &file.data.len().to_string());
    if let Some(encoding) = encoding {
        set(headers, header::CONTENT_ENCODING, encoding);
    }
    if *method != Method::HEAD {
        *response.body_mut() = Body::from(file.data.into_owned());
    }
    response
}

/// The build writes `.br` and `.gz` beside each larger text file.
fn smallest(path: &str, plain: EmbeddedFile, asked: &HeaderMap) -> (EmbeddedFile, Option<&'static str>) {
    for (encoding, ending) in [("br", "br"), ("gzip", "gz")] {
        if accepts(asked, encoding)
            && let Some(file) = Dist::get(&format!("{path}.{ending}"))
        {
            return (file, Some(encoding));
        }
    }
    (plain, None)
}

/// Whether `Accept-Encoding` names it, and not with `q=0`.
fn accepts(asked: &HeaderMap, encoding: &str) -> bool {
    asked
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            let refused = weight
                .trim()
                .strip_prefix("q=")
                .and_then(|q| q.parse::<f32>().ok())
                .is_some_and(|q| q <= 0.0);
            name.trim().eq_ignore_ascii_case(encoding) && !refused
        })
}

fn names(known: &HeaderValue, tag: &str) -> bool {
    known.to_str().is_ok_and(|known| {
        known.split(',').any(|one| {
            let one = one.trim();
            one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
        })
    })
}

/// Compressed forms are reached by `Accept-Encoding` only; the placeholder of an empty build never.
fn is_hidden(path: &str) -> bool {
    path.starts_with('.') || path.ends_with(".br") || path.ends_with(".gz")
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

fn first_16(digest: &[u8; 32]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

fn text(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(words));
    *response.status_mut() = status;
    headers::guard(response.headers_mut());
    set(response.headers_mut(), header::CONTENT_TYPE, "text/plain; charset=utf-8");
    set(response.headers_mut(), header::CACHE_CONTROL, "no-store");
    response
}

/// All values are made here and are plain ASCII; one that were not would be left out.
fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
