//! What Stead counts of itself: handles that cost one atomic addition, and sources that are asked.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics_api::Labels;

use crate::Set;

/// Handles of one registry. One more is given out detached: it counts, and nobody sees it.
pub const HANDLES_MAX: usize = 4_096;
/// Sources of one registry.
pub const SOURCES_MAX: usize = 256;
/// Buckets of a histogram; further bounds are cut off.
pub const BOUNDS_MAX: usize = 64;

/// Somebody who has figures of their own, such as the `Stats` of a crate.
pub trait Source: Send + Sync + fmt::Debug {
    /// Puts what it has into `set`. Called every few seconds; it should only read counters.
    fn collect(&self, set: &mut Set);
}

/// A source from a closure, which `bin` makes of a crate's `Stats`.
pub fn source(name: &'static str, collect: impl Fn(&mut Set) + Send + Sync + 'static) -> Arc<dyn Source> {
    Arc::new(Closure { name, collect })
}

struct Closure<F> {
    name: &'static str,
    collect: F,
}

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "source {}", self.name)
    }
}

impl<F: Fn(&mut Set) + Send + Sync> Source for Closure<F> {
    fn collect(&self, set: &mut Set) {
        (self.collect)(set);
    }
}

/// Metrics of this process. Share it by [`Arc`].
#[derive(Debug, Default)]
pub struct Registry {
    handles: Mutex<Vec<Handle>>,
    sources: Mutex<Vec<Arc<dyn Source>>>,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Handle {
    name: String,
    help: String,
    labels: Labels,
    metric: Metric,
}

#[derive(Debug, Clone)]
enum Metric {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

/// A total that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
    pub fn add(&self, by: f64) {
        let added = |bits| Some((f64::from_bits(bits) + by).to_bits());
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Observations in buckets of fixed bounds.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: Vec<f64>,
    /// One more than bounds.
    counts: Vec<AtomicU64>,
    sum: Gauge,
}

impl Histogram {
    fn new(bounds: &[f64]) -> Self {
        let mut bounds: Vec<f64> = bounds.iter().copied().filter(|bound| bound.is_finite()).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds.truncate(BOUNDS_MAX);
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum: Gauge::default() }))
    }

    pub fn observe(&self, value: f64) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[at].fetch_add(1, Ordering::Relaxed);
        self.0.sum.add(value);
    }

    /// Bounds with the count at or below each, sum, count.
    fn read(&self) -> (Vec<(f64, f64)>, f64, f64) {
        let mut below = 0;
        let mut add = |count: &AtomicU64| {
            below += count.load(Ordering::Relaxed);
            below as f64
        };
        let buckets = self.0.bounds.iter().zip(&self.0.counts).map(|(bound, count)| (*bound, add(count)));
        let buckets = buckets.collect();
        let count = self.0.counts.last().map_or(0.0, add);
        (buckets, self.0.sum.get(), count)
    }
}

impl Registry {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The counter of that name and labels; asked for again it is the same one.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        match self.handle(name, help, labels, Metric::Counter(Counter::default())) {
            Metric::Counter(counter) => counter,
            _ => Counter::default(),
        }
    }

    /// The gauge of that name and labels; asked for again it is the same one.
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        match self.handle(name, help, labels, Metric::Gauge(Gauge::default())) {
            Metric::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// The histogram of that name and labels; asked for again it is the same one, of the bounds that
    /// it had first.
    pub fn histogram(&self, name: &str, help: &str, labels: &[(&str, &str)], bounds: &[f64]) -> Histogram {
        match self.handle(name, help, labels, Metric::Histogram(Histogram::new(bounds))) {
            Metric::Histogram(histogram) => histogram,
            _ => Histogram::new(bounds),
        }
    }

    /// Asks `source` from now on. False when there are [`SOURCES_MAX`].
    pub fn register(&self, source: Arc<dyn Source>) -> bool {
        let mut sources = lock(&self.sources);
        let room = sources.len() < SOURCES_MAX;
        if room {
            sources.push(source);
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// The one that is there already, of whatever sort, else `fresh`.
    fn handle(&self, name: &str, help: &str, labels: &[(&str, &str)], fresh: Metric) -> Metric {
        let labels = Labels::from_pairs(labels.iter().copied());
        let mut handles = lock(&self.handles);
        let same = |handle: &Metric| std::mem::discriminant(handle) == std::mem::discriminant(&fresh);
        if let Some(known) = handles.iter().find(|handle| handle.name == name && handle.labels == labels) {
            if !same(&known.metric) {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            return known.metric.clone();
        }
        if handles.len() >= HANDLES_MAX {
            self.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            let (name, help) = (name.to_owned(), help.to_owned());
            handles.push(Handle { name, help, labels, metric: fresh.clone() });
        }
        fresh
    }

    /// Reads all handles and asks all sources.
    pub fn collect(&self, set: &mut Set) {
        for handle in lock(&self.handles).iter() {
            let labels: Vec<_> = handle.labels.iter().map(|label| (label.name, label.value)).collect();
            match &handle.metric {
                Metric::Counter(counter) => {
                    set.counter(&handle.name, &handle.help, &labels, counter.get() as f64);
                }
                Metric::Gauge(gauge) => set.gauge(&handle.name, &handle.help, &labels, gauge.get()),
                Metric::Histogram(histogram) => {
                    set.classic(&handle.name, &handle.help, &labels, histogram.read());
                }
            }
        }
        let sources = lock(&self.sources).clone();
        for source in sources {
            source.collect(set);
        }
        let refused = self.refused.load(Ordering::Relaxed) as f64;
        set.counter(
            "stead_registry_refused_total",
            "Metrics that the registry had no room for.",
            &[],
            refused,
        );
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Arc<dyn Source> {
        source("two", |set| set.gauge("two", "Always two.", &[], 2.0))
    }

    #[test]
    fn handles_of_one_name_and_labels_are_one() {
        let registry = Registry::new();
        registry.counter("hits_total", "", &[("a", "1")]).add(2);
        registry.counter("hits_total", "", &[("a", "1")]).add(3);
        registry.counter("hits_total", "", &[("a", "2")]).add(1);
        registry.gauge("open", "", &[]).add(-1.5);
        let took = registry.histogram("took", "", &[], &[1.0, 0.5, f64::INFINITY]);
        [0.5, 0.7, 9.0].into_iter().for_each(|value| took.observe(value));
        assert!(registry.register(two()));
        let mut set = Set::default();
        registry.collect(&mut set);
        assert_eq!(set.get("hits_total", &[("a", "1")]), Some(5.0));
        assert_eq!((set.get("open", &[]), set.get("two", &[])), (Some(-1.5), Some(2.0)));
        let text = set.text();
        assert!(
            text.contains("took_bucket{le=\"0.5\"} 1\ntook_bucket{le=\"1\"} 2\ntook_bucket{le=\"+Inf\"} 3\n")
        );
    }

    #[test]
    fn what_there_is_no_room_for_counts_unseen() {
        let registry = Registry::new();
        for at in 0..=HANDLES_MAX {
            registry.counter("c", "", &[("at", &at.to_string())]).add(1);
        }
        registry.gauge("c", "", &[("at", "0")]).set(5.0);
        for _ in 0..=SOURCES_MAX {
            registry.register(two());
        }
        let mut set = Set::default();
        registry.collect(&mut set);
        assert_eq!(set.get("stead_registry_refused_total", &[]), Some(3.0));
        assert_eq!(set.get("c", &[("at", "0")]), Some(1.0));
        assert_eq!(set.get("c", &[("at", &HANDLES_MAX.to_string())]), None);
    }
}
