//! What the reader of an answer should know beside it: warnings and infos, in upstream's words.

use std::collections::HashMap;

use crate::{
    ast::Place,
    eval::text::{percent_g, quoted},
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
    known: HashMap<String, (Level, Place, usize)>,
    omitted: [usize; 2],
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
        let at = self.known.len();
        if at >= ANNOTATIONS_MAX {
            self.omitted[usize::from(level == Level::Info)] += 1;
            return;
        }
        self.known.entry(note.words()).or_insert((level, place, at));
    }

    pub fn merge(&mut self, other: Self) {
        if other.known.is_empty() {
            return;
        }
        let mut others: Vec<_> = other.known.into_iter().collect();
        others.sort_unstable_by_key(|(_, (_, _, at))| *at);
        for (words, (level, place, _)) in others {
            let at = self.known.len();
            self.known.entry(words).or_insert((level, place, at));
        }
        for (own, theirs) in self.omitted.iter_mut().zip(other.omitted) {
            *own += theirs;
        }
    }

    /// Warnings and infos with their places in `query`, in the order in which they were met.
    pub fn finish(self, query: &str) -> (Vec<String>, Vec<String>) {
        let mut all: Vec<_> = self.known.into_iter().collect();
        all.sort_unstable_by_key(|(_, (_, _, at))| *at);
        let (mut warnings, mut infos) = (Vec::new(), Vec::new());
        for (words, (level, place, _)) in all {
            let at = line_and_column(query, place.start);
            match level {
                Level::Warning => warnings.push(format!("PromQL warning: {words} ({at})")),
                Level::Info => infos.push(format!("PromQL info: {words} ({at})")),
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
