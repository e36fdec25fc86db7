//! The rules of OpenMetrics 1.0 that go beyond syntax: names that clash, what a type allows, the
//! grouping of a family's samples, histograms that add up.

use std::collections::{BTreeMap, HashSet};

use metrics_api::MetricType;

use super::{
    EXEMPLAR_CHARS_MAX, Format, HistogramSample, Options, ParseError, Said, Sample, Sink, Why, number, read,
    series::{self, Dialect},
};

/// Reads an exposition of OpenMetrics text by all of its rules.
///
/// # Errors
/// The first rule that is broken, with its line.
pub fn check(body: &[u8]) -> Result<(), ParseError> {
    let mut rules = Rules::default();
    read(Format::OpenMetrics, body, Options::default(), &mut rules)?;
    let lines = memchr::memchr_iter(b'\n', body).count();
    rules.close().map_err(|why| ParseError { line: lines.max(1), why })
}

#[derive(Default)]
struct Rules {
    seen_names: HashSet<String>,
    family: Option<Family>,
}

/// One family while its lines come in.
#[derive(Default)]
struct Family {
    name: String,
    kind: Option<MetricType>,
    help: bool,
    unit: Option<String>,
    samples: usize,
    /// The labels of the group that came last, its time, and the series seen at it.
    group: Option<Labels>,
    time: Option<f64>,
    at_this_time: HashSet<(String, Labels)>,
    seen_groups: HashSet<Labels>,
    buckets: Option<Buckets>,
}

type Labels = BTreeMap<String, String>;

/// What is known of one point of a histogram.
#[derive(Default)]
struct Buckets {
    bound: Option<f64>,
    value: f64,
    count: Option<f64>,
    has_sum: bool,
    has_gsum: bool,
    negative_bucket: bool,
    negative_gsum: bool,
}

impl Sink for Rules {
    fn said(&mut self, metric: &str, said: Said<'_>) -> Result<(), Why> {
        if self.family.as_ref().is_none_or(|family| family.name != metric) {
            self.close()?;
            self.family = Some(Family { name: metric.to_owned(), ..Family::default() });
        }
        let Some(family) = &mut self.family else { return Ok(()) };
        if family.samples > 0 {
            return Err(format!("metadata of `{metric}` stands after its samples").into());
        }
        let repeated = match said {
            Said::Help(_) => std::mem::replace(&mut family.help, true),
            Said::Kind(kind) => family.kind.replace(kind).is_some(),
            Said::Unit(unit) => family.unit.replace(unit.to_owned()).is_some(),
        };
        if repeated { Err(format!("the same is said of `{metric}` twice").into()) } else { Ok(()) }
    }

    fn sample(&mut self, sample: Sample<'_>) -> Result<(), Why> {
        let mut labels: Labels = series::pairs(sample.series, Dialect::OpenMetrics)?
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let name = labels.remove(metrics_api::METRIC_NAME).unwrap_or_default();
        if !self.family.as_ref().is_some_and(|family| family.owns(&name)) {
            self.close()?;
            self.family =
                Some(Family { name: name.clone(), kind: Some(MetricType::Unknown), ..Family::default() });
        }
        match &mut self.family {
            Some(family) => family.sample(&name, labels, &sample),
            None => Ok(()),
        }
    }

    fn histogram(&mut self, _: HistogramSample<'_>) -> Result<(), Why> {
        Ok(())
    }
}

impl Rules {
    /// The family is over: what can only be said of all of it.
    fn close(&mut self) -> Result<(), Why> {
        let Some(mut family) = self.family.take() else { return Ok(()) };
        let name = &family.name;
        for suffix in suffixes(family.kind()).iter().chain(&[""]).collect::<HashSet<_>>() {
            if !self.seen_names.insert(format!("{name}{suffix}")) {
                return Err(format!("the name `{name}{suffix}` is taken by another metric").into());
            }
        }
        if family.unit.as_ref().is_some_and(|unit| !unit.is_empty())
            && matches!(family.kind(), MetricType::Info | MetricType::StateSet)
        {
            return Err(format!("`{name}` is of a type that has no unit").into());
        }
        family.close_point()
    }
}

