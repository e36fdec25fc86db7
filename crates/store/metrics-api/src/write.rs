//! What receivers hand to a store, and what it says to it.

use std::fmt;

use base::Tenant;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{Exemplar, Histogram, Labels, Result, labels::push_encoded};

/// Takes samples in.
pub trait Writer: Send + Sync + fmt::Debug {
    /// Keeps `batch`. When it returns `Ok`, what was accepted is durable in the sense of the store's
    /// documentation, and every sample of the batch was either accepted or is counted as refused
    /// with its kind: a bad row does not cost the good ones.
    ///
    /// Cancel-safe in so far as a dropped call may still have taken the batch; sending it again
    /// doubles nothing, as a sample of the same time and value is the same sample.
    ///
    /// # Errors
    /// The store cannot take anything in: disk full, memory budget in use, shutting down. Nothing of
    /// the batch was acknowledged, and it may be sent again.
    fn write<'a>(&'a self, tenant: &'a Tenant, batch: WriteBatch) -> BoxFuture<'a, Result<Appended>>;
}

/// Rows of samples in columns. Made to be filled without an allocation per series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriteBatch {
    labels: Vec<u8>,
    ends: Vec<RowEnds>,
    floats: Vec<(i64, f64)>,
    histograms: Vec<(i64, Histogram)>,
    exemplars: Vec<Exemplar>,
    /// Metric's name and what was said of it.
    pub metadata: Vec<(String, Metadata)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct RowEnds {
    labels: usize,
    floats: usize,
    histograms: usize,
    exemplars: usize,
}

/// One series of a batch with its samples.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Labels in encoded form, see [`Labels`].
    pub labels: &'a [u8],
    /// Times in milliseconds and values, in the order they came.
    pub floats: &'a [(i64, f64)],
    pub histograms: &'a [(i64, Histogram)],
    pub exemplars: &'a [Exemplar],
}

impl WriteBatch {
    /// Begins a row; samples pushed next are its own.
    pub fn row(&mut self, labels: &Labels) -> &mut Self {
        self.labels.extend_from_slice(labels.as_bytes());
        self.end_labels();
        self
    }

    /// Begins a row of labels given in ascending order of name, each once, none with an empty value.
    /// Receivers that have them so save the making of [`Labels`].
    ///
    /// # Errors
    /// The labels are not so; no row was begun. Sort them with [`Labels::from_pairs`] then.
    pub fn row_sorted<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> std::result::Result<&mut Self, NotSorted> {
        let start = self.labels.len();
        let mut before = "";
        for (name, value) in pairs {
            if name <= before || value.is_empty() {
                self.labels.truncate(start);
                return Err(NotSorted);
            }
            push_encoded(&mut self.labels, name, value);
            before = name;
        }
        self.end_labels();
        Ok(self)
    }

    fn end_labels(&mut self) {
        self.ends.push(RowEnds {
            labels: self.labels.len(),
            floats: self.floats.len(),
            histograms: self.histograms.len(),
            exemplars: self.exemplars.len(),
        });
    }

    /// A float of the row begun last; nothing when there is none.
    pub fn float(&mut self, time_ms: i64, value: f64) -> &mut Self {
        if let Some(row) = self.ends.last_mut() {
            self.floats.push((time_ms, value));
            row.floats += 1;
        }
        self
    }

    /// A histogram of the row begun last; nothing when there is none.
    pub fn histogram(&mut self, time_ms: i64, value: Histogram) -> &mut Self {
        if let Some(row) = self.ends.last_mut() {
            self.histograms.push((time_ms, value));
            row.histograms += 1;
        }
        self
    }

    /// An exemplar of the row begun last; nothing when there is none.
    pub fn exemplar(&mut self, exemplar: Exemplar) -> &mut Self {
        if let Some(row) = self.ends.last_mut() {
            self.exemplars.push(exemplar);
            row.exemplars += 1;
        }
        self
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.ends.len()).map(|at| {
            let from = if at == 0 { RowEnds::default() } else { self.ends[at - 1] };
            let to = self.ends[at];
            Row {
                labels: &self.labels[from.labels..to.labels],
                floats: &self.floats[from.floats..to.floats],
                histograms: &self.histograms[from.histograms..to.histograms],
                exemplars: &self.exemplars[from.exemplars..to.exemplars],
            }
        })
    }

    #[must_use]
    pub fn rows_len(&self) -> usize {
        self.ends.len()
    }

    /// Floats and histograms in it.
    #[must_use]
    pub fn samples_len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.metadata.is_empty()
    }

    /// Bytes it takes in memory, for budgets.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let histograms =
            self.histograms.iter().map(|(_, histogram)| 8 + histogram.size_bytes()).sum::<usize>();
        let metadata =
            self.metadata.iter().map(|(name, said)| name.len() + said.help.len() + said.unit.len() + 80);
        self.labels.len()
            + self.ends.len() * size_of::<RowEnds>()
            + self.floats.len() * 16
            + histograms
            + self.exemplars.len() * 64
            + metadata.sum::<usize>()
    }
}

