//! Counters: cells of each thread, collected once a second and merged into [`Sample`]s.
//!
//! The hot path touches only its own thread's cells. Once a second the main thread asks, each
//! thread hands over what it has counted and starts again from zero.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use base::{
    Scope, Timestamp,
    id::{ReleaseId, ReplicaId},
};
use bytes::Bytes;
use gateway_api::{Route, Sample, Sketch};
use tokio::sync::broadcast;

use crate::{
    limits::{SAMPLE_LAG_SECONDS, SAMPLES_REPLAY_SECONDS, SERIES_MAX},
    log::push_json,
};

/// What one row of counters is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SeriesKey {
    pub(crate) route: String,
    pub(crate) scope: Scope,
    pub(crate) service: String,
    pub(crate) caller: Option<String>,
    pub(crate) replica: Option<(ReleaseId, ReplicaId)>,
}

impl SeriesKey {
    pub(crate) fn new(route: &Route, replica: Option<(&ReleaseId, &ReplicaId)>) -> Self {
        Self {
            route: route.name.clone(),
            scope: route.scope.clone(),
            service: route.service.clone(),
            caller: route.caller.clone(),
            replica: replica.map(|(release, replica)| (release.clone(), replica.clone())),
        }
    }

    /// The row of all that has no room of its own, and of what matched no route (`unmatched`).
    fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self { route: name.clone(), scope: Scope::default(), service: name, caller: None, replica: None }
    }

    /// The fields of the access log that are the same for every request of this row.
    fn log_fields(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        let mut field = |name: &str, value: Option<&str>| {
            fields.extend_from_slice(format!(",\"{name}\":").as_bytes());
            match value {
                None => fields.extend_from_slice(b"null"),
                Some(value) => push_json(&mut fields, value.as_bytes()),
            }
        };
        field("route", Some(&self.route));
        field("service", Some(&self.service));
        field("caller", self.caller.as_deref());
        field("release", self.replica.as_ref().map(|(release, _)| release.as_str()));
        field("replica", self.replica.as_ref().map(|(_, replica)| replica.as_str()));
        fields
    }
}

/// One row of one thread.
#[derive(Debug)]
pub(crate) struct Series {
    key: Arc<SeriesKey>,
    pub(crate) log_fields: Vec<u8>,
    in_flight: Cell<u64>,
    counters: RefCell<Counters>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counters {
    status: [u64; 5],
    aborted: u64,
    retries: u64,
    in_flight: u64,
    bytes_in: u64,
    bytes_out: u64,
    latency: Sketch,
}

impl Counters {
    fn merge(&mut self, other: &Self) {
        self.status.iter_mut().zip(other.status).for_each(|(mine, others)| *mine += others);
        self.aborted += other.aborted;
        self.retries += other.retries;
        self.in_flight += other.in_flight;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.latency.merge(&other.latency);
    }
}

/// A finished request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Finished {
    /// Zero when no answer began.
    pub(crate) status: u16,
    pub(crate) aborted: bool,
    pub(crate) retries: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) latency_us: u64,
}

impl Series {
    pub(crate) fn new(key: SeriesKey) -> Self {
        Self {
            log_fields: key.log_fields(),
            key: Arc::new(key),
            in_flight: Cell::new(0),
            counters: RefCell::default(),
        }
    }

    pub(crate) fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    pub(crate) fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    pub(crate) fn count(&self, finished: &Finished) {
        let mut counters = self.counters.borrow_mut();
        if let Some(class) = usize::from(finished.status / 100).checked_sub(1).filter(|class| *class < 5) {
            counters.status[class] += 1;
            counters.latency.record(finished.latency_us);
        }
        counters.aborted += u64::from(finished.aborted);
        counters.retries += finished.retries;
        counters.bytes_in += finished.bytes_in;
        counters.bytes_out += finished.bytes_out;
    }

    fn take(&self) -> Option<Counters> {
        let in_flight = self.in_flight.get();
        let mut counters = self.counters.borrow_mut();
        if in_flight == 0 && *counters == Counters::default() {
            return None;
        }
        Some(Counters { in_flight, ..std::mem::take(&mut counters) })
    }
}

/// The rows of one thread.
#[derive(Debug)]
pub(crate) struct ThreadStats {
    rows: RefCell<HashMap<SeriesKey, Rc<Series>>>,
    pub(crate) unmatched: Rc<Series>,
    other: Rc<Series>,
    /// Rows that found no room, over the life of this thread.
    overflown: Cell<u64>,
}

impl Default for ThreadStats {
    fn default() -> Self {
        Self {
            rows: RefCell::default(),
            unmatched: Rc::new(Series::new(SeriesKey::named("unmatched"))),
            other: Rc::new(Series::new(SeriesKey::named("other"))),
            overflown: Cell::new(0),
        }
    }
}

/// What one thread hands over.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    pub(crate) rows: Vec<(Arc<SeriesKey>, Counters)>,
    pub(crate) overflown: u64,
}

impl ThreadStats {
    /// The row of `key`, or the row `other` when all [`SERIES_MAX`] are taken.
    pub(crate) fn series(&self, key: &SeriesKey) -> Rc<Series> {
        let mut rows = self.rows.borrow_mut();
        if let Some(row) = rows.get(key) {
            return row.clone();
        }
        if rows.len() >= SERIES_MAX {
            self.overflown.set(self.overflown.get() + 1);
            return self.other.clone();
        }
        let row = Rc::new(Series::new(key.clone()));
        rows.insert(key.clone(), row.clone());
        row
    }

