//! The gateway's seconds, added up to counters and native histograms.

use std::collections::HashMap;

use base::{Scope, Tenant};
use gateway_api::{Sample, Sketch};
use metrics_api::{Histogram, Span};

use crate::Set;

/// Routes times replicas that are counted apart; further ones share one line, `route="other"`.
pub const LINES_MAX: usize = 2_000;
/// A line that had no request for so long ends.
const IDLE_MS: i64 = 3_600_000;
/// Resolution of [`Sketch`]: eight buckets for each power of two.
const SCHEMA: i8 = 3;

#[derive(Debug, Default)]
pub(crate) struct Totals {
    lines: HashMap<Key, Line>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    scope: Scope,
    service: String,
    route: String,
    caller: String,
    release: String,
    replica: String,
}

#[derive(Debug, Default)]
struct Line {
    status: [u64; 5],
    aborted: u64,
    retries: u64,
    in_flight: u64,
    bytes_in: u64,
    bytes_out: u64,
    latency: Sketch,
    last_ms: i64,
}

impl Totals {
    pub(crate) fn add(&mut self, sample: &Sample) {
        let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
        let mut key = Key {
            scope: sample.scope.clone(),
            service: sample.service.clone(),
            route: sample.route.clone(),
            caller: sample.caller.clone().unwrap_or_default(),
            release: text(sample.release.as_ref().map(|id| id.as_str())),
            replica: text(sample.replica.as_ref().map(|id| id.as_str())),
        };
        if self.lines.len() >= LINES_MAX && !self.lines.contains_key(&key) {
            let [service, caller, release, replica] = [const { String::new() }; 4];
            key = Key { scope: key.scope, route: "other".into(), service, caller, release, replica };
        }
        let line = self.lines.entry(key).or_default();
        for (total, count) in line.status.iter_mut().zip(sample.status) {
            *total += count;
        }
        line.aborted += sample.aborted;
        line.retries += sample.retries;
        line.in_flight = sample.in_flight;
        line.bytes_in += sample.bytes_in;
        line.bytes_out += sample.bytes_out;
        line.latency.merge(&sample.latency);
        line.last_ms = line.last_ms.max(sample.at.millis());
    }

    /// Ends lines that are idle, and puts the rest into the set of their tenant.
    pub(crate) fn collect(&mut self, now_ms: i64, set_of: &mut HashMap<Tenant, Set>) {
        self.lines.retain(|_, line| line.last_ms > now_ms - IDLE_MS);
        for (key, line) in &self.lines {
            let set = set_of.entry(key.scope.tenant.clone()).or_default();
            // A second without a line of its own had nothing in flight.
            let in_flight = if line.last_ms > now_ms - QUIET_MS { line.in_flight } else { 0 };
            line.put(&key.labels(), in_flight, set);
        }
    }
}

/// The gateway leaves out a second of a route that had nothing; so late a line may come.
const QUIET_MS: i64 = 5_000;

impl Key {
    fn labels(&self) -> [(&str, &str); 7] {
        [
            ("tenant", self.scope.tenant.as_str()),
            ("environment", self.scope.environment.as_str()),
            ("service", &self.service),
            ("route", &self.route),
            ("caller", &self.caller),
            ("release", &self.release),
            ("replica", &self.replica),
        ]
    }
}

impl Line {
    fn put(&self, labels: &[(&str, &str)], in_flight: u64, set: &mut Set) {
        for (at, count) in self.status.iter().enumerate() {
            // Both sides of an error rate are there from the start; the others when they happen.
            if *count == 0 && at != 1 && at != 4 {
                continue;
            }
            let code = format!("{}xx", at + 1);
            let labels: Vec<_> = labels.iter().copied().chain([("code", code.as_str())]).collect();
            let help = "Requests that the gateway finished, by class of status.";
            set.counter("stead_gateway_requests_total", help, &labels, *count as f64);
        }
        for (name, help, value) in [
            (
                "stead_gateway_aborted_total",
                "Requests whose client went away, or whose connection broke after the response began.",
                self.aborted,
            ),
            (
                "stead_gateway_retries_total",
                "Requests that were sent again to another replica.",
                self.retries,
            ),
            ("stead_gateway_request_bytes_total", "Bytes of requests.", self.bytes_in),
            ("stead_gateway_response_bytes_total", "Bytes of responses.", self.bytes_out),
        ] {
            set.counter(name, help, labels, value as f64);
        }
        set.gauge("stead_gateway_in_flight", "Requests under way.", labels, in_flight as f64);
        let help = "How long requests took, as a native histogram.";
        set.native("stead_gateway_request_duration_microseconds", help, labels, native(&self.latency));
    }
}

