//! What the reader of an answer should know beside it: warnings and infos, in upstream's words.

use std::collections::HashMap;

use crate::{
    ast::Place,
    eval::{
        date,
        text::{percent_g, quoted, two_digits},
    },
};

/// Kinds of annotations kept for one answer; beyond it they are only counted.
pub const ANNOTATIONS_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Warning,
    Info,
}

/// Annotations by their words, each with the first place it was met at.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    known: HashMap<String, Known>,
    omitted: [usize; 2],
}

#[derive(Debug, Clone, Copy)]
struct Known {
    level: Level,
    place: Place,
    /// How many were known before.
    order: usize,
    forced: Option<ForcedDetail>,
}

/// Where counts of classic buckets fell from a bucket to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForcedDetail {
    pub first_ms: i64,
    pub last_ms: i64,
    pub samples: u64,
    pub lowest: f64,
    pub highest: f64,
    pub largest_difference: f64,
}

impl ForcedDetail {
    fn widen(&mut self, other: &Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.samples += other.samples;
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
        self.largest_difference = self.largest_difference.max(other.largest_difference);
    }

    fn words(&self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            percent_g(self.lowest),
            percent_g(self.highest),
            two_digits(self.largest_difference),
            self.samples,
            date::rfc3339(self.first_ms / 1000),
            date::rfc3339(self.last_ms / 1000),
        )
    }
}

