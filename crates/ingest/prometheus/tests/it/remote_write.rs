//! The receiver: what it keeps, what it refuses and with which status.

use std::sync::Arc;

use base::{Scope, Tenant};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use metrics_api::{
    Appended, CounterReset, Histogram, Labels, METRIC_NAME, NHCB_SCHEMA, RefusalKind, Span, WriteBatch,
    Writer,
};
use prometheus::{
    Stats,
    remote_write::{BODY_BYTES_MAX, Decoded, IN_FLIGHT_MAX, Receiver, SAMPLES_MAX, Stamp, decode},
};
use proptest::prelude::*;
use tasks::Tasks;

use crate::message::Message;

const KIND: &str = "application/x-protobuf";

pub fn label(name: &str, value: &str) -> Message {
    Message::default().text(1, name).text(2, value)
}

fn sample(time_ms: i64, value: f64) -> Message {
    Message::default().double(1, value).varint(2, time_ms as u64)
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Message {
    let series =
        labels.iter().fold(Message::default(), |series, pair| series.message(1, label(pair.0, pair.1)));
    samples.iter().fold(series, |series, one| series.message(2, sample(one.0, one.1)))
}

fn request(all: &[Message]) -> Vec<u8> {
    let request = all.iter().fold(Message::default(), |request, series| request.message(1, series.clone()));
    compress(&request.0)
}

fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

fn decoded(body: &[u8]) -> Decoded {
    decode(body, Some("snappy"), Some(KIND), &Stamp::default()).unwrap()
}

fn rows(batch: &WriteBatch) -> Vec<(String, Vec<(i64, f64)>)> {
    let row = |row: metrics_api::Row<'_>| {
        (Labels::from_bytes(row.labels).unwrap().to_string(), row.floats.to_vec())
    };
    batch.rows().map(row).collect()
}