/// A sketch as it is: bucket `i` is Prometheus' bucket `i + 1` of schema 3, in microseconds. In
/// seconds the boundaries would not be powers of two, and counts would have to be guessed.
fn native(sketch: &Sketch) -> Histogram {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut end = 0;
    for &(bucket, count) in &sketch.buckets {
        let index = i32::from(bucket) + 1;
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span { offset: index - end, length: 1 }),
        }
        counts.push(count as f64);
        end = index + 1;
    }
    Histogram {
        schema: SCHEMA,
        zero_threshold: 1e-128,
        count: sketch.count as f64,
        sum: sketch.sum_us as f64,
        positive_spans: spans,
        positive_buckets: counts,
        ..Histogram::default()
    }
}

#[cfg(test)]
mod tests {
    use base::{
        Timestamp,
        id::{ReleaseId, ReplicaId},
    };

    use super::*;

    fn sample(route: &str, second: i64) -> Sample {
        let mut latency = Sketch::default();
        [1, 2, 900, 1_000, 5_000_000].into_iter().for_each(|took_us| latency.record(took_us));
        Sample {
            at: Timestamp::from_millis(second * 1_000),
            route: route.into(),
            scope: Scope { tenant: Tenant::default(), environment: Default::default() },
            service: "cart".into(),
            caller: None,
            release: Some(ReleaseId::new()),
            replica: Some(ReplicaId::new()),
            status: [0, 4, 0, 0, 1],
            aborted: 0,
            retries: 1,
            in_flight: 2,
            bytes_in: 10,
            bytes_out: 20,
            latency,
        }
    }

    fn collected(totals: &mut Totals, now_ms: i64) -> Set {
        let mut sets = HashMap::new();
        totals.collect(now_ms, &mut sets);
        sets.remove(&Tenant::default()).unwrap_or_default()
    }

    #[test]
    fn seconds_add_up_by_replica() {
        let (mut totals, one) = (Totals::default(), sample("cart", 1));
        totals.add(&one);
        totals.add(&Sample { at: Timestamp::from_millis(2_000), ..one.clone() });
        let set = collected(&mut totals, 2_500);
        let (release, replica) = (one.release.unwrap(), one.replica.unwrap());
        let labels = [
            ("tenant", "default"),
            ("environment", "default"),
            ("service", "cart"),
            ("route", "cart"),
            ("release", release.as_str()),
            ("replica", replica.as_str()),
        ];
        let with = |code| labels.iter().copied().chain([("code", code)]).collect::<Vec<_>>();
        assert_eq!(set.get("stead_gateway_requests_total", &with("2xx")), Some(8.0));
        assert_eq!(set.get("stead_gateway_requests_total", &with("5xx")), Some(2.0));
        assert_eq!(set.get("stead_gateway_requests_total", &with("3xx")), None);
        assert_eq!(set.get("stead_gateway_request_duration_microseconds", &labels), Some(10.0));
        assert_eq!(set.get("stead_gateway_in_flight", &labels), Some(2.0));
        assert_eq!(collected(&mut totals, 60_000).get("stead_gateway_in_flight", &labels), Some(0.0));
        assert!(collected(&mut totals, 2_000 + IDLE_MS).is_empty(), "an idle line ends");
    }

    #[test]
    fn a_sketch_is_the_same_histogram() {
        let latency = sample("r", 1).latency;
        let histogram = native(&latency);
        assert_eq!(histogram.check(), Ok(()));
        assert_eq!(histogram.positive_buckets.iter().sum::<f64>(), 5.0);
        let mut index = 0;
        let mut counts = histogram.positive_buckets.iter();
        for span in &histogram.positive_spans {
            index += span.offset;
            for _ in 0..span.length {
                let count = *counts.next().unwrap() as u64;
                let (lower, upper) = (f64::from(index - 1) / 8.0, f64::from(index) / 8.0);
                let held = [1u64, 2, 900, 1_000, 5_000_000]
                    .into_iter()
                    .filter(|took| (*took as f64).log2() > lower && (*took as f64).log2() <= upper)
                    .count();
                assert_eq!(count, held as u64, "bucket {index}");
                index += 1;
            }
        }
    }

    #[test]
    fn beyond_the_limit_lines_are_added_up_together() {
        let mut totals = Totals::default();
        for at in 0..LINES_MAX + 5 {
            totals.add(&sample(&format!("route-{at}"), 1));
        }
        assert_eq!(totals.lines.len(), LINES_MAX + 1);
        let set = collected(&mut totals, 1_000);
        let other = [("tenant", "default"), ("environment", "default"), ("route", "other"), ("code", "2xx")];
        assert_eq!(set.get("stead_gateway_requests_total", &other), Some(20.0));
    }
}
