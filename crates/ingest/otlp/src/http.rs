//! OTLP over HTTP: paths, encodings, answers.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::post,
};
use base::{Ctx, Fault};

use crate::{
    Error, RETRY_AFTER_SECONDS, Receiver, Stamp, Taken,
    body::{self, Encoding},
    json,
    stats::Outcome,
    wire::{begin_message, end_message, put_bytes, put_key, put_varint},
};

/// All paths of [`router`], for the table of a gate; each takes POST. An exporter finds the receiver
/// under its own default or under the one that Prometheus has.
pub const HTTP_PATHS: [&str; 8] = [
    "/v1/metrics",
    "/v1/traces",
    "/v1/logs",
    "/v1/profiles",
    "/otlp/v1/metrics",
    "/otlp/v1/traces",
    "/otlp/v1/logs",
    "/otlp/v1/profiles",
];

/// Routes for OTLP over HTTP. A gate has to stand before them and leave a [`Ctx`] among the request's
/// extensions, and a [`Stamp`] for a workload; without a `Ctx` nothing is taken.
pub fn router(receiver: Arc<Receiver>) -> Router {
    let mut router = Router::new();
    for path in HTTP_PATHS {
        let signal = path.rsplit('/').next().unwrap_or_default();
        let handler = match signal {
            "metrics" => post(metrics),
            _ => post(move |request: Request| not_yet(request, signal)),
        };
        router = router.route(path, handler);
    }
    router.with_state(receiver)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, Error> {
        let sent =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => Err(Error::ContentType { sent: sent.chars().take(64).collect() }),
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

async fn metrics(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    let form = Form::of(request.headers());
    let done = match &form {
        Ok(form) => within(&receiver, take(&receiver, *form, request)).await,
        Err(error) => Err(error.clone()),
    };
    receiver.stats.request(outcome(&done));
    match done {
        Ok(taken) => answer(StatusCode::OK, form.unwrap_or(Form::Protobuf), &taken),
        Err(error) => refusal(form.unwrap_or(Form::Json), &error),
    }
}

async fn not_yet(request: Request, signal: &'static str) -> Response {
    refusal(Form::of(request.headers()).unwrap_or(Form::Json), &Error::NotYet { signal })
}

/// Ends `work` at the receiver's time limit.
pub(crate) async fn within<T>(
    receiver: &Receiver,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = receiver.limits.request_time_max;
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or(Err(Error::Timeout { after_ms: limit.as_millis() as u64 }))
}

async fn take(receiver: &Receiver, form: Form, request: Request) -> Result<Taken, Error> {
    let (parts, body) = request.into_parts();
    let (ctx, stamp) = sender(&parts.extensions)?;
    let _permit = receiver.requests.try_acquire().map_err(|_| Error::Busy)?;
    let sent = parts.headers.get(header::CONTENT_ENCODING).map_or(Ok(""), HeaderValue::to_str);
    let encoding = Encoding::of(sent.unwrap_or("?"))?;
    let limits = &receiver.limits;
    let mut held = receiver.memory.hold();
    let packed = body::read(body, limits.body_bytes_max, &mut held).await?;
    let mut message = body::unpack(encoding, packed, limits.message_bytes_max, &mut held).await?;
    if form == Form::Json {
        let limit = json::bytes_max(&message, limits.message_bytes_max);
        held.grow(limit)?;
        // Nothing to supervise: as many run as requests may, each ends by itself, and its end is awaited.
        let rewritten = tokio::task::spawn_blocking(move || json::to_protobuf(&message, limit)).await;
        message = rewritten.map_err(|error| Error::Unavailable { why: error.to_string() })??;
    }
    receiver.receive(&ctx.scope.tenant, &stamp, &message).await
}

/// Who sends, as the gate found it.
pub(crate) fn sender(extensions: &axum::http::Extensions) -> Result<(Ctx, Stamp), Error> {
    let ctx = extensions.get::<Ctx>().cloned().ok_or(Error::NoSender)?;
    Ok((ctx, extensions.get::<Stamp>().cloned().unwrap_or_default()))
}

pub(crate) fn outcome(done: &Result<Taken, Error>) -> Outcome {
    match done {
        Ok(taken) if taken.refused == 0 => Outcome::Taken,
        Ok(_) => Outcome::Partial,
        Err(Error::Malformed { .. }) => Outcome::Malformed,
        Err(Error::TooLarge { .. }) => Outcome::TooLarge,
        Err(Error::ContentType { .. } | Error::Encoding { .. } | Error::NotYet { .. }) => {
            Outcome::Unsupported
        }
        Err(Error::Busy) => Outcome::Busy,
        Err(Error::Unavailable { .. }) => Outcome::Unavailable,
        Err(Error::NoSender | Error::Timeout { .. }) => Outcome::Other,
    }
}

/// An `ExportMetricsServiceResponse`; empty when all was taken, as the specification asks.
pub(crate) fn response_message(taken: &Taken) -> Vec<u8> {
    let mut out = Vec::new();
    if taken.refused > 0 || !taken.message.is_empty() {
        let start = begin_message(&mut out, 1);
        put_key(&mut out, 1, 0);
        put_varint(&mut out, taken.refused);
        put_bytes(&mut out, 2, taken.message.as_bytes());
        end_message(&mut out, start);
    }
    out
}

fn answer(status: StatusCode, form: Form, taken: &Taken) -> Response {
    let body = match form {
        Form::Protobuf => response_message(taken),
        Form::Json if taken.refused == 0 && taken.message.is_empty() => b"{}".to_vec(),
        Form::Json => serde_json::json!({"partialSuccess": {
            "rejectedDataPoints": taken.refused.to_string(), "errorMessage": taken.message,
        }})
        .to_string()
        .into_bytes(),
    };
    respond(status, form, body)
}

/// A `google.rpc.Status` with the code that gRPC would give.
pub(crate) fn status_message(error: &Error) -> Vec<u8> {
    let mut out = Vec::new();
    put_key(&mut out, 1, 0);
    put_varint(&mut out, u64::from(error.grpc_status()));
    put_bytes(&mut out, 2, said(error).as_bytes());
    if error.is_passing() {
        let details = begin_message(&mut out, 3);
        put_bytes(&mut out, 1, b"type.googleapis.com/google.rpc.RetryInfo");
        let info = begin_message(&mut out, 2);
        let delay = begin_message(&mut out, 1);
        put_key(&mut out, 1, 0);
        put_varint(&mut out, RETRY_AFTER_SECONDS);
        end_message(&mut out, delay);
        end_message(&mut out, info);
        end_message(&mut out, details);
    }
    out
}

pub(crate) fn said(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

fn refusal(form: Form, error: &Error) -> Response {
    let body = match form {
        Form::Protobuf => status_message(error),
        Form::Json => {
            serde_json::json!({"code": error.grpc_status(), "message": said(error)}).to_string().into_bytes()
        }
    };
    let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, form, body);
    if error.is_passing() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    response
}

fn respond(status: StatusCode, form: Form, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, form.content_type());
    response
}
