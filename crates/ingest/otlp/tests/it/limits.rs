//! Each limit, hit.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use base::Tenant;
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream};
use metrics_api::{Appended, Error, WriteBatch, Writer};
use otlp::{
    ATTRIBUTES_MAX, BUCKETS_MAX, DeltaLimits, EXEMPLARS_MAX, Limits, Receiver, Settings,
    TARGET_INFO_SAMPLES_MAX,
};

use crate::world::{World, gauge, request};

const PROTOBUF: &[(&str, &str)] = &[("content-type", "application/x-protobuf")];

fn limited(limits: Limits) -> World {
    World::new(Settings::default(), limits)
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_as_sent_and_as_unpacked() {
    let world = limited(Limits { body_bytes_max: 100, ..Limits::default() });
    let answer = world.send("/v1/metrics", PROTOBUF, gauge(10, "x")).await;
    assert_eq!(answer.status, 413);
    let world = limited(Limits { message_bytes_max: 1_000, ..Limits::default() });
    let packed = zstd::encode_all(gauge(1_000, "x").as_slice(), 3).unwrap();
    let headers = [PROTOBUF[0], ("content-encoding", "zstd")];
    let answer = world.send("/v1/metrics", &headers, packed).await;
    assert_eq!((answer.status, world.stored().await.len()), (413, 0));
    assert!(!answer.headers.contains_key("retry-after"), "it is final");
}

#[tokio::test]
async fn a_bomb_is_stopped_by_the_memory_of_all_requests() {
    let world = limited(Limits { memory_bytes_max: 1 << 20, ..Limits::default() });
    let zeros = zstd::encode_all(vec![0u8; 32 << 20].as_slice(), 3).unwrap();
    let answer = world.send("/v1/metrics", &[PROTOBUF[0], ("content-encoding", "zstd")], zeros).await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (429, "5"));
}

#[tokio::test]
async fn no_more_requests_than_may_be_are_under_way_and_a_slow_one_ends() {
    let limits =
        Limits { requests_max: 1, request_time_max: Duration::from_millis(300), ..Limits::default() };
    let world = limited(limits);
    let never = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let (slow, mut busy) = (world.send("/v1/metrics", PROTOBUF, never()), None);
    tokio::pin!(slow);
    // The first holds the only place from its first poll on.
    let slow = loop {
        tokio::select! {
            biased;
            answer = &mut slow => break answer,
            answer = world.send("/v1/metrics", PROTOBUF, gauge(1, "x")), if busy.is_none() => busy = Some(answer),
        }
    };
    assert_eq!((busy.unwrap().status, slow.status), (429, 503));
    assert_eq!(world.send("/v1/metrics", PROTOBUF, gauge(1, "x")).await.status, 200);
}

#[tokio::test]
async fn points_beyond_their_bounds_are_refused_one_by_one() {
    let world = limited(Limits {
        deltas: DeltaLimits { series_max: 1, ..DeltaLimits::default() },
        ..Limits::default()
    });
    let attributes: Vec<_> = (0..=ATTRIBUTES_MAX)
        .map(|at| format!(r#"{{"key":"k{at}","value":{{"stringValue":"v"}}}}"#))
        .collect();
    let attributes = attributes.join(",");
    let answer = world
        .metrics(&format!(
            r#"{{"name":"g","gauge":{{"dataPoints":[
                {{"timeUnixNano":"1700000001000000000","asInt":1,"attributes":[{attributes}]}},
                {{"timeUnixNano":"1700000001000000000","asInt":1}}]}}}}"#
        ))
        .await;
    assert!(answer.text().contains("\"rejectedDataPoints\":\"1\""), "{}", answer.text());
    assert_eq!(world.stored().await, ["g{job=\"shop\"} 1 @1"]);

    let long = "x".repeat(otlp::LABEL_BYTES_MAX);
    let wide = "x".repeat(otlp::POINT_BYTES_MAX / 1_000);
    let bounds = (0..1_000).map(|bound| bound.to_string()).collect::<Vec<_>>().join(",");
    for metric in [
        format!(
            r#"{{"name":"g","gauge":{{"dataPoints":[{{"timeUnixNano":"1700000001000000000","asInt":1,
                "attributes":[{{"key":"k","value":{{"stringValue":"{long}"}}}}]}}]}}}}"#
        ),
        format!(
            r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[
                {{"timeUnixNano":"1700000001000000000","explicitBounds":[{bounds}],
                "attributes":[{{"key":"k","value":{{"stringValue":"{wide}"}}}}]}}]}}}}"#
        ),
    ] {
        let answer = world.metrics(&metric).await;
        assert!(answer.text().contains("too many bytes of attributes"), "{}", answer.text());
    }
    let name = "n".repeat(otlp::NAME_BYTES_MAX + 1);
    let answer = world
        .metrics(&format!(
            r#"{{"name":"{name}","gauge":{{"dataPoints":[{{"timeUnixNano":"1","asInt":1}}]}}}}"#
        ))
        .await;
    assert!(answer.text().contains("no name that can be stored"), "{}", answer.text());

    let counts = vec!["\"0\""; BUCKETS_MAX + 1].join(",");
    for metric in [
        format!(
            r#"{{"name":"h","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[
                {{"timeUnixNano":"1700000001000000000","positive":{{"bucketCounts":[{counts}]}}}}]}}}}"#
        ),
        format!(
            r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[
                {{"timeUnixNano":"1700000001000000000","explicitBounds":[{counts}]}}]}}}}"#
        ),
    ] {
        let answer = world.metrics(&metric).await;
        assert!(answer.text().contains("too many buckets"), "{}", answer.text());
    }
    for (name, refused) in [("a", false), ("b", true)] {
        let answer = world
            .metrics(&format!(
                r#"{{"name":"{name}","sum":{{"aggregationTemporality":1,"dataPoints":[
                    {{"timeUnixNano":"1700000001000000000","asInt":1}}]}}}}"#
            ))
            .await;
        assert_eq!(answer.text().contains("as many delta series"), refused, "{}", answer.text());
    }
}

