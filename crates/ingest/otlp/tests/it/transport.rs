//! HTTP and gRPC as their specifications have them.

use std::io::Write;

use crate::world::{World, gauge};

const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const GRPC: (&str, &str) = ("content-type", "application/grpc");

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(plain).unwrap();
    to.finish().unwrap()
}

#[tokio::test]
async fn both_paths_take_both_forms() {
    let world = World::plain();
    for path in ["/v1/metrics", "/otlp/v1/metrics"] {
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
        let answer = world.send(path, &headers, gzip(&gauge(2, "x"))).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        assert_eq!(answer.headers["content-type"], "application/x-protobuf");
        let answer = world.send(path, &[("content-type", "application/json; charset=utf-8")], "{}").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    }
    assert_eq!(world.stored().await, ["load{k=\"x\"} 0 @0", "load{k=\"x\"} 1 @0.001"]);
}

#[tokio::test]
async fn refusals_have_the_status_and_form_of_the_specification() {
    let world = World::plain();
    let protobuf = ("content-type", "application/x-protobuf");
    let cases: &[(&[(&str, &str)], &[u8], u16)] = &[
        (&[protobuf], b"\xff", 400),
        (&[protobuf, ("content-encoding", "gzip")], b"no gzip", 400),
        (&[protobuf, ("content-encoding", "br")], b"", 415),
        (&[("content-type", "text/plain")], b"", 415),
        (&[], b"", 415),
    ];
    for (headers, body, status) in cases {
        let answer = world.send("/v1/metrics", headers, body.to_vec()).await;
        assert_eq!(answer.status, *status, "{headers:?}: {}", answer.text());
        if answer.headers["content-type"] == "application/x-protobuf" {
            assert_eq!(answer.body[0], 0x08, "a google.rpc.Status begins with its code");
        }
    }
    let json = world.json("{").await;
    assert_eq!(json.status, 400);
    assert!(json.text().starts_with("{\"code\":3,\"message\":\"the request is no metrics export"));
    for signal in ["traces", "logs"] {
        let answer =
            world.send(&format!("/otlp/v1/{signal}"), &[("content-type", "application/json")], "{}").await;
        assert_eq!(answer.status, 501);
        assert!(answer.text().contains(&format!("{signal} are not available yet")), "{}", answer.text());
    }
}

#[tokio::test]
async fn without_a_gate_nothing_is_taken() {
    use tower::ServiceExt;
    let world = World::plain();
    let request = axum::http::Request::post("/v1/metrics")
        .header("content-type", "application/json")
        .body(axum::body::Body::from("{}"))
        .unwrap();
    let answer = otlp::router(world.receiver.clone()).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_call_is_taken_plain_and_packed() {
    let world = World::plain();
    let answer = world.send(METRICS, &[GRPC], framed(0, &gauge(1, "x"))).await;
    assert_eq!((answer.status, answer.headers["grpc-status"].to_str().unwrap()), (200, "0"));
    assert_eq!(answer.body, [0, 0, 0, 0, 0]);
    let packed = framed(1, &gzip(&gauge(2, "y")));
    let answer = world.send(METRICS, &[GRPC, ("grpc-encoding", "gzip")], packed).await;
    assert_eq!(answer.headers["grpc-status"], "0");
    assert_eq!(world.stored().await.len(), 3);
}

#[tokio::test]
async fn a_call_is_refused_with_a_status() {
    let world = World::plain();
    let cases: &[(&str, &[(&str, &str)], Vec<u8>, &str)] = &[
        (METRICS, &[GRPC], framed(0, b"\xff"), "3"),
        (METRICS, &[GRPC], vec![0, 0], "3"),
        (METRICS, &[GRPC, ("grpc-encoding", "br")], framed(1, b""), "12"),
        (METRICS, &[("content-type", "text/plain")], framed(0, b""), "3"),
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", &[GRPC], framed(0, b""), "12"),
        ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", &[GRPC], framed(0, b""), "12"),
    ];
    for (path, headers, body, status) in cases {
        let answer = world.send(path, headers, body.clone()).await;
        assert_eq!(
            (answer.status, answer.headers["grpc-status"].to_str().unwrap()),
            (200, *status),
            "{path}"
        );
        assert!(answer.headers.contains_key("grpc-message") && answer.body.is_empty());
    }
}