/// What the names of a family's samples end with.
fn suffixes(kind: MetricType) -> &'static [&'static str] {
    match kind {
        MetricType::Counter => &["_total", "_created"],
        MetricType::Summary => &["", "_count", "_sum", "_created"],
        MetricType::Histogram => &["_count", "_sum", "_bucket", "_created"],
        MetricType::GaugeHistogram => &["_gcount", "_gsum", "_bucket"],
        MetricType::Info => &["_info"],
        MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
    }
}

impl Family {
    fn kind(&self) -> MetricType {
        self.kind.unwrap_or_default()
    }

    fn is_histogram(&self) -> bool {
        matches!(self.kind(), MetricType::Histogram | MetricType::GaugeHistogram)
    }

    fn owns(&self, name: &str) -> bool {
        name.strip_prefix(self.name.as_str()).is_some_and(|suffix| suffixes(self.kind()).contains(&suffix))
    }

    fn sample(&mut self, name: &str, labels: Labels, sample: &Sample<'_>) -> Result<(), Why> {
        let suffix = name[self.name.len()..].to_owned();
        self.check_labels(&suffix, &labels)?;
        self.check_value(&suffix, sample.value)?;
        if sample.exemplar.is_some()
            && !(self.is_histogram() && suffix == "_bucket"
                || self.kind() == MetricType::Counter && suffix == "_total")
        {
            return Err("only buckets of histograms and totals of counters may have exemplars".into());
        }
        if let Some(exemplar) = sample.exemplar {
            let chars = series::exemplar_chars(&series::exemplar_pairs(exemplar.labels)?);
            if chars > EXEMPLAR_CHARS_MAX {
                let why =
                    format!("an exemplar's labels have {chars} characters, more than {EXEMPLAR_CHARS_MAX}");
                return Err(why.into());
            }
        }
        self.samples += 1;
        let group = self.group_of(&suffix, &labels);
        let new_point = self.enter(&group, sample.time_seconds)?;
        if new_point {
            self.close_point()?;
            self.at_this_time.clear();
        }
        let bound = labels.get("le").and_then(|le| number(le));
        // What comes again at the same time is the same point, cut off by a coarser clock.
        let is_new = self.at_this_time.insert((name.to_owned(), labels));
        if is_new && self.is_histogram() {
            self.buckets.get_or_insert_default().add(&suffix, bound, sample.value)?;
        }
        Ok(())
    }