#[tokio::test]
async fn exemplars_and_target_info_are_bounded() {
    let world = World::plain();
    let exemplars = vec![r#"{"timeUnixNano":"1700000001000000000","asInt":1}"#; EXEMPLARS_MAX + 1].join(",");
    world
        .metrics(&format!(
            r#"{{"name":"s","sum":{{"aggregationTemporality":2,"dataPoints":[
                {{"timeUnixNano":"1700000001000000000","asInt":1,"exemplars":[{exemplars}]}}]}}}}"#
        ))
        .await;
    let dropped =
        world.receiver.stats().counts().into_iter().find(|count| count.0.contains("exemplars_dropped"));
    assert_eq!(dropped.unwrap().2, 1);

    let world = World::plain();
    let attributes =
        r#"{"key":"service.name","value":{"stringValue":"s"}},{"key":"a","value":{"stringValue":"b"}}"#;
    let metric = r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1000000","asInt":1},
        {"timeUnixNano":"1700000001000000000","asInt":1}]}}"#;
    world.json(&request(attributes, metric)).await;
    let infos = world.stored().await.iter().filter(|line| line.starts_with("target_info")).count();
    assert_eq!(infos, TARGET_INFO_SAMPLES_MAX);
}

#[derive(Debug, Default)]
struct Batches(std::sync::Mutex<Vec<usize>>);

impl Writer for Batches {
    fn write<'a>(&'a self, _: &'a Tenant, batch: WriteBatch) -> BoxFuture<'a, Result<Appended, Error>> {
        self.0.lock().unwrap().push(batch.size_bytes());
        Box::pin(async move { Ok(Appended { samples: batch.samples_len() as u64, ..Appended::default() }) })
    }
}

#[tokio::test]
async fn a_large_request_is_written_in_parts() {
    let writer = Arc::new(Batches::default());
    let clock = base::time::SystemClock::shared();
    let receiver = Receiver::new(Settings::default(), Limits::default(), writer.clone(), clock);
    let taken =
        receiver.receive(&Tenant::default(), &Default::default(), &gauge(30_000, &"x".repeat(900))).await;
    assert_eq!(taken.unwrap().points, 30_000);
    let batches = writer.0.lock().unwrap();
    assert!(
        batches.len() > 3 && batches.iter().all(|bytes| *bytes < otlp::ROWS_BYTES_MAX * 3 / 2),
        "{batches:?}"
    );
}

#[tokio::test]
async fn a_refusal_does_not_repeat_all_that_was_sent() {
    let world = World::plain();
    let points = vec![r#"{"timeUnixNano":"1700000001000000000"}"#; 100].join(",");
    let name = "n".repeat(otlp::NAME_BYTES_MAX);
    let answer = world.metrics(&format!(r#"{{"name":"{name}","gauge":{{"dataPoints":[{points}]}}}}"#)).await;
    assert!(answer.text().contains("\"rejectedDataPoints\":\"100\"") && answer.body.len() < 2_000);
}

#[derive(Debug)]
struct Full;

impl Writer for Full {
    fn write<'a>(&'a self, _: &'a Tenant, _: WriteBatch) -> BoxFuture<'a, Result<Appended, Error>> {
        Box::pin(async { Err(Error::Unavailable { why: "the disk is full".into() }) })
    }
}

#[tokio::test]
async fn a_store_that_cannot_write_asks_to_send_again() {
    let mut world = World::plain();
    world.receiver = Receiver::new(
        Settings::default(),
        Limits::default(),
        Arc::new(Full),
        base::time::SystemClock::shared(),
    );
    let answer = world.send("/v1/metrics", PROTOBUF, gauge(1, "x")).await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (503, "5"));
    assert!(answer.text().contains("disk is full"));
}
