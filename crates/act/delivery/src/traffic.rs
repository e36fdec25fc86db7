//! The last minutes of traffic as the gateway saw them, second by second, in bounded memory.

use std::collections::{BTreeMap, VecDeque};

use base::{Environment, Scope, Timestamp};
use delivery_api::{Point, Series};
use gateway_api::{Sample, Sketch};

/// Seconds that are kept.
pub const SECONDS_KEPT: i64 = 900;
/// Rows (one service and caller in one second) that are kept over all services; the oldest go first.
pub const ROWS_MAX: usize = 200_000;

/// What one second brought to one service from one caller.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub requests: u64,
    pub errors: u64,
    pub retries: u64,
    pub in_flight: u64,
    pub latency: Sketch,
}

impl Row {
    fn add(&mut self, sample: &Sample) {
        self.requests += sample.status.iter().sum::<u64>() + sample.aborted;
        self.errors += sample.status[4] + sample.aborted;
        self.retries += sample.retries;
        self.in_flight += sample.in_flight;
        self.latency.merge(&sample.latency);
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.retries += other.retries;
        self.in_flight += other.in_flight;
        self.latency.merge(&other.latency);
    }

    fn point(&self, at_second: i64) -> Point {
        let quantile = |q| self.latency.quantile(q).map(|us| us as f64 / 1_000.0);
        Point {
            at_ms: at_second * 1_000,
            requests: self.requests,
            errors: self.errors,
            retries: self.retries,
            in_flight: self.in_flight,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
        }
    }
}

/// Traffic of a stretch of time, as rates.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub requests_per_second: f64,
    pub error_ratio: f64,
    pub p99_ms: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    environment: Environment,
    service: String,
    caller: Option<String>,
}

/// The window. One instance serves one tenant.
#[derive(Debug, Default)]
pub struct Window {
    /// By second since the epoch, oldest first.
    seconds: VecDeque<(i64, BTreeMap<Lane, Row>)>,
    rows: usize,
}

impl Window {
    /// Takes one sample. One older than the window is dropped.
    pub fn add(&mut self, sample: &Sample) {
        let second = sample.at.millis().div_euclid(1_000);
        let newest = self.seconds.back().map_or(second, |(at, _)| *at);
        if second <= newest - SECONDS_KEPT {
            return;
        }
        let lane = Lane {
            environment: sample.scope.environment.clone(),
            service: sample.service.clone(),
            caller: sample.caller.clone(),
        };
        let index = match self.seconds.binary_search_by_key(&second, |(at, _)| *at) {
            Ok(index) => index,
            Err(index) => {
                self.seconds.insert(index, (second, BTreeMap::new()));
                index
            }
        };
        let rows = &mut self.seconds[index].1;
        let before = rows.len();
        rows.entry(lane).or_default().add(sample);
        self.rows += rows.len() - before;
        self.trim();
    }

    fn trim(&mut self) {
        let Some(newest) = self.seconds.back().map(|(at, _)| *at) else { return };
        while let Some((oldest, rows)) = self.seconds.front() {
            if *oldest > newest - SECONDS_KEPT && (self.rows <= ROWS_MAX || self.seconds.len() == 1) {
                break;
            }
            self.rows -= rows.len();
            self.seconds.pop_front();
        }
    }

    /// Traffic of `service` over the last `seconds`, at most about 300 points.
    #[must_use]
    pub fn series(&self, scope: &Scope, service: &str, seconds: u32, now: Timestamp) -> Series {
        let seconds = i64::from(seconds).clamp(10, SECONDS_KEPT);
        let step = (seconds / 300).max(1);
        let end = now.millis().div_euclid(1_000);
        let start = (end - seconds).div_euclid(step) * step;
        let mut points: BTreeMap<i64, Row> =
            (start..end).step_by(usize::try_from(step).unwrap_or(1)).map(|at| (at, Row::default())).collect();
        for (at, rows) in self.since(start) {
            for (lane, row) in rows {
                if lane.service == service
                    && lane.environment == scope.environment
                    && let Some(point) = points.get_mut(&(at.div_euclid(step) * step))
                {
                    point.merge(row);
                }
            }
        }
        Series {
            service: service.to_owned(),
            step_seconds: u32::try_from(step).unwrap_or(1),
            points: points.into_iter().map(|(at, row)| row.point(at)).collect(),
        }
    }

