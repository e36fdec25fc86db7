//! What the gateway serves from, a versioned snapshot of routes, and what it tells: counters and
//! latency sketches for each second.
//!
//! The snapshot is written by control and read by the gateway, which goes on serving from the last
//! one on disk when control is away. Field names are the wire and disk form, format 1.

use base::{
    Scope, Timestamp,
    id::{ReleaseId, ReplicaId},
};
use serde::{Deserialize, Serialize};

/// Everything the gateway needs to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Grows with every change; the gateway never goes back to a lower one.
    pub version: u64,
    pub listeners: Vec<Listener>,
    pub routes: Vec<Route>,
}

impl Snapshot {
    pub const FORMAT: u32 = 1;
}

/// An address to accept connections on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Stable name; routes refer to it. The socket survives a restart of the gateway under it.
    pub name: String,
    /// `127.0.0.1:8080`; port 0 means any free one, which then stays.
    pub address: std::net::SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
    /// Whether `X-Forwarded-*` of the client is believed (only behind another trusted proxy).
    #[serde(default)]
    pub trust_forwarded: bool,
}

/// PEM files, read at load and whenever they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    pub certificate: std::path::PathBuf,
    pub key: std::path::PathBuf,
}

/// Requests that match go to a service. The longest host, then the longest path wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Stable name, such as `checkout` or `web->checkout`.
    pub name: String,
    pub scope: Scope,
    /// The service that answers.
    pub service: String,
    /// The service that calls, where the listener serves one caller alone (a binding).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    pub listener: String,
    /// Host without port, or `*.example.com`; none matches every host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Path prefix on segment borders; `/` matches all.
    pub path: String,
    /// Whether the prefix is taken off before the request goes on.
    #[serde(default)]
    pub strip_prefix: bool,
    #[serde(default)]
    pub policy: Policy,
    /// Releases with their share of the traffic; weights add up to 100 unless there is none.
    pub targets: Vec<Target>,
}

/// What the gateway does on a route besides passing requests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    pub connect_timeout_ms: u64,
    /// From the request's last byte to the response's first, and between any two reads after.
    pub response_timeout_ms: u64,
    pub request_body_bytes_max: u64,
    /// Attempts for idempotent requests in all; 1 means no retry.
    pub attempts_max: u32,
    /// Retries as a share of requests over the last ten seconds, in percent.
    pub retry_budget_percent: u32,
    /// Active check; none leaves it to passive ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 1_000,
            response_timeout_ms: 30_000,
            request_body_bytes_max: 64 << 20,
            attempts_max: 2,
            retry_budget_percent: 20,
            health: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub path: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    /// Failures in a row that take an endpoint out.
    pub unhealthy_after: u32,
    /// Successes in a row that bring it back.
    pub healthy_after: u32,
}

/// One release and its ready replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub release: ReleaseId,
    /// Share of the route's requests, 0 to 100.
    pub weight: u32,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub replica: ReplicaId,
    pub address: std::net::SocketAddr,
}

/// What one second brought on one route to one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Start of the second, wall time of the gateway.
    pub at: Timestamp,
    pub route: String,
    pub scope: Scope,
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// None when no replica took it (no route to a healthy one, refused, too large).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaId>,
    /// Finished requests by class of status: 1xx, 2xx, 3xx, 4xx, 5xx as the client saw them.
    pub status: [u64; 5],
    /// Requests whose client went away, or whose connection broke after the response had begun.
    pub aborted: u64,
    pub retries: u64,
    pub in_flight: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub latency: Sketch,
}

/// Latencies in microseconds in exponential buckets: bucket `i` holds values in
/// (2^(i/8), 2^((i+1)/8)], the OpenTelemetry exponential histogram of scale 3.
/// Quantiles are within 4.5 % of the value; sketches add up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sketch {
    pub count: u64,
    pub sum_us: u64,
    pub max_us: u64,
    /// Index and count of each bucket that is not empty, in order of index.
    pub buckets: Vec<(i16, u64)>,
}

impl Sketch {
    /// Bucket of a latency in microseconds.
    #[must_use]
    pub fn bucket(latency_us: u64) -> i16 {
        let value = latency_us.max(1) as f64;
        (value.log2() * 8.0).ceil() as i16 - 1
    }

    pub fn record(&mut self, latency_us: u64) {
        self.add(Self::bucket(latency_us), 1);
        self.count += 1;
        self.sum_us += latency_us;
        self.max_us = self.max_us.max(latency_us);
    }

    pub fn merge(&mut self, other: &Self) {
        for &(bucket, count) in &other.buckets {
            self.add(bucket, count);
        }
        self.count += other.count;
        self.sum_us += other.sum_us;
        self.max_us = self.max_us.max(other.max_us);
    }

    fn add(&mut self, bucket: i16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |entry| entry.0) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// The latency in microseconds that the share `q` (0 to 1) stays at or below; none when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for &(bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                let middle = (f64::from(bucket) + 0.5) / 8.0;
                return Some((middle.exp2().round() as u64).min(self.max_us));
            }
        }
        Some(self.max_us)
    }
}

/// What the gateway says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub snapshot_version: u64,
    /// Name and bound address of each listener that is open.
    pub listeners: Vec<(String, std::net::SocketAddr)>,
    /// What could not be applied of the snapshot, in words, such as a port in use.
    pub problems: Vec<String>,
    pub connections: u64,
    pub since: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_five_percent() {
        let mut sketch = Sketch::default();
        for latency_us in 1..=100_000u64 {
            sketch.record(latency_us);
        }
        for (q, exact) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0)] {
            let got = sketch.quantile(q).unwrap() as f64;
            assert!((got - exact).abs() / exact < 0.05, "{q}: {got}");
        }
    }

    #[test]
    fn merged_sketches_equal_one() {
        let (mut left, mut right, mut both) = (Sketch::default(), Sketch::default(), Sketch::default());
        for latency_us in 0..5_000u64 {
            if latency_us % 3 == 0 {
                left.record(latency_us)
            } else {
                right.record(latency_us)
            }
            both.record(latency_us);
        }
        left.merge(&right);
        assert_eq!(left, both);
    }
}
