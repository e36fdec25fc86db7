//! The HTTP service around the decoder.

use std::{convert::Infallible, sync::Arc, task, time::Duration};

use base::{Class, Ctx, Fault as _, Scope, Tenant};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use metrics_api::{Appended, RefusalKind, Writer};
use tasks::Tasks;
use tokio::{sync::Semaphore, time::timeout};

use super::{BODY_BYTES_MAX, Decoded, Error, IN_FLIGHT_MAX, Stamp, decode};
use crate::Stats;

/// What the service answers: an empty body, or a reason as text.
pub type Answer = Response<Full<Bytes>>;

/// How long a body may take to come.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);
/// A body from this size on is decoded away from the threads that serve.
const DECODE_INLINE_BYTES_MAX: usize = 32 << 10;
/// What a client is told to wait before it sends again.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Takes requests of remote write. Cheap to clone; all clones are the same one.
#[derive(Debug, Clone)]
pub struct Receiver {
    writer: Arc<dyn Writer>,
    tasks: Tasks,
    stats: Arc<Stats>,
    places: Arc<Semaphore>,
}

impl Receiver {
    #[must_use]
    pub fn new(writer: Arc<dyn Writer>, tasks: Tasks, stats: Arc<Stats>) -> Self {
        Self { writer, tasks, stats, places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)) }
    }

    /// Answers one request.
    ///
    /// Dropping the future may leave a batch written; sending it again doubles nothing.
    pub async fn serve<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.stats.requests.add(1);
        let outcome = self.take(request).await;
        match outcome {
            Ok(done) => done,
            Err(refused) => {
                let counter =
                    if refused.again { &self.stats.requests_put_off } else { &self.stats.requests_refused };
                counter.add(1);
                refused.answer()
            }
        }
    }

    async fn take<B>(&self, request: Request<B>) -> Result<Answer, Refused>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if head.method != Method::POST {
            return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "remote write is a POST"));
        }
        let tenant = tenant(&head.extensions)
            .ok_or_else(|| Refused::new(StatusCode::UNAUTHORIZED, "the request has no tenant"))?;
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Refused::again(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{IN_FLIGHT_MAX} requests are under way"),
            ));
        };
        let body = whole(body).await?;
        let stamp = head.extensions.get::<Stamp>().cloned().unwrap_or_default();
        let decoded = self.decode(body, &head.headers, stamp).await?;
        self.write(&tenant, decoded).await
    }

    async fn decode(&self, body: Bytes, headers: &HeaderMap, stamp: Stamp) -> Result<Decoded, Refused> {
        let text = |name: header::HeaderName| {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let (encoding, kind) = (text(header::CONTENT_ENCODING), text(header::CONTENT_TYPE));
        let inline = body.len() < DECODE_INLINE_BYTES_MAX;
        let work = move || decode(&body, encoding.as_deref(), kind.as_deref(), &stamp);
        let decoded = if inline {
            work()
        } else {
            let done = self.tasks.blocking("remote-write.decode", work).await;
            done.map_err(|error| Refused::again(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?
        };
        decoded.map_err(|error| Refused::of(&error))
    }

    async fn write(&self, tenant: &Tenant, decoded: Decoded) -> Result<Answer, Refused> {
        let Decoded { batch, refused, histograms, metadata_dropped } = decoded;
        self.stats.dropped_metadata.add(metadata_dropped);
        let mut appended = if batch.is_empty() {
            Appended::default()
        } else {
            self.writer.write(tenant, batch).await.map_err(|error| {
                let status = match error.class() {
                    Class::Limit => StatusCode::TOO_MANY_REQUESTS,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                Refused::again(status, base::Problem::from_fault(&error).message)
            })?
        };
        appended.merge(refused);
        self.stats.appended(&appended);
        Ok(written(&appended, histograms))
    }
}

fn tenant(extensions: &http::Extensions) -> Option<Tenant> {
    let scope = extensions.get::<Ctx>().map(|ctx| &ctx.scope).or_else(|| extensions.get::<Scope>());
    scope.map(|scope| scope.tenant.clone())
}

async fn whole<B>(body: B) -> Result<Bytes, Refused>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refused::of(&Error::TooMany { what: "bytes", limit: BODY_BYTES_MAX }))
        }
        Ok(Err(error)) => Err(Refused::new(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come")),
    }
}

/// The answer to a request whose batch went to the store.
fn written(appended: &Appended, histograms: u64) -> Answer {
    // An exemplar is not worth a failed request: Prometheus only counts it too.
    let failed = appended.refused.iter().any(|refused| refused.0 != RefusalKind::Exemplar);
    let mut answer = Response::new(Full::default());
    if failed {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        let mut text =
            format!("{} samples were refused, {} kept", appended.refused_total(), appended.samples);
        for refusal in &appended.refusals {
            text.push_str(&format!("\n{}: {}", refusal.kind.as_str(), refusal.why));
        }
        text.push('\n');
        *answer.body_mut() = Full::from(text);
        answer.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    } else {
        *answer.status_mut() = StatusCode::NO_CONTENT;
    }
    // Refused histograms are not told apart by the store, so their number is an upper bound then.
    let histograms = histograms.min(appended.samples);
    for (name, count) in [
        ("x-prometheus-remote-write-samples-written", appended.samples - histograms),
        ("x-prometheus-remote-write-histograms-written", histograms),
        ("x-prometheus-remote-write-exemplars-written", appended.exemplars),
    ] {
        answer.headers_mut().insert(header::HeaderName::from_static(name), HeaderValue::from(count));
    }
    answer
}

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A request of which nothing was kept.
struct Refused {
    status: StatusCode,
    why: String,
    again: bool,
}

impl Refused {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), again: false }
    }
    fn again(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), again: true }
    }
    fn of(error: &Error) -> Self {
        let hint = error.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
        Self::new(error.status(), format!("{error}{hint}"))
    }
    fn answer(self) -> Answer {
        let mut answer = Response::new(Full::from(format!("{}\n", self.why)));
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(header::CONTENT_TYPE, TEXT);
        if self.again {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        answer
    }
}

/// So that any router can mount it.
impl<B> tower::Service<Request<B>> for Receiver
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let receiver = self.clone();
        Box::pin(async move { Ok(receiver.serve(request).await) })
    }
}
