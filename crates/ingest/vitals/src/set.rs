//! One reading of many metrics: filled by whoever knows them, then written to a store or as text.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use metrics_api::{Histogram, Labels, METRIC_NAME, Metadata, MetricType, WriteBatch};

/// Series of one reading; more are left out and counted.
pub const SERIES_MAX: usize = 50_000;
/// What the text of [`Set::text`] is.
pub const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics with their values at one time.
#[derive(Debug, Default)]
pub struct Set {
    families: BTreeMap<String, Family>,
    /// Labels that every series gets over its own.
    common: Vec<(String, String)>,
    series: usize,
    /// Series that were left out: there were [`SERIES_MAX`].
    pub left_out: u64,
}

#[derive(Debug)]
struct Family {
    kind: MetricType,
    help: String,
    /// By labels without the metric's name.
    series: BTreeMap<Labels, Value>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Float(f64),
    Native(Histogram),
    Classic { buckets: Vec<(f64, f64)>, sum: f64, count: f64 },
}

impl Set {
    /// A set whose series all get `common`.
    #[must_use]
    pub fn with(common: &[(&str, &str)]) -> Self {
        let common = common.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { common, ..Self::default() }
    }

    /// A total that only grows, until whoever counts is restarted.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.put(name, help, MetricType::Counter, labels, Value::Float(value));
    }

    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.put(name, help, MetricType::Gauge, labels, Value::Float(value));
    }

    pub fn native(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: Histogram) {
        self.put(name, help, MetricType::Histogram, labels, Value::Native(value));
    }

    /// `buckets` are upper bounds, ascending and without +Inf, with the count at or below each.
    pub fn classic(
        &mut self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        (buckets, sum, count): (Vec<(f64, f64)>, f64, f64),
    ) {
        self.put(name, help, MetricType::Histogram, labels, Value::Classic { buckets, sum, count });
    }

    fn put(&mut self, name: &str, help: &str, kind: MetricType, labels: &[(&str, &str)], value: Value) {
        if self.series >= SERIES_MAX {
            self.left_out += 1;
            return;
        }
        let common = self.common.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = Labels::from_pairs(labels.iter().copied().chain(common));
        let family = self.families.entry(name.to_owned()).or_insert_with(|| Family {
            kind,
            help: help.to_owned(),
            series: BTreeMap::new(),
        });
        if family.series.insert(labels, value).is_none() {
            self.series += 1;
        }
    }

    /// Takes over all that `other` has.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.left_out += other.left_out;
        for (name, family) in other.families {
            let into = self.families.entry(name).or_insert_with(|| Family {
                kind: family.kind,
                help: family.help.clone(),
                series: BTreeMap::new(),
            });
            for (labels, value) in family.series {
                if self.series >= SERIES_MAX {
                    self.left_out += 1;
                } else if into.series.insert(labels, value).is_none() {
                    self.series += 1;
                }
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.series
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series == 0
    }

    /// The value of a float, for tests and for what is made of several.
    #[must_use]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let common = self.common.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = Labels::from_pairs(labels.iter().copied().chain(common));
        match self.families.get(name)?.series.get(&labels)? {
            Value::Float(value) => Some(*value),
            Value::Native(histogram) => Some(histogram.count),
            Value::Classic { count, .. } => Some(*count),
        }
    }

    /// Names in it, with kind and help.
    pub fn families(&self) -> impl Iterator<Item = (&str, MetricType, &str)> {
        self.families.iter().map(|(name, family)| (name.as_str(), family.kind, family.help.as_str()))
    }

    /// Appends all to `batch`, and to `seen` the labels of each series and whether it is a native
    /// histogram.
    pub(crate) fn write(&self, batch: &mut WriteBatch, seen: &mut HashMap<Labels, bool>, time_ms: i64) {
        for (name, family) in &self.families {
            let said =
                Metadata { kind: family.kind, help: family.help.clone(), unit: unit_of(name).to_owned() };
            batch.metadata.push((name.clone(), said));
            for (labels, value) in &family.series {
                let mut float = |labels: Labels, value: f64| {
                    batch.row(&labels).float(time_ms, value);
                    seen.insert(labels, false);
                };
                match value {
                    Value::Float(value) => float(labels.with(METRIC_NAME, name), *value),
                    Value::Classic { buckets, sum, count } => {
                        let bucket = labels.with(METRIC_NAME, &format!("{name}_bucket"));
                        for (bound, below) in buckets {
                            float(bucket.with("le", &bound.to_string()), *below);
                        }
                        float(bucket.with("le", "+Inf"), *count);
                        float(labels.with(METRIC_NAME, &format!("{name}_sum")), *sum);
                        float(labels.with(METRIC_NAME, &format!("{name}_count")), *count);
                    }
                    Value::Native(histogram) => {
                        let labels = labels.with(METRIC_NAME, name);
                        batch.row(&labels).histogram(time_ms, histogram.clone());
                        seen.insert(labels, true);
                    }
                }
            }
        }
    }

    /// Prometheus' text format 0.0.4. It has no native histograms: of those, count and sum.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            let kind = match family.kind {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
                _ => "untyped",
            };
            let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in &family.series {
                let mut line = |suffix: &str, le: Option<&str>, value: f64| {
                    let named = labels.with(METRIC_NAME, &format!("{name}{suffix}"));
                    let named = le.map_or(named.clone(), |le| named.with("le", le));
                    let _ = writeln!(text, "{named} {}", number(value));
                };
                match value {
                    Value::Float(value) => line("", None, *value),
                    Value::Native(histogram) => {
                        line("_bucket", Some("+Inf"), histogram.count);
                        line("_sum", None, histogram.sum);
                        line("_count", None, histogram.count);
                    }
                    Value::Classic { buckets, sum, count } => {
                        for (bound, below) in buckets {
                            line("_bucket", Some(&bound.to_string()), *below);
                        }
                        line("_bucket", Some("+Inf"), *count);
                        line("_sum", None, *sum);
                        line("_count", None, *count);
                    }
                }
            }
        }
        text
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    value.to_string()
}

/// The unit that a name ends on.
fn unit_of(name: &str) -> &'static str {
    let stem = name.strip_suffix("_total").unwrap_or(name);
    ["microseconds", "seconds", "bytes", "ratio"]
        .into_iter()
        .find(|unit| stem.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_')))
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_a_scraper_reads() {
        let mut set = Set::with(&[("job", "stead")]);
        set.counter("hits_total", "What came\nin", &[("path", "a\"b")], 3.0);
        set.classic("took_seconds", "How long", &[], (vec![(0.5, 1.0)], 2.5, 2.0));
        assert_eq!(
            set.text(),
            "# HELP hits_total What came\\nin\n# TYPE hits_total counter\n\
             hits_total{job=\"stead\", path=\"a\\\"b\"} 3\n\
             # HELP took_seconds How long\n# TYPE took_seconds histogram\n\
             took_seconds_bucket{job=\"stead\", le=\"0.5\"} 1\n\
             took_seconds_bucket{job=\"stead\", le=\"+Inf\"} 2\n\
             took_seconds_sum{job=\"stead\"} 2.5\ntook_seconds_count{job=\"stead\"} 2\n"
        );
    }

    #[test]
    fn series_beyond_the_limit_are_counted() {
        let mut set = Set::default();
        for at in 0..SERIES_MAX + 2 {
            set.gauge("g", "", &[("at", &at.to_string())], 0.0);
        }
        assert_eq!((set.len(), set.left_out), (SERIES_MAX, 2));
    }
}