    /// Takes what was counted since the last time, and forgets rows that no route uses any more.
    pub(crate) fn take(&self) -> Handed {
        let mut rows = Vec::new();
        let mut keep = |row: &Rc<Series>| {
            let Some(counters) = row.take() else { return Rc::strong_count(row) > 1 };
            rows.push((row.key.clone(), counters));
            true
        };
        self.rows.borrow_mut().retain(|_, row| keep(row));
        keep(&self.unmatched);
        keep(&self.other);
        Handed { rows, overflown: self.overflown.get() }
    }
}

/// Samples of all threads, the last minute of them, and those who read along.
#[derive(Debug)]
pub(crate) struct Samples {
    now: Mutex<HashMap<Arc<SeriesKey>, Counters>>,
    past: Mutex<VecDeque<Bytes>>,
    sender: broadcast::Sender<Bytes>,
}

impl Samples {
    pub(crate) fn new() -> Self {
        Self {
            now: Mutex::default(),
            past: Mutex::default(),
            sender: broadcast::channel(SAMPLE_LAG_SECONDS).0,
        }
    }

    pub(crate) fn add(&self, handed: &Handed) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, counters) in &handed.rows {
            if now.len() >= SERIES_MAX && !now.contains_key(key) {
                let other = Arc::new(SeriesKey::named("other"));
                now.entry(other).or_default().merge(counters);
            } else {
                now.entry(key.clone()).or_default().merge(counters);
            }
        }
    }

    /// Ends the second that began at `at` and sends its rows to all readers.
    pub(crate) fn close_second(&self, at: Timestamp) {
        let now = std::mem::take(&mut *self.now.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rows: Vec<_> = now.into_iter().collect();
        rows.sort_by(|(a, _), (b, _)| (&a.route, &a.replica).cmp(&(&b.route, &b.replica)));
        let mut lines = Vec::new();
        for (key, counters) in rows {
            if serde_json::to_writer(&mut lines, &sample(at, &key, counters)).is_ok() {
                lines.push(b'\n');
            }
        }
        let lines = Bytes::from(lines);
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() >= SAMPLES_REPLAY_SECONDS {
            past.pop_front();
        }
        past.push_back(lines.clone());
        // Under the lock, so that a new reader sees each second once. Without readers it fails.
        let _ = self.sender.send(lines);
    }

    /// The last minute, then each second as it ends. A quiet second is an empty piece.
    pub(crate) fn subscribe(&self) -> (Vec<Bytes>, broadcast::Receiver<Bytes>) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.sender.subscribe())
    }

    pub(crate) fn readers(&self) -> usize {
        self.sender.receiver_count()
    }
}

fn sample(at: Timestamp, key: &SeriesKey, counters: Counters) -> Sample {
    let (release, replica) = key.replica.clone().unzip();
    Sample {
        at,
        route: key.route.clone(),
        scope: key.scope.clone(),
        service: key.service.clone(),
        caller: key.caller.clone(),
        release,
        replica,
        status: counters.status,
        aborted: counters.aborted,
        retries: counters.retries,
        in_flight: counters.in_flight,
        bytes_in: counters.bytes_in,
        bytes_out: counters.bytes_out,
        latency: counters.latency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SeriesKey {
        SeriesKey::named(name)
    }

    fn read(samples: &Samples) -> Vec<Sample> {
        let (past, _) = samples.subscribe();
        let last = past.last().cloned().unwrap_or_default();
        last.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn threads_add_up_and_a_second_starts_from_zero() {
        let samples = Samples::new();
        for _ in 0..3 {
            let stats = ThreadStats::default();
            let row = stats.series(&key("web"));
            row.begin();
            for status in [200, 200, 404, 503] {
                row.count(&Finished { status, latency_us: 1_000, bytes_out: 10, ..Finished::default() });
            }
            row.count(&Finished { aborted: true, ..Finished::default() });
            samples.add(&stats.take());
        }
        samples.close_second(Timestamp::from_millis(5_000));
        let rows = read(&samples);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].status, [0, 6, 0, 3, 3]);
        assert_eq!((rows[0].aborted, rows[0].in_flight, rows[0].bytes_out), (3, 3, 120));
        assert_eq!(rows[0].latency.count, 12);
        assert_eq!(rows[0].at, Timestamp::from_millis(5_000));
        samples.close_second(Timestamp::from_millis(6_000));
        assert!(read(&samples).is_empty());
    }

    #[test]
    fn a_row_without_room_is_summed_up_as_other() {
        let stats = ThreadStats::default();
        let all: Vec<_> = (0..SERIES_MAX + 5).map(|at| stats.series(&key(&format!("r{at}")))).collect();
        all.iter().for_each(|row| row.count(&Finished { status: 200, ..Finished::default() }));
        let handed = stats.take();
        assert_eq!(handed.overflown, 5);
        assert_eq!(handed.rows.len(), SERIES_MAX + 1);
        let other = handed.rows.iter().find(|(key, _)| key.route == "other").unwrap();
        assert_eq!(other.1.status[1], 5);
        drop(all);
        stats.take();
        assert!(stats.rows.borrow().is_empty(), "unused rows are forgotten");
    }

    #[test]
    fn the_replay_is_bounded() {
        let samples = Samples::new();
        for at in 0..200 {
            samples.close_second(Timestamp::from_millis(at * 1_000));
        }
        assert_eq!(samples.subscribe().0.len(), SAMPLES_REPLAY_SECONDS);
    }
}