    /// Rates over the last `seconds` by called service and caller (none: from outside).
    #[must_use]
    pub fn rates(
        &self,
        scope: &Scope,
        seconds: u32,
        now: Timestamp,
    ) -> BTreeMap<(String, Option<String>), Rates> {
        let end = now.millis().div_euclid(1_000);
        let mut sums: BTreeMap<(String, Option<String>), Row> = BTreeMap::new();
        for (at, rows) in self.since(end - i64::from(seconds)) {
            if at >= end {
                continue;
            }
            for (lane, row) in rows.iter().filter(|(lane, _)| lane.environment == scope.environment) {
                sums.entry((lane.service.clone(), lane.caller.clone())).or_default().merge(row);
            }
        }
        sums.into_iter().map(|(key, row)| (key, rates_of(&row, seconds))).collect()
    }

    fn since(&self, second: i64) -> impl Iterator<Item = (i64, &BTreeMap<Lane, Row>)> {
        let first = self.seconds.partition_point(|(at, _)| *at < second);
        self.seconds.range(first..).map(|(at, rows)| (*at, rows))
    }
}

fn rates_of(row: &Row, seconds: u32) -> Rates {
    Rates {
        requests_per_second: row.requests as f64 / f64::from(seconds.max(1)),
        error_ratio: if row.requests == 0 { 0.0 } else { row.errors as f64 / row.requests as f64 },
        p99_ms: row.latency.quantile(0.99).map(|us| us as f64 / 1_000.0),
    }
}

/// Sums rates of several lanes of one service.
#[must_use]
pub fn total<'a>(lanes: impl Iterator<Item = &'a Rates>) -> Rates {
    let mut sum = Rates::default();
    let mut errors = 0.0;
    for lane in lanes {
        sum.requests_per_second += lane.requests_per_second;
        errors += lane.requests_per_second * lane.error_ratio;
        sum.p99_ms = match (sum.p99_ms, lane.p99_ms) {
            (Some(left), Some(right)) => Some(left.max(right)),
            (left, right) => left.or(right),
        };
    }
    if sum.requests_per_second > 0.0 {
        sum.error_ratio = errors / sum.requests_per_second;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: i64, service: &str, caller: Option<&str>, ok: u64, failed: u64) -> Sample {
        let mut latency = Sketch::default();
        for _ in 0..ok + failed {
            latency.record(2_000);
        }
        Sample {
            at: Timestamp::from_millis(second * 1_000),
            route: service.to_owned(),
            scope: Scope::default(),
            service: service.to_owned(),
            caller: caller.map(str::to_owned),
            release: None,
            replica: None,
            status: [0, ok, 0, 0, failed],
            aborted: 0,
            retries: 0,
            in_flight: 1,
            bytes_in: 0,
            bytes_out: 0,
            latency,
        }
    }

    #[test]
    fn rates_tell_callers_apart() {
        let mut window = Window::default();
        for second in 1_000..1_060 {
            window.add(&sample(second, "cart", Some("web"), 9, 1));
            window.add(&sample(second, "cart", Some("checkout"), 5, 0));
        }
        let rates = window.rates(&Scope::default(), 60, Timestamp::from_millis(1_060_000));
        let web = rates[&("cart".to_owned(), Some("web".to_owned()))];
        assert!((web.requests_per_second - 10.0).abs() < 1e-9);
        assert!((web.error_ratio - 0.1).abs() < 1e-9);
        let both = total(rates.values());
        assert!((both.requests_per_second - 15.0).abs() < 1e-9);
    }

    #[test]
    fn memory_is_bounded_by_rows_and_by_age() {
        let mut window = Window::default();
        for second in 0..10 {
            for service in 0..30_000 {
                window.add(&sample(second, &format!("s{service}"), None, 1, 0));
            }
        }
        assert!(window.rows <= ROWS_MAX);
        window.add(&sample(100_000, "late", None, 1, 0));
        assert_eq!(window.rows, 1);
        window.add(&sample(5, "older than the window", None, 1, 0));
        assert_eq!(window.rows, 1);
    }

    #[test]
    fn a_series_has_a_point_for_each_step_even_without_traffic() {
        let mut window = Window::default();
        window.add(&sample(1_000, "web", None, 4, 1));
        let series = window.series(&Scope::default(), "web", 900, Timestamp::from_millis(1_010_000));
        assert_eq!(series.step_seconds, 3);
        assert!(series.points.len() >= 300);
        let busy: Vec<_> = series.points.iter().filter(|point| point.requests > 0).collect();
        assert_eq!((busy.len(), busy[0].requests, busy[0].errors), (1, 5, 1));
    }
}