/// During which operation histograms did not fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// One annotation; texts are names of metrics unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Note<'a> {
    InvalidQuantile(f64),
    InvalidRatio(f64, f64),
    /// The metric's name and the label's value.
    BadBucketLabel(&'a str, &'a str),
    MixedFloatsHistograms(&'a str),
    MixedFloatsHistogramsAggregation,
    MixedClassicNative(&'a str),
    NotCounter(&'a str),
    NotGauge(&'a str),
    MixedExponentialCustom(&'a str),
    /// The operator.
    IncompatibleLayout(&'a str),
    Collision(Operation),
    SortInRange,
    PossibleNonCounter(&'a str),
    /// The metric's name and its type.
    PossibleNonCounterLabel(&'a str, &'a str),
    ForcedMonotonicity(&'a str),
    /// Left type, operator, right type.
    IncompatibleTypes(&'a str, &'a str, &'a str),
    /// The aggregation.
    IgnoredInAggregation(&'a str),
    IgnoredInMixedRange(&'a str),
    NanResult(&'a str),
    NanSkew(&'a str),
    NanFraction(&'a str),
    Reconciled(Operation),
}

impl Note<'_> {
    fn level(self) -> Level {
        match self {
            Self::PossibleNonCounter(_)
            | Self::PossibleNonCounterLabel(..)
            | Self::ForcedMonotonicity(_)
            | Self::IncompatibleTypes(..)
            | Self::IgnoredInAggregation(_)
            | Self::IgnoredInMixedRange(_)
            | Self::NanResult(_)
            | Self::NanSkew(_)
            | Self::NanFraction(_)
            | Self::Reconciled(_) => Level::Info,
            _ => Level::Warning,
        }
    }

    fn words(self) -> String {
        match self {
            Self::InvalidQuantile(q) => {
                format!("quantile value should be between 0 and 1, got {}", percent_g(q))
            }
            Self::InvalidRatio(ratio, to) => {
                let (ratio, to) = (percent_g(ratio), percent_g(to));
                format!("ratio value should be between -1 and 1, got {ratio}, capping to {to}")
            }
            Self::MixedFloatsHistograms(name) => {
                format!("encountered a mix of histograms and floats for metric name {}", quoted(name))
            }
            Self::MixedFloatsHistogramsAggregation => {
                "encountered a mix of histograms and floats for aggregation".into()
            }
            Self::NotCounter(name) => {
                format!("this native histogram metric is not a counter: {}", quoted(name))
            }
            Self::NotGauge(name) => {
                format!("this native histogram metric is not a gauge: {}", quoted(name))
            }
            Self::MixedExponentialCustom(name) => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric \
                 name {}",
                quoted(name)
            ),
            Self::IncompatibleLayout(operator) => {
                format!("incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::Collision(during) => {
                format!("conflicting counter resets during histogram {}", during.as_str())
            }
            Self::SortInRange => {
                "sort is ineffective for range queries since results are always ordered by labels".into()
            }
            Self::PossibleNonCounter(name) => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                quoted(name)
            ),
            Self::PossibleNonCounterLabel(name, kind) => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", \
                 got {}: {}",
                quoted(kind),
                quoted(name)
            ),
            Self::IncompatibleTypes(left, operator, right) => format!(
                "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
                quoted(operator)
            ),
            Self::IgnoredInAggregation(name) => format!("ignored histogram in {name} aggregation"),
            Self::IgnoredInMixedRange(name) => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {}",
                quoted(name)
            ),
            Self::Reconciled(during) => {
                format!("mismatched custom buckets were reconciled during {}", during.as_str())
            }
            other => other.words_of_metric(),
        }
    }

    /// Those that name the metric only when it has a name.
    fn words_of_metric(self) -> String {
        let (words, name): (std::borrow::Cow<'_, str>, &str) = match self {
            Self::BadBucketLabel(name, label) => (
                format!("bucket label \"le\" is missing or has a malformed value of {}", quoted(label))
                    .into(),
                name,
            ),
            Self::MixedClassicNative(name) => {
                ("vector contains a mix of classic and native histograms".into(), name)
            }
            Self::ForcedMonotonicity(name) => (
                "input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
                    .into(),
                name,
            ),
            Self::NanResult(name) => {
                ("input to histogram_quantile has NaN observations, result is NaN".into(), name)
            }
            Self::NanSkew(name) => {
                ("input to histogram_quantile has NaN observations, result is skewed higher".into(), name)
            }
            Self::NanFraction(name) => (
                "input to histogram_fraction has NaN observations, which are excluded from all fractions"
                    .into(),
                name,
            ),
            _ => ("".into(), ""),
        };
        if name.is_empty() { words.into_owned() } else { format!("{words} for metric name {}", quoted(name)) }
    }
}

impl Annotations {
    pub fn add(&mut self, note: Note<'_>, place: Place) {
        let level = note.level();
        let order = self.known.len();
        if order >= ANNOTATIONS_MAX {
            self.omitted[usize::from(level == Level::Info)] += 1;
            return;
        }
        self.known.entry(note.words()).or_insert(Known { level, place, order, forced: None });
    }

    /// Notes that counts of a metric's buckets were raised.
    pub fn add_forced(&mut self, name: &str, place: Place, detail: ForcedDetail) {
        let note = Note::ForcedMonotonicity(name);
        self.add(note, place);
        if let Some(known) = self.known.get_mut(&note.words()) {
            known.forced.get_or_insert(ForcedDetail { samples: 0, ..detail }).widen(&detail);
        }
    }

    pub fn merge(&mut self, other: Self) {
        if other.known.is_empty() {
            return;
        }
        let mut others: Vec<_> = other.known.into_iter().collect();
        others.sort_unstable_by_key(|(_, known)| known.order);
        for (words, theirs) in others {
            let order = self.known.len();
            let own = self.known.entry(words).or_insert(Known { order, forced: None, ..theirs });
            match (&mut own.forced, theirs.forced) {
                (Some(own), Some(theirs)) => own.widen(&theirs),
                (own, theirs) => *own = own.or(theirs),
            }
        }
        for (own, theirs) in self.omitted.iter_mut().zip(other.omitted) {
            *own += theirs;
        }
    }

    /// Warnings and infos with their places in `query`, in the order in which they were met.
    pub fn finish(self, query: &str) -> (Vec<String>, Vec<String>) {
        let mut all: Vec<_> = self.known.into_iter().collect();
        all.sort_unstable_by_key(|(_, known)| known.order);
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (words, known) in all {
            let at = line_and_column(query, known.place.start);
            let detail = known.forced.map(|forced| forced.words()).unwrap_or_default();
            match known.level {
                Level::Warning => warnings.push(format!("PromQL warning: {words}{detail} ({at})")),
                Level::Info => infos.push(format!("PromQL info: {words}{detail} ({at})")),
            }
        }
        for (list, omitted, kind) in
            [(&mut warnings, self.omitted[0], "warning"), (&mut infos, self.omitted[1], "info")]
        {
            if omitted > 0 {
                list.push(format!("{omitted} more {kind} annotations omitted"));
            }
        }
        (warnings, infos)
    }
}

fn line_and_column(query: &str, at: usize) -> String {
    let before = query.as_bytes().get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!("{line}:{column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_is_summed_up() {
        let mut annotations = Annotations::default();
        let one = ForcedDetail {
            first_ms: 0,
            last_ms: 0,
            samples: 1,
            lowest: 2.5,
            highest: 10.0,
            largest_difference: 1.234,
        };
        annotations.add_forced("a", Place::new(0, 1), one);
        let later = ForcedDetail { first_ms: 60_000, last_ms: 60_000, highest: 100.0, ..one };
        annotations.add_forced("a", Place::new(0, 1), later);
        let (_, infos) = annotations.finish("a");
        let end = "for metric name \"a\", from buckets 2.5 to 100, with a max diff of 1.2, over 2 samples from \
                   1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:1)";
        assert!(infos[0].ends_with(end), "{}", infos[0]);
    }

    #[test]
    fn the_first_place_counts_and_the_number_is_bounded() {
        let mut annotations = Annotations::default();
        annotations.add(Note::MixedFloatsHistogramsAggregation, Place::new(6, 7));
        annotations.add(Note::MixedFloatsHistogramsAggregation, Place::new(9, 10));
        for at in 0..2 * ANNOTATIONS_MAX {
            annotations.add(Note::NotGauge(&at.to_string()), Place::new(0, 1));
        }
        let (warnings, infos) = annotations.finish("a\nsum(b)");
        assert_eq!((warnings.len(), infos.len()), (ANNOTATIONS_MAX + 1, 0));
        assert_eq!(
            warnings[0],
            "PromQL warning: encountered a mix of histograms and floats for aggregation (2:5)"
        );
        assert_eq!(warnings[ANNOTATIONS_MAX], "1001 more warning annotations omitted");
    }
}
