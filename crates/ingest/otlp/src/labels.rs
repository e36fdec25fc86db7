//! The labels of one data point, put together in one buffer that is used again for the next.

use std::{cmp::Ordering, ops::Range};

use metrics_api::{Exemplar, Histogram, METRIC_NAME, WriteBatch};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    Stamp, Strategy,
    any::Attribute,
    names,
    wire::{Fields, Result},
};

/// Attributes of one data point.
pub const ATTRIBUTES_MAX: usize = 256;
/// Bytes of all labels of one series.
pub const LABEL_BYTES_MAX: usize = 32 << 10;
/// Bytes of the labels of all series that one data point becomes.
pub const POINT_BYTES_MAX: usize = 8 << 20;

/// Who wins when two say the same name: the higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Of the resource, by the setting.
    Promoted,
    /// Of the data point.
    Point,
    /// Of the scope.
    Scope,
    /// `job` and `instance`.
    Identity,
    /// What the sender cannot override.
    Stamp,
}

#[derive(Debug, Clone)]
struct Pair {
    name: Range<usize>,
    value: Range<usize>,
    rank: Rank,
}

#[derive(Debug, Default)]
pub(crate) struct LabelSet {
    text: String,
    pairs: Vec<Pair>,
    /// Attributes that lost against another of the same name, or had no usable one.
    pub(crate) dropped: u64,
}

/// A value that several rows share but one label of.
pub(crate) type Extra<'a> = Option<(&'a str, &'a str)>;

impl LabelSet {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    pub(crate) fn add(&mut self, name: &str, value: &str, rank: Rank) {
        let from = self.text.len();
        self.text.push_str(name);
        let middle = self.text.len();
        self.text.push_str(value);
        self.pairs.push(Pair { name: from..middle, value: middle..self.text.len(), rank });
    }

    /// Adds an attribute under the name that the strategy gives it, before it under `prefix`.
    pub(crate) fn add_attribute(
        &mut self,
        strategy: Strategy,
        prefix: &str,
        attribute: Attribute<'_>,
        rank: Rank,
    ) -> Result<()> {
        let prefixed;
        let key = if prefix.is_empty() {
            attribute.key
        } else {
            prefixed = format!("{prefix}{}", attribute.key);
            &prefixed
        };
        let Some(name) = names::label(strategy, key).filter(|name| name != METRIC_NAME) else {
            self.dropped += 1;
            return Ok(());
        };
        let from = self.text.len();
        self.text.push_str(&name);
        let middle = self.text.len();
        attribute.write_value(&mut self.text)?;
        self.pairs.push(Pair { name: from..middle, value: middle..self.text.len(), rank });
        Ok(())
    }

    /// Adds all attributes in field `number` of `message`. False when there are more than
    /// [`ATTRIBUTES_MAX`].
    pub(crate) fn add_attributes(
        &mut self,
        strategy: Strategy,
        prefix: &str,
        (message, number): (&[u8], u32),
        rank: Rank,
    ) -> Result<bool> {
        let mut fields = Fields::of(message);
        let mut sorted = Vec::new();
        let mut len = 0;
        while let Some(attribute) = fields.next_message(number)? {
            if len == ATTRIBUTES_MAX {
                return Ok(false);
            }
            len += 1;
            let attribute = Attribute::read(attribute)?;
            if strategy.escapes() {
                sorted.push(attribute);
            } else {
                self.add_attribute(strategy, prefix, attribute, rank)?;
            }
        }
        // Values of keys that fall together are joined in the order of the keys.
        sorted.sort_by_key(|attribute| attribute.key);
        for attribute in sorted {
            self.add_attribute(strategy, prefix, attribute, rank)?;
        }
        Ok(true)
    }

    /// Sorts, settles who wins, and moves what the stamp claims to `exported_…`.
    pub(crate) fn seal(&mut self, strategy: Strategy, stamp: &Stamp) {
        for at in 0..self.pairs.len() {
            let Pair { name, value, rank } = self.pairs[at].clone();
            if stamp.labels.iter().any(|(claimed, _)| *claimed == self.text[name.clone()]) {
                let moved = format!("exported_{}", &self.text[name]);
                let from = self.text.len();
                self.text.push_str(&moved);
                self.pairs[at] = Pair { name: from..self.text.len(), value, rank };
            }
        }
        for (name, value) in &stamp.labels {
            self.add(name, value, Rank::Stamp);
        }
        let text = &self.text;
        self.pairs.sort_by(|a, b| match text[a.name.clone()].cmp(&text[b.name.clone()]) {
            Ordering::Equal => a.rank.cmp(&b.rank),
            other => other,
        });
        self.settle(strategy.escapes());
        let text = &self.text;
        self.pairs.retain(|pair| !text[pair.value.clone()].is_empty());
    }

    fn settle(&mut self, joins: bool) {
        let mut kept = 0;
        for at in 0..self.pairs.len() {
            let next = self.pairs[at].clone();
            if kept > 0 && self.text[self.pairs[kept - 1].name.clone()] == self.text[next.name.clone()] {
                let before = self.pairs[kept - 1].clone();
                if joins && before.rank == Rank::Point && next.rank == Rank::Point {
                    let joined =
                        format!("{};{}", &self.text[before.value.clone()], &self.text[next.value.clone()]);
                    let from = self.text.len();
                    self.text.push_str(&joined);
                    self.pairs[kept - 1] = Pair { value: from..self.text.len(), ..next };
                } else {
                    self.dropped += 1;
                    self.pairs[kept - 1] = next;
                }
            } else {
                self.pairs[kept] = next;
                kept += 1;
            }
        }
        self.pairs.truncate(kept);
    }