/// Labels were not given in ascending order, or one was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("labels are not in ascending order of name")]
pub struct NotSorted;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    #[default]
    Unknown,
}

/// What was said of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Metadata {
    #[serde(rename = "type")]
    pub kind: MetricType,
    pub help: String,
    pub unit: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Appended {
    pub samples: u64,
    pub exemplars: u64,
    /// Samples that were there already with the same value; they count as taken.
    pub duplicates: u64,
    /// Samples refused, by kind.
    pub refused: Vec<(RefusalKind, u64)>,
    /// The first refusals in words, at most [`Appended::REFUSALS_MAX`].
    pub refusals: Vec<Refusal>,
}

impl Appended {
    pub const REFUSALS_MAX: usize = 20;

    /// Counts `samples` refused for one reason, and keeps the words while there is room.
    pub fn refuse(&mut self, kind: RefusalKind, samples: u64, why: impl FnOnce() -> String) {
        match self.refused.iter_mut().find(|known| known.0 == kind) {
            Some(known) => known.1 += samples,
            None => self.refused.push((kind, samples)),
        }
        if self.refusals.len() < Self::REFUSALS_MAX {
            self.refusals.push(Refusal { kind, why: why() });
        }
    }

    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|refused| refused.1).sum()
    }

    /// Adds what became of another part of the same batch.
    pub fn merge(&mut self, other: Self) {
        self.samples += other.samples;
        self.exemplars += other.exemplars;
        self.duplicates += other.duplicates;
        for (kind, samples) in other.refused {
            match self.refused.iter_mut().find(|known| known.0 == kind) {
                Some(known) => known.1 += samples,
                None => self.refused.push((kind, samples)),
            }
        }
        let room = Self::REFUSALS_MAX.saturating_sub(self.refusals.len());
        self.refusals.extend(other.refusals.into_iter().take(room));
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// Series, time and reason.
    pub why: String,
}

/// Why a sample was not taken. Sending it again will not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// Labels that are no labels: no name, out of order, too many, too long.
    Labels,
    /// Older than the window for late samples, or than retention.
    TooOld,
    /// Further ahead of the clock than allowed.
    InFuture,
    /// Another value at the same time is stored already.
    Conflict,
    /// The tenant has as many series as it may.
    SeriesLimit,
    /// The metric has as many series as it may.
    MetricLimit,
    /// A histogram that contradicts itself.
    Histogram,
    /// An exemplar that does not fit its series: too old, too long, out of order.
    Exemplar,
}

impl RefusalKind {
    /// The word for it in counters and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::TooOld => "too_old",
            Self::InFuture => "in_future",
            Self::Conflict => "conflict",
            Self::SeriesLimit => "series_limit",
            Self::MetricLimit => "metric_limit",
            Self::Histogram => "histogram",
            Self::Exemplar => "exemplar",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_samples() {
        let mut batch = WriteBatch::default();
        batch.row_sorted([("__name__", "up"), ("a", "1")]).unwrap().float(1, 1.0).float(2, 0.0);
        assert_eq!(batch.row_sorted([("b", "1"), ("a", "1")]).err(), Some(NotSorted));
        batch.row(&Labels::from_pairs([("__name__", "h")])).histogram(3, Histogram::default());
        let rows: Vec<_> = batch.rows().collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].floats, [(1, 1.0), (2, 0.0)]);
        assert_eq!(Labels::from_bytes(rows[0].labels).unwrap().to_string(), r#"up{a="1"}"#);
        assert_eq!((rows[1].floats.len(), rows[1].histograms.len()), (0, 1));
    }

    #[test]
    fn refusals_are_counted_beyond_those_kept() {
        let mut appended = Appended::default();
        for at in 0..100 {
            appended.refuse(RefusalKind::TooOld, 1, || format!("sample {at}"));
        }
        assert_eq!((appended.refused_total(), appended.refusals.len()), (100, Appended::REFUSALS_MAX));
    }
}
