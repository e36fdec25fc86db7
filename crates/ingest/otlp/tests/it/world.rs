//! A receiver into a store in memory, and what is in it as text.

use std::sync::Arc;

use axum::{Extension, Router, body::Body, http::Request};
use base::{Ctx, Scope, Tenant, Timestamp, time::ManualClock};
use http_body_util::BodyExt;
use metrics_api::{
    Budget, Histogram, LabelQuery, Limits as QueryLimits, Reader, Samples, Select, Span, TimeRange, is_stale,
    memory::MemoryStore,
};
use otlp::{Limits, Receiver, Settings, Stamp};
use tower::ServiceExt;

pub struct World {
    pub store: Arc<MemoryStore>,
    pub receiver: Arc<Receiver>,
    pub stamp: Stamp,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl World {
    pub fn new(settings: Settings, limits: Limits) -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let receiver = Receiver::new(settings, limits, store.clone(), clock);
        Self { store, receiver, stamp: Stamp::default() }
    }

    pub fn plain() -> Self {
        Self::new(Settings::default(), Limits::default())
    }

    /// Both surfaces, with what a gate leaves behind.
    pub fn router(&self) -> Router {
        let ctx = Ctx::system("test", Scope { tenant: Tenant::default(), environment: Default::default() });
        otlp::router(self.receiver.clone())
            .merge(otlp::grpc(self.receiver.clone()))
            .layer(Extension(ctx))
            .layer(Extension(self.stamp.clone()))
    }

    pub async fn send(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let mut headers = parts.headers;
        headers.extend(body.trailers().cloned().unwrap_or_default());
        Answer { status: parts.status.as_u16(), headers, body: body.to_bytes().to_vec() }
    }

    pub async fn json(&self, body: &str) -> Answer {
        self.send("/v1/metrics", &[("content-type", "application/json")], body.to_owned()).await
    }

    /// Metrics of one scope of the resource `service.name=shop`, by their JSON.
    pub async fn metrics(&self, metrics: &str) -> Answer {
        self.json(&request(r#"{"key":"service.name","value":{"stringValue":"shop"}}"#, metrics)).await
    }

    /// Every sample and exemplar that is stored, one to a line, in order of labels.
    pub async fn stored(&self) -> Vec<String> {
        let (tenant, budget) = (Tenant::default(), Budget::new(QueryLimits::default()));
        let select = Select { matchers: Vec::new(), range: TimeRange::ALL };
        let mut lines = Vec::new();
        let mut found = self.store.select(&tenant, &select, &budget).await.unwrap().series;
        found.sort_by(|a, b| a.labels().cmp(b.labels()));
        for series in &mut found {
            let mut samples = Samples::default();
            series.read(TimeRange::ALL, &mut samples).unwrap();
            for (time_ms, value) in samples.float_times.iter().zip(&samples.floats) {
                let value = if is_stale(*value) { "stale".to_owned() } else { value.to_string() };
                lines.push(format!("{} {value} @{}", series.labels(), ago(*time_ms)));
            }
            for (time_ms, histogram) in samples.histogram_times.iter().zip(&samples.histograms) {
                lines.push(format!("{} {} @{}", series.labels(), shown(histogram), ago(*time_ms)));
            }
        }
        let every = LabelQuery { any_of: Vec::new(), range: TimeRange::ALL, limit: 0 };
        for of in self.store.exemplars(&tenant, &every).await.unwrap() {
            for exemplar in of.exemplars {
                let (series, at) = (&of.series, ago(exemplar.time_ms));
                lines.push(format!("{series} # {} {} @{at}", exemplar.labels, exemplar.value));
            }
        }
        lines
    }
}

/// Seconds after the first second of the cases.
fn ago(time_ms: i64) -> f64 {
    (time_ms - 1_700_000_000_000) as f64 / 1000.0
}

fn shown(histogram: &Histogram) -> String {
    if histogram.is_stale() {
        return "stale".into();
    }
    let side = |spans: &[Span], counts: &[f64]| {
        let (mut at, mut counts, mut shown) = (0, counts.iter(), Vec::new());
        for span in spans {
            at += span.offset;
            for _ in 0..span.length {
                shown.push(format!("{at}:{}", counts.next().unwrap()));
                at += 1;
            }
        }
        shown.join(" ")
    };
    let mut text = format!("{{schema:{} count:{} sum:{}", histogram.schema, histogram.count, histogram.sum);
    if histogram.uses_custom_buckets() {
        text.push_str(&format!(" bounds:{:?}", histogram.custom_values));
    } else {
        text.push_str(&format!(" zero:{} of {:e}", histogram.zero_count, histogram.zero_threshold));
    }
    for (sign, spans, counts) in [
        ('+', &histogram.positive_spans, &histogram.positive_buckets),
        ('-', &histogram.negative_spans, &histogram.negative_buckets),
    ] {
        if !counts.is_empty() {
            text.push_str(&format!(" {sign}[{}]", side(spans, counts)));
        }
    }
    text + "}"
}

pub fn request(attributes: &str, metrics: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{attributes}]}},
            "scopeMetrics":[{{"scope":{{"name":"lib","version":"1"}},"metrics":[{metrics}]}}]}}]}}"#
    )
}

/// A request in binary form with one gauge of `points` points, `attribute` on each.
pub fn gauge(points: usize, attribute: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut len = bytes.len();
        while len >= 0x80 {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        [out, bytes.to_vec()].concat()
    };
    let mut data = Vec::new();
    for at in 0..points {
        let value = field(1, attribute.as_bytes());
        let pair = [field(1, b"k"), field(2, &value)].concat();
        let time = (1_700_000_000_000u64 + at as u64) * 1_000_000;
        let mut point = field(7, &pair);
        point.push(3 << 3 | 1);
        point.extend(time.to_le_bytes());
        point.push(4 << 3 | 1);
        point.extend((at as f64).to_le_bytes());
        data.extend(field(1, &point));
    }
    let metric = [field(1, b"load"), field(5, &data)].concat();
    field(1, &field(2, &field(2, &metric)))
}