    /// Whether they fit on each of `rows` series.
    pub(crate) fn fit(&self, rows: usize) -> bool {
        let bytes: usize = self.iter().map(|pair| pair.0.len() + pair.1.len()).sum();
        bytes <= LABEL_BYTES_MAX && bytes.saturating_mul(rows) <= POINT_BYTES_MAX
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|pair| (&self.text[pair.name.clone()], &self.text[pair.value.clone()]))
    }

    /// These labels with the metric's name and `extra`, in order of name.
    fn with<'a>(&'a self, name: &'a str, extra: Extra<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut own = self.iter().filter(move |pair| extra.is_none_or(|extra| extra.0 != pair.0)).peekable();
        let mut added = [(METRIC_NAME, name), extra.unwrap_or_default()];
        added.sort_unstable();
        let mut added = added.into_iter().filter(|pair| !pair.0.is_empty()).peekable();
        std::iter::from_fn(move || match (own.peek(), added.peek()) {
            (Some(a), Some(b)) if a.0 < b.0 => own.next(),
            (_, Some(_)) => added.next(),
            (_, None) => own.next(),
        })
    }

    /// What tells series apart, for the sums of deltas.
    pub(crate) fn key(&self, tenant: &str, name: &str, sort: u8) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(&[sort]);
        for (name, value) in std::iter::once((tenant, name)).chain(self.iter()) {
            hash.update(&(name.len() as u32).to_le_bytes());
            hash.update(name.as_bytes());
            hash.update(&(value.len() as u32).to_le_bytes());
            hash.update(value.as_bytes());
        }
        hash.digest128()
    }
}

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) batch: WriteBatch,
    /// Bytes that the batch holds, counted as it is filled.
    pub(crate) bytes: usize,
    pub(crate) rows: usize,
}

impl Rows {
    /// Begins a row; False when its labels cannot be one (a name twice, which `seal` prevents).
    pub(crate) fn begin(&mut self, labels: &LabelSet, name: &str, extra: Extra<'_>) -> bool {
        let bytes: usize = labels.with(name, extra).map(|pair| pair.0.len() + pair.1.len() + 2).sum();
        self.bytes += bytes + ROW_BYTES;
        self.rows += 1;
        self.batch.row_sorted(labels.with(name, extra)).is_ok()
    }

    pub(crate) fn float(
        &mut self,
        labels: &LabelSet,
        name: &str,
        extra: Extra<'_>,
        sample: (i64, f64),
    ) -> bool {
        let begun = self.begin(labels, name, extra);
        if begun {
            self.batch.float(sample.0, sample.1);
            self.bytes += 16;
        }
        begun
    }

    pub(crate) fn histogram(&mut self, time_ms: i64, histogram: Histogram) {
        self.bytes += 8 + histogram.size_bytes();
        self.batch.histogram(time_ms, histogram);
    }

    pub(crate) fn exemplar(&mut self, exemplar: Exemplar) {
        self.bytes += size_of::<Exemplar>() + exemplar.labels.as_bytes().len();
        self.batch.exemplar(exemplar);
    }
}

/// What a row takes beside its labels and samples.
const ROW_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(set: &LabelSet, extra: Extra<'_>) -> String {
        set.with("m", extra).map(|(name, value)| format!("{name}={value} ")).collect()
    }

    #[test]
    fn the_higher_rank_wins_and_the_stamp_cannot_be_overridden() {
        let mut set = LabelSet::default();
        set.add("service", "mine", Rank::Point);
        set.add("a", "resource", Rank::Promoted);
        set.add("a", "point", Rank::Point);
        set.add("job", "x", Rank::Point);
        set.add("job", "y", Rank::Identity);
        set.add("gone", "", Rank::Point);
        let stamp = Stamp { labels: vec![("service".into(), "checkout".into())] };
        set.seal(Strategy::default(), &stamp);
        assert_eq!(said(&set, None), "__name__=m a=point exported_service=mine job=y service=checkout ");
        assert_eq!(set.dropped, 2);
        set.clear();
        set.add("le", "own", Rank::Point);
        set.add("A", "1", Rank::Point);
        set.seal(Strategy::default(), &Stamp::default());
        assert_eq!(said(&set, Some(("le", "+Inf"))), "A=1 __name__=m le=+Inf ");
    }

    #[test]
    fn keys_that_fall_together_are_joined() {
        let mut set = LabelSet::default();
        for (key, value) in [("a.b", "1"), ("a_b", "2")] {
            let value = [b"\x0a\x01", value.as_bytes()].concat();
            let attribute = Attribute { key, value: &value };
            set.add_attribute(Strategy::UnderscoreEscapingWithSuffixes, "", attribute, Rank::Point).unwrap();
        }
        set.seal(Strategy::UnderscoreEscapingWithSuffixes, &Stamp::default());
        assert_eq!(said(&set, None), "__name__=m a_b=1;2 ");
    }
}