    fn check_labels(&self, suffix: &str, labels: &Labels) -> Result<(), Why> {
        match (self.kind(), suffix) {
            (MetricType::StateSet, _) if !labels.contains_key(&self.name) => {
                Err(format!("a state of a stateset has the label `{}`", self.name).into())
            }
            (_, "_bucket") => {
                let le = labels.get("le").map_or("", String::as_str);
                match number(le) {
                    Some(bound) if bound.is_nan() => Err("a bucket's `le` cannot be NaN".into()),
                    Some(f64::INFINITY) if le != "+Inf" => {
                        Err("the last bucket's `le` is written `+Inf`".into())
                    }
                    Some(_) => Ok(()),
                    None => Err("a bucket has a label `le` with a number".into()),
                }
            }
            (MetricType::Summary, "") => {
                let quantile = labels.get("quantile").and_then(|quantile| number(quantile));
                match quantile {
                    Some(quantile) if (0.0..=1.0).contains(&quantile) => Ok(()),
                    _ => Err("a quantile has a label `quantile` between 0 and 1".into()),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_value(&self, suffix: &str, value: f64) -> Result<(), Why> {
        let kind = self.kind();
        if matches!(suffix, "_total" | "_sum" | "_count" | "_bucket" | "_gcount" | "_gsum") && value.is_nan()
        {
            return Err("what counts cannot be NaN".into());
        }
        if matches!(suffix, "_total" | "_sum" | "_count" | "_bucket" | "_gcount") && value < 0.0 {
            return Err("what counts cannot be negative".into());
        }
        if matches!(suffix, "_bucket" | "_count" | "_gcount") && value.fract() != 0.0 {
            return Err("a count is a whole number".into());
        }
        match kind {
            MetricType::StateSet if value != 0.0 && value != 1.0 => Err("a state is 0 or 1".into()),
            MetricType::Info if value != 1.0 => Err("an info has the value 1".into()),
            MetricType::Summary if suffix.is_empty() && value < 0.0 => {
                Err("a quantile cannot be negative".into())
            }
            _ => Ok(()),
        }
    }

    /// The labels that samples of one metric point share.
    fn group_of(&self, suffix: &str, labels: &Labels) -> Labels {
        let own = match (self.kind(), suffix) {
            // Every label of an info may be part of what it says.
            (MetricType::Info, _) => return Labels::new(),
            (MetricType::Summary, "") => "quantile",
            (MetricType::StateSet, _) => &self.name,
            (_, "_bucket") => "le",
            _ => return labels.clone(),
        };
        let mut labels = labels.clone();
        labels.remove(own);
        labels
    }

    /// Whether a sample of this group and time begins a new point.
    fn enter(&mut self, group: &Labels, time: Option<f64>) -> Result<bool, Why> {
        let same_group = self.group.as_ref() == Some(group);
        if same_group {
            match (self.time, time) {
                (Some(before), Some(now)) if before > now && self.kind() != MetricType::Info => {
                    return Err("times go backwards within a metric".into());
                }
                (Some(_), None) | (None, Some(_)) => {
                    return Err("some samples of a metric have a time and some have none".into());
                }
                _ => {}
            }
        } else if !self.seen_groups.insert(group.clone()) {
            return Err("the samples of a metric do not stand together".into());
        }
        let new_point = !same_group || self.time != time;
        self.group = Some(group.clone());
        self.time = time;
        Ok(new_point)
    }

    fn close_point(&mut self) -> Result<(), Why> {
        self.buckets.take().map_or(Ok(()), |buckets| buckets.close())
    }
}

impl Buckets {
    fn add(&mut self, suffix: &str, bound: Option<f64>, value: f64) -> Result<(), Why> {
        match (suffix, bound) {
            ("_bucket", Some(bound)) => {
                if self.bound.is_some_and(|before| bound <= before) {
                    return Err("buckets are not in the order of their `le`".into());
                }
                if value < self.value {
                    return Err("a bucket counts less than the one before it".into());
                }
                self.negative_bucket |= bound < 0.0;
                self.bound = Some(bound);
                self.value = value;
            }
            ("_count" | "_gcount", _) => self.count = Some(value),
            ("_sum", _) => self.has_sum = true,
            ("_gsum", _) => {
                self.has_gsum = true;
                self.negative_gsum |= value < 0.0;
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&self) -> Result<(), Why> {
        let sum = self.has_sum || self.has_gsum;
        let broken = if self.bound != Some(f64::INFINITY) {
            "a histogram has no bucket with `le=\"+Inf\"`"
        } else if self.count.is_some_and(|count| count != self.value) {
            "a histogram's count is not that of its last bucket"
        } else if sum && self.count.is_none() {
            "a histogram has a sum and no count"
        } else if !sum && self.count.is_some() {
            "a histogram has a count and no sum"
        } else if self.negative_bucket && self.has_sum {
            "a histogram with negative buckets has no sum"
        } else if !self.negative_bucket && self.negative_gsum {
            "a sum is negative and no bucket is"
        } else {
            return Ok(());
        };
        Err(broken.into())
    }
}
