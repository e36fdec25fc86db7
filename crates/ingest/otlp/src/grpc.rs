//! OTLP over gRPC: one unary call, framed here rather than by a gRPC library (ADR 0088).
//!
//! Source: "gRPC over HTTP2" of the gRPC project. A message is a flag (packed or not), its length in
//! four bytes, and itself; the status follows in trailers.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;

use crate::{
    Error, Receiver, Taken,
    body::{self, Encoding},
    http::{outcome, response_message, said, sender, status_message, within},
};

/// All paths of [`grpc`], for the table of a gate; each takes POST.
pub const GRPC_PATHS: [&str; 4] = [
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
];
const SIGNALS: [&str; 4] = ["metrics", "traces", "logs", "profiles"];

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// Flag and length before a message.
const PREFIX_BYTES: usize = 5;

/// Routes for OTLP over gRPC, to be served over HTTP/2. The gate before them is as for
/// [`crate::router`].
pub fn grpc(receiver: Arc<Receiver>) -> Router {
    let mut router = Router::new();
    for (path, signal) in GRPC_PATHS.into_iter().zip(SIGNALS) {
        let handler = match signal {
            "metrics" => post(export),
            _ => post(move || async move { refusal(&Error::NotYet { signal }) }),
        };
        router = router.route(path, handler);
    }
    router.with_state(receiver)
}

async fn export(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let done = within(&receiver, take(&receiver, request)).await;
    receiver.stats.request(outcome(&done));
    match done {
        Ok(taken) => answer(&taken),
        Err(error) => refusal(&error),
    }
}

async fn take(receiver: &Receiver, request: Request) -> Result<Taken, Error> {
    let (parts, body) = request.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = text("content-type");
    if content_type != "application/grpc" && content_type != "application/grpc+proto" {
        return Err(Error::ContentType { sent: content_type.chars().take(64).collect() });
    }
    let (ctx, stamp) = sender(&parts.extensions)?;
    let _permit = receiver.requests.try_acquire().map_err(|_| Error::Busy)?;
    let limits = &receiver.limits;
    let mut held = receiver.memory.hold();
    let mut framed = body::read(body, limits.body_bytes_max, &mut held).await?;
    let packed = unframe(&framed)?;
    framed.drain(..PREFIX_BYTES);
    let encoding = if packed { Encoding::of(text("grpc-encoding"))? } else { Encoding::Plain };
    let message = body::unpack(encoding, framed, limits.message_bytes_max, &mut held).await?;
    receiver.receive(&ctx.scope.tenant, &stamp, &message).await
}

/// Whether the one message in `framed` is packed.
fn unframe(framed: &[u8]) -> Result<bool, Error> {
    let malformed = |why: &str| Error::Malformed { why: why.into() };
    let [flag, a, b, c, d, message @ ..] = framed else {
        return Err(malformed("the call has no message"));
    };
    let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    if message.len() != len {
        return Err(malformed("the call has not exactly one message"));
    }
    match flag {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(malformed("the message has an unknown flag")),
    }
}

fn answer(taken: &Taken) -> Response {
    let message = response_message(taken);
    let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let frames: [Result<_, std::convert::Infallible>; 2] =
        [Ok(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
    respond(Body::new(StreamBody::new(stream::iter(frames))))
}

/// A refusal has no message, so its status stands among the headers ("Trailers-Only").
fn refusal(error: &Error) -> Response {
    let mut response = respond(Body::empty());
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(error.grpc_status()));
    if let Ok(message) = HeaderValue::from_str(&percent(&said(error))) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Ok(details) = HeaderValue::from_str(&STANDARD_NO_PAD.encode(status_message(error))) {
        headers.insert(GRPC_STATUS_DETAILS, details);
    }
    response
}

fn respond(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, zstd, identity"));
    response
}

/// As `grpc-message` is written: printable ASCII but `%` as it is.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_message_is_taken() {
        assert_eq!(unframe(&[1, 0, 0, 0, 1, 9]), Ok(true));
        for framed in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 2, 9], &[0, 0, 0, 0, 1, 9, 9], &[7, 0, 0, 0, 0]] {
            assert!(unframe(framed).is_err(), "{framed:?}");
        }
    }

    #[test]
    fn messages_are_written_in_ascii() {
        assert_eq!(percent("50% ü"), "50%25 %C3%BC");
    }
}