#[test]
fn floats_are_kept_and_bad_series_left_out() {
    let body = request(&[
        series(&[(METRIC_NAME, "up"), ("a", "1"), ("e", "")], &[(1000, 1.0), (2000, f64::INFINITY)]),
        series(&[("z", "1"), (METRIC_NAME, "unsorted")], &[(-5, 2.0)]),
        series(&[("a", "1")], &[(1, 1.0), (2, 1.0)]),
        series(&[(METRIC_NAME, "twice"), ("a", "1"), ("a", "2")], &[(1, 1.0)]),
        series(&[(METRIC_NAME, "nameless"), ("", "1")], &[(1, 1.0)]),
    ]);
    let got = decoded(&body);
    assert_eq!(
        rows(&got.batch),
        [
            (r#"up{a="1"}"#.to_owned(), vec![(1000, 1.0), (2000, f64::INFINITY)]),
            (r#"unsorted{z="1"}"#.to_owned(), vec![(-5, 2.0)]),
        ]
    );
    assert_eq!(got.refused.refused, [(RefusalKind::Labels, 4)]);
    assert_eq!(got.refused.refusals[1].why, "series of \"twice\": a label is given twice");
}

#[test]
fn staleness_markers_keep_their_bits() {
    let body = request(&[series(&[(METRIC_NAME, "up")], &[(1, metrics_api::stale_nan())])]);
    let got = decoded(&body);
    assert!(metrics_api::is_stale(got.batch.rows().next().unwrap().floats[0].1));
}

#[test]
fn histograms_exemplars_and_metadata_are_kept() {
    let span = Message::default().sint(1, -1).varint(2, 2);
    let whole = Message::default()
        .varint(1, 6)
        .double(3, 2.5)
        .sint(4, 2)
        .double(5, 0.1)
        .varint(6, 1)
        .message(11, span.clone())
        .sint(12, 2)
        .sint(12, 1)
        .varint(14, 3)
        .varint(15, 77);
    let custom = Message::default()
        .double(2, 1.5)
        .double(3, 1.0)
        .sint(4, i64::from(NHCB_SCHEMA))
        .message(11, Message::default().sint(1, 0).varint(2, 1))
        .bytes(13, &1.5f64.to_le_bytes())
        .bytes(16, &[1.0f64.to_le_bytes(), 2.0f64.to_le_bytes()].concat())
        .varint(15, 78);
    let bad = Message::default().message(11, span).varint(15, 79);
    let exemplar = Message::default().message(1, label("trace_id", "t")).double(2, 0.5).varint(3, 9);
    let series = Message::default()
        .message(1, label(METRIC_NAME, "h"))
        .message(4, whole)
        .message(4, custom)
        .message(4, bad)
        .message(3, exemplar);
    let said = Message::default().varint(1, 3).text(2, "h").text(4, "help").text(5, "seconds");
    let got = decoded(&compress(&Message::default().message(1, series).message(3, said).0));
    let row = got.batch.rows().next().unwrap();
    assert_eq!(
        row.histograms[0],
        (
            77,
            Histogram {
                counter_reset: CounterReset::Gauge,
                schema: 2,
                zero_threshold: 0.1,
                zero_count: 1.0,
                count: 6.0,
                sum: 2.5,
                positive_spans: vec![Span { offset: -1, length: 2 }],
                positive_buckets: vec![2.0, 3.0],
                ..Histogram::default()
            }
        )
    );
    assert_eq!(
        (row.histograms[1].1.schema, &row.histograms[1].1.custom_values),
        (NHCB_SCHEMA, &vec![1.0, 2.0])
    );
    assert_eq!(got.refused.refused, [(RefusalKind::Histogram, 1)]);
    assert_eq!(
        (row.exemplars[0].time_ms, row.exemplars[0].labels.to_string()),
        (9, r#"{trace_id="t"}"#.to_owned())
    );
    assert_eq!(got.batch.metadata[0].0, "h");
    assert_eq!(got.batch.metadata[0].1.help, "help");
}

#[test]
fn what_claims_to_be_huge_is_refused_before_it_is_unpacked() {
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    assert!(decode(&bomb, None, Some(KIND), &Stamp::default()).is_err());
    let lie = [0x80, 0x80, 0x80, 0x20, 0x00];
    assert!(decode(&lie, None, Some(KIND), &Stamp::default()).is_err());
    let many = Message::default().message(1, {
        let mut series = Message::default().message(1, label(METRIC_NAME, "a"));
        series.0.extend([0x12, 0x00].repeat(SAMPLES_MAX + 1));
        series
    });
    let error = decode(&compress(&many.0), None, Some(KIND), &Stamp::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("the request has more than {SAMPLES_MAX} samples"));
}

#[test]
fn a_sender_cannot_speak_for_another() {
    let stamp =
        Stamp::new([("service".to_owned(), "shop".to_owned()), ("release".to_owned(), "r1".to_owned())]);
    let body = request(&[
        series(&[(METRIC_NAME, "a"), ("release", "forged")], &[(1, 1.0)]),
        series(&[(METRIC_NAME, "b"), ("exported_service", "x"), ("service", "forged")], &[(1, 1.0)]),
    ]);
    let got = decode(&body, None, Some(KIND), &stamp).unwrap();
    let names: Vec<String> = rows(&got.batch).into_iter().map(|row| row.0).collect();
    assert_eq!(
        names,
        [
            r#"a{exported_release="forged", release="r1", service="shop"}"#,
            r#"b{exported_service="x", release="r1", service="shop"}"#,
        ]
    );
}

/// Answers as told.
#[derive(Debug)]
struct Told(fn() -> metrics_api::Result<Appended>);

impl Writer for Told {
    fn write<'a>(&'a self, _: &'a Tenant, _: WriteBatch) -> BoxFuture<'a, metrics_api::Result<Appended>> {
        Box::pin(async { (self.0)() })
    }
}

fn receiver(told: fn() -> metrics_api::Result<Appended>) -> (Receiver, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    (Receiver::new(Arc::new(Told(told)), Tasks::new(tasks::Limits::default()), Arc::clone(&stats)), stats)
}

fn post(body: Vec<u8>, kind: &str, encoding: &str) -> Request<Full<Bytes>> {
    Request::post("/prometheus/api/v1/write")
        .header("content-type", kind)
        .header("content-encoding", encoding)
        .extension(Scope::default())
        .body(Full::from(body))
        .unwrap()
}

async fn answer(receiver: &Receiver, request: Request<Full<Bytes>>) -> (StatusCode, String, http::HeaderMap) {
    let (head, body) = receiver.serve(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, String::from_utf8(body.to_vec()).unwrap(), head.headers)
}

fn taken() -> metrics_api::Result<Appended> {
    Ok(Appended { samples: 1, ..Appended::default() })
}

#[tokio::test]
async fn each_outcome_has_the_status_of_prometheus() {
    let good = || request(&[series(&[(METRIC_NAME, "up")], &[(1, 1.0)])]);
    let nameless =
        request(&[series(&[(METRIC_NAME, "up")], &[(1, 1.0)]), series(&[("a", "1")], &[(1, 1.0)])]);
    for (body, kind, encoding, want) in [
        (good(), KIND, "snappy", 204),
        (good(), "application/x-protobuf;proto=prometheus.WriteRequest", "", 204),
        (good(), "application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", 415),
        (good(), "application/json", "snappy", 415),
        (good(), KIND, "gzip", 415),
        (b"nonsense".to_vec(), KIND, "snappy", 400),
        (compress(b"\x0a\x7f"), KIND, "snappy", 400),
        (nameless, KIND, "snappy", 400),
        (vec![0; BODY_BYTES_MAX + 1], KIND, "snappy", 413),
    ] {
        let (receiver, _) = receiver(taken);
        let (status, text, _) = answer(&receiver, post(body, kind, encoding)).await;
        assert_eq!(status.as_u16(), want, "{kind} {encoding}: {text}");
        assert_eq!(text.is_empty(), want == 204, "{text}");
    }
}

#[tokio::test]
async fn what_the_store_says_decides_whether_to_send_again() {
    let good = || request(&[series(&[(METRIC_NAME, "up")], &[(1, 1.0)])]);
    let late: fn() -> _ = || {
        let mut appended = Appended { samples: 3, exemplars: 1, ..Appended::default() };
        appended.refuse(RefusalKind::TooOld, 2, || "up at 1: too old".into());
        Ok(appended)
    };
    let exemplar: fn() -> _ = || {
        let mut appended = Appended::default();
        appended.refuse(RefusalKind::Exemplar, 2, || "no".into());
        Ok(appended)
    };
    let full: fn() -> _ = || Err(metrics_api::Error::Limit { what: "series", limit: 1 });
    let down: fn() -> _ = || Err(metrics_api::Error::Unavailable { why: "shutting down".into() });
    for (told, want, again) in
        [(late, 400, false), (exemplar, 204, false), (full, 429, true), (down, 503, true)]
    {
        let (receiver, stats) = receiver(told);
        let (status, text, headers) = answer(&receiver, post(good(), KIND, "snappy")).await;
        assert_eq!((status.as_u16(), headers.contains_key("retry-after")), (want, again), "{text}");
        assert_eq!(stats.requests_put_off.get(), u64::from(again));
        if want == 400 {
            assert_eq!(text, "2 samples were refused, 3 kept\ntoo_old: up at 1: too old\n");
            assert_eq!(headers["x-prometheus-remote-write-samples-written"], "3");
            assert_eq!((stats.dropped_too_old.get(), stats.samples.get()), (2, 3));
        }
    }
}

#[tokio::test]
async fn who_has_no_tenant_is_refused_and_so_is_one_too_many() {
    let (receiver, _) = receiver(taken);
    let mut request = post(Vec::new(), KIND, "snappy");
    request.extensions_mut().clear();
    assert_eq!(answer(&receiver, request).await.0, StatusCode::UNAUTHORIZED);
    let mut get = post(Vec::new(), KIND, "snappy");
    *get.method_mut() = http::Method::GET;
    assert_eq!(answer(&receiver, get).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_again() {
    let (receiver, stats) = receiver(taken);
    // Bodies that never come hold their places.
    let waiting = || {
        let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, std::io::Error>,
        >());
        Request::post("/").extension(Scope::default()).body(body).unwrap()
    };
    let mut held: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| Box::pin(receiver.serve(waiting()))).collect();
    for one in &mut held {
        assert!(futures_util::poll!(one).is_pending());
    }
    let (status, _, headers) = answer(&receiver, post(Vec::new(), KIND, "snappy")).await;
    assert_eq!((status.as_u16(), headers.contains_key("retry-after")), (503, true));
    assert_eq!(stats.requests_put_off.get(), 1);
}

#[tokio::test]
async fn entries_of_metadata_over_the_bound_are_counted() {
    let said = Message::default().text(2, "h");
    let mut message = Vec::new();
    for _ in 0..=prometheus::remote_write::METADATA_MAX {
        message.extend_from_slice(&Message::default().message(3, said.clone()).0);
    }
    let (receiver, stats) = receiver(taken);
    assert_eq!(answer(&receiver, post(compress(&message), KIND, "snappy")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(stats.dropped_metadata.get(), 1);
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_kept(
        labels in proptest::collection::btree_map("[a-z]{1,8}", "\\PC{1,12}", 0..6),
        samples in proptest::collection::vec((any::<i64>(), -1e300f64..1e300), 0..20),
    ) {
        let mut pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        pairs.insert(0, (METRIC_NAME, "m"));
        let got = decoded(&request(&[series(&pairs, &samples)]));
        prop_assert_eq!(rows(&got.batch), vec![(Labels::from_pairs(pairs).to_string(), samples)]);
    }

    #[test]
    fn no_message_breaks_the_decoder(at in 0usize..200, byte in any::<u8>(), noise in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut message = series(&[(METRIC_NAME, "up"), ("a", "1")], &[(1, 1.0)])
            .message(4, Message::default().varint(1, 1).message(11, Message::default().varint(2, 1)).sint(12, 1)).0;
        let len = message.len();
        message[at % len] = byte;
        let request = Message::default().bytes(1, &message).0;
        let _ = decode(&compress(&request), None, Some(KIND), &Stamp::default());
        let _ = decode(&compress(&noise), None, Some(KIND), &Stamp::default());
        let _ = decode(&noise, None, Some(KIND), &Stamp::default());
    }
}
