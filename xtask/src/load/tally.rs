//! What the customers saw, counted.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

/// How one request ended, as its sender sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer below 400.
    Ok,
    /// An answer of 400 or more.
    Status(u16),
    /// No whole answer within the time.
    Timeout,
    /// No connection could be made.
    Connect,
    /// The connection ended before the whole answer.
    Broken,
    /// Not sent: too many were waiting already.
    Overflow,
    /// Not sent, for want of something an earlier failed step should have given: not a failure again.
    Skipped,
}

/// Latencies in buckets of at most 1/64 of their value, from 1 µs up to 1.2 hours.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

const SUB_BITS: u32 = 6;
const BUCKETS: usize = ((32 - SUB_BITS as usize) + 1) << SUB_BITS;

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, latency: Duration) {
        let us = (latency.as_micros() as u64).min(u64::from(u32::MAX));
        self.buckets[bucket_of(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The latency in milliseconds that the share `at` of all stays below; 0 when there are none.
    pub(crate) fn quantile_ms(&self, at: f64) -> f64 {
        let rank = ((self.count as f64 * at).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= rank {
                return upper_us(index).min(self.max_us) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn bucket_of(us: u64) -> usize {
    let shift = (64 - us.leading_zeros()).saturating_sub(SUB_BITS + 1);
    ((shift as usize) << SUB_BITS) + (us >> shift) as usize
}

fn upper_us(index: usize) -> u64 {
    let shift = (index >> SUB_BITS).saturating_sub(1);
    let base = (index - (shift << SUB_BITS)) as u64;
    ((base + 1) << shift) - 1
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Second {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    latencies: Latencies,
    lags: Latencies,
    ok: u64,
    skipped: u64,
    statuses: BTreeMap<u16, u64>,
    kinds: BTreeMap<&'static str, u64>,
    failed_steps: BTreeMap<&'static str, u64>,
    seconds: Vec<Second>,
    failed_between: Option<(Duration, Duration)>,
}

impl Tally {
    /// `at` is when the request was due, `latency` counts from there.
    pub(crate) fn record(&mut self, step: &'static str, at: Duration, latency: Duration, outcome: &Outcome) {
        match outcome {
            Outcome::Skipped => {
                self.skipped += 1;
                return;
            }
            Outcome::Ok => self.ok += 1,
            Outcome::Status(status) => *self.statuses.entry(*status).or_default() += 1,
            Outcome::Timeout => *self.kinds.entry("timeout").or_default() += 1,
            Outcome::Connect => *self.kinds.entry("connect").or_default() += 1,
            Outcome::Broken => *self.kinds.entry("broken").or_default() += 1,
            Outcome::Overflow => *self.kinds.entry("overflow").or_default() += 1,
        }
        // A refused connection is quick; counted here it would flatter the server.
        if matches!(outcome, Outcome::Ok | Outcome::Status(_) | Outcome::Timeout) {
            self.latencies.record(latency);
        }
        let second = at.as_secs() as usize;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        if *outcome == Outcome::Ok {
            self.seconds[second].ok += 1;
            return;
        }
        self.seconds[second].failed += 1;
        *self.failed_steps.entry(step).or_default() += 1;
        let (first, last) = self.failed_between.unwrap_or((at, at));
        self.failed_between = Some((first.min(at), last.max(at)));
    }

    /// How late this program itself was with a request.
    pub(crate) fn lag(&mut self, lag: Duration) {
        self.lags.record(lag);
    }

    pub(crate) fn report(&self) -> Report {
        let failed = self.statuses.values().sum::<u64>() + self.kinds.values().sum::<u64>();
        let requests = self.ok + failed;
        let between = self.failed_between.unwrap_or_default();
        Report {
            requests,
            ok: self.ok,
            failed,
            failed_share: if requests == 0 { 0.0 } else { failed as f64 / requests as f64 },
            statuses: self.statuses.iter().map(|(status, n)| (status.to_string(), *n)).collect(),
            errors: ["connect", "broken", "timeout", "overflow"]
                .map(|kind| (kind, self.kinds.get(kind).copied().unwrap_or(0)))
                .into(),
            failed_steps: self.failed_steps.clone(),
            skipped: self.skipped,
            first_failure_ms: self.failed_between.map(|_| between.0.as_millis() as u64),
            failing_span_ms: (between.1 - between.0).as_millis() as u64,
            latency_ms: Quantiles::of(&self.latencies),
            send_lag_ms: Quantiles::of(&self.lags),
            seconds: self.seconds.clone(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    fn of(latencies: &Latencies) -> Self {
        let at = |share| latencies.quantile_ms(share);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: latencies.max_us as f64 / 1000.0 }
    }
}

/// Every request that was due is `ok`, `failed` or `skipped`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    pub(crate) failed_share: f64,
    /// Answers of 400 and more.
    pub(crate) statuses: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) failed_steps: BTreeMap<&'static str, u64>,
    pub(crate) skipped: u64,
    pub(crate) first_failure_ms: Option<u64>,
    /// From when the first failed request was due to when the last one was.
    pub(crate) failing_span_ms: u64,
    /// From when a request was due to its whole answer, timeouts included.
    pub(crate) latency_ms: Quantiles,
    pub(crate) send_lag_ms: Quantiles,
    pub(crate) seconds: Vec<Second>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_to_one_part_in_64(us in 0u64..=u64::from(u32::MAX)) {
            let index = bucket_of(us);
            prop_assert!(index < BUCKETS);
            let upper = upper_us(index);
            prop_assert!(upper >= us && (upper - us) as f64 <= us as f64 / 64.0 + 1.0);
        }

        #[test]
        fn quantiles_are_near_the_exact_ones(mut all in prop::collection::vec(0u64..10_000_000, 1..400), at in 0.01..1.0f64) {
            let mut latencies = Latencies::default();
            for us in &all {
                latencies.record(Duration::from_micros(*us));
            }
            all.sort_unstable();
            let exact = all[((all.len() as f64 * at).ceil() as usize).max(1) - 1] as f64 / 1000.0;
            let got = latencies.quantile_ms(at);
            prop_assert!(got >= exact && got <= exact * 1.02 + 0.002, "{got} for {exact}");
        }
    }

    #[test]
    fn every_end_of_a_request_is_counted_once() {
        let mut tally = Tally::default();
        let ms = Duration::from_millis;
        let ends = [
            Outcome::Ok,
            Outcome::Status(503),
            Outcome::Status(503),
            Outcome::Timeout,
            Outcome::Connect,
            Outcome::Broken,
            Outcome::Overflow,
            Outcome::Skipped,
        ];
        for (n, outcome) in ends.iter().enumerate() {
            tally.record("home", ms(500 * n as u64), ms(10), outcome);
        }
        let report = tally.report();
        assert_eq!((report.requests, report.ok, report.failed, report.skipped), (7, 1, 6, 1));
        assert_eq!(report.statuses["503"], 2);
        assert_eq!(report.errors.values().copied().collect::<Vec<_>>(), [1, 1, 1, 1]);
        assert_eq!((report.first_failure_ms, report.failing_span_ms), (Some(500), 2500));
        let second = |n: usize| (report.seconds[n].ok, report.seconds[n].failed);
        assert_eq!([second(0), second(1), second(2), second(3)], [(1, 1), (0, 2), (0, 2), (0, 1)]);
    }
}
