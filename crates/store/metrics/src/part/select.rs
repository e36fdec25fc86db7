//! Which series meet matchers, and what labels there are.

use std::collections::BTreeSet;

use fst::{IntoStreamer, Streamer};
use metrics_api::{
    CardinalityEntry, CardinalityReport, Labels, METRIC_NAME, MatchOp, Matcher, Result, TimeRange,
};
use roaring::RoaringBitmap;

use super::{
    Part, SortKey,
    cache::{Block, BlockKind},
    index::{Posting, Stats, TERM_SEPARATOR, list_at, split_term},
};

/// Numbers of series in a part.
pub type Ordinals = RoaringBitmap;

/// Of so few series labels are read, of more the lists are.
const FEW_SERIES: u64 = 1_000;

impl Part {
    /// Numbers of the series that meet all matchers; none when the part does not touch `range`.
    ///
    /// # Errors
    /// [`metrics_api::Error::Damaged`], [`metrics_api::Error::Storage`].
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Ordinals> {
        if !self.overlaps(range) {
            return Ok(Ordinals::new());
        }
        let mut found: Option<Ordinals> = None;
        // Those that name something first: what they leave is less to take away from.
        for matcher in matchers.iter().filter(|matcher| !matcher.matches_empty()) {
            let with = self.with_value(&matcher.name, |value| matcher.matches(value), Some(matcher))?;
            found = Some(match found {
                Some(found) => found & with,
                None => with,
            });
            if found.as_ref().is_some_and(Ordinals::is_empty) {
                return Ok(Ordinals::new());
            }
        }
        let mut found = found.unwrap_or_else(|| {
            let mut all = Ordinals::new();
            all.insert_range(0..self.info.series);
            all
        });
        for matcher in matchers.iter().filter(|matcher| matcher.matches_empty()) {
            let negated = matcher.op == MatchOp::NotEqual;
            let hint = negated.then(|| Matcher::equal(matcher.name.as_str(), matcher.value.as_str()));
            found -= self.with_value(&matcher.name, |value| !matcher.matches(value), hint.as_ref())?;
        }
        Ok(found)
    }

    /// The number of exactly this series.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn find(&self, labels: &Labels) -> Result<Option<u32>> {
        let key = SortKey::of(labels);
        let (mut from, mut to) = (0, self.info.series);
        while from < to {
            let middle = from + (to - from) / 2;
            let there = self.labels(middle)?;
            if there == *labels {
                return Ok(Some(middle));
            }
            if SortKey::of(&there) < key {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(None)
    }

    /// Series whose label `name` has a value that `wanted` says yes to. `hint` is a matcher that no
    /// other value meets, to look only where they can be.
    fn with_value(
        &self,
        name: &str,
        wanted: impl Fn(&str) -> bool,
        hint: Option<&Matcher>,
    ) -> Result<Ordinals> {
        let mut all = Ordinals::new();
        let term = |value: &str| [name.as_bytes(), &[TERM_SEPARATOR], value.as_bytes()].concat();
        match hint.map_or(Hint::Prefix(String::new()), Hint::of) {
            Hint::Values(values) => {
                for value in values.iter().filter(|value| wanted(value)) {
                    if let Some(number) = self.terms.get(term(value)) {
                        self.add_posting(number, &mut all)?;
                    }
                }
            }
            Hint::Prefix(prefix) => {
                let start = term(&prefix);
                let skip = name.len() + 1;
                let mut stream = self.terms.range().ge(&start).into_stream();
                while let Some((key, number)) = stream.next() {
                    if !key.starts_with(&start) {
                        break;
                    }
                    if std::str::from_utf8(&key[skip..]).is_ok_and(&wanted) {
                        self.add_posting(number, &mut all)?;
                    }
                }
            }
        }
        Ok(all)
    }

    fn add_posting(&self, number: u64, all: &mut Ordinals) -> Result<()> {
        let lost = || self.damaged("a list of series", "it does not decode");
        match Posting::of(number).ok_or_else(lost)? {
            Posting::Single(ordinal) => {
                all.insert(ordinal);
            }
            Posting::List { block, place } => {
                if let Block::Postings(lists) = &*self.block(BlockKind::Postings, block)? {
                    *all |= list_at(lists, place).ok_or_else(lost)?;
                }
            }
        }
        Ok(())
    }

    /// Names of labels in order, of all series or of those.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn label_names(&self, of: Option<&Ordinals>) -> Result<Vec<String>> {
        let all = self.stats.names.iter().map(|stats| stats.name.clone());
        let Some(of) = of else { return Ok(all.collect()) };
        if of.len() <= FEW_SERIES {
            let mut names = BTreeSet::new();
            for ordinal in of {
                names.extend(self.labels(ordinal)?.iter().map(|label| label.name.to_owned()));
            }
            return Ok(names.into_iter().collect());
        }
        let mut found = Vec::new();
        for name in all {
            if self.some_value(&name, of)? {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// Whether any of the series has the label.
    fn some_value(&self, name: &str, of: &Ordinals) -> Result<bool> {
        let mut some = false;
        self.each_value(name, |_, number| {
            let mut with = Ordinals::new();
            self.add_posting(number, &mut with)?;
            some = !with.is_disjoint(of);
            Ok(!some)
        })?;
        Ok(some)
    }

    /// Values of a label in order, of all series or of those.
    ///
    /// # Errors
    /// As [`Part::select`].
    pub fn label_values(&self, name: &str, of: Option<&Ordinals>) -> Result<Vec<String>> {
        if let Some(of) = of.filter(|of| of.len() <= FEW_SERIES) {
            let mut values = BTreeSet::new();
            for ordinal in of {
                let labels = self.labels(ordinal)?;
                if labels.has(name) {
                    values.insert(labels.get(name).to_owned());
                }
            }
            return Ok(values.into_iter().collect());
        }
        let mut found = Vec::new();
        self.each_value(name, |value, number| {
            let mut wanted = true;
            if let Some(of) = of {
                let mut with = Ordinals::new();
                self.add_posting(number, &mut with)?;
                wanted = !with.is_disjoint(of);
            }
            if wanted {
                found.push(value.to_owned());
            }
            Ok(true)
        })?;
        Ok(found)
    }

    /// Walks the values of a label in order until `each` says no.
    fn each_value(&self, name: &str, mut each: impl FnMut(&str, u64) -> Result<bool>) -> Result<()> {
        let start = [name.as_bytes(), &[TERM_SEPARATOR]].concat();
        let mut stream = self.terms.range().ge(&start).into_stream();
        while let Some((key, number)) = stream.next() {
            if !key.starts_with(&start) || !each(split_term(key).1, number)? {
                break;
            }
        }
        Ok(())
    }

    /// What makes the number of series, the `top` largest of each kind; of metrics and label pairs
    /// at most the hundred that were kept when the part was written.
    #[must_use]
    pub fn cardinality(&self, top: usize) -> CardinalityReport {
        let mut by_values = entries(self.stats.names.iter().map(|stats| (&stats.name, stats.values)));
        let mut by_bytes = entries(
            self.stats.names.iter().map(|stats| (&stats.name, stats.bytes + stats.name.len() as u64)),
        );
        let mut by_metric = entries(self.stats.metrics.iter().map(|(name, series)| (name, *series)));
        let mut by_pair = entries(self.stats.pairs.iter().map(|(pair, series)| (pair, *series)));
        for list in [&mut by_values, &mut by_bytes, &mut by_metric, &mut by_pair] {
            list.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
            list.truncate(top);
        }
        CardinalityReport {
            series: u64::from(self.info.series),
            label_pairs: self.stats.names.iter().map(|stats| stats.values).sum(),
            min_time_ms: self.info.min_time_ms,
            max_time_ms: self.info.max_time_ms,
            series_by_metric: by_metric,
            values_by_label: by_values,
            memory_bytes_by_label: by_bytes,
            series_by_label_pair: by_pair,
        }
    }

    /// Metrics that the part has, by number of series.
    #[must_use]
    pub fn metrics_len(&self) -> u64 {
        self.stats.names.iter().find(|stats| stats.name == METRIC_NAME).map_or(0, |stats| stats.values)
    }
}

fn entries<'a>(of: impl Iterator<Item = (&'a String, u64)>) -> Vec<CardinalityEntry> {
    of.map(|(name, value)| CardinalityEntry { name: name.clone(), value }).collect()
}

impl Stats {
    pub(super) fn size_bytes(&self) -> usize {
        let names = self.names.iter().map(|stats| stats.name.capacity() + 48);
        let tops = self.metrics.iter().chain(&self.pairs).map(|(name, _)| name.capacity() + 32);
        names.chain(tops).sum()
    }
}

/// Where the values that meet a matcher can be.
#[derive(Debug, PartialEq, Eq)]
enum Hint {
    /// Among these.
    Values(Vec<String>),
    /// They begin so.
    Prefix(String),
}

impl Hint {
    fn of(matcher: &Matcher) -> Self {
        match matcher.op {
            MatchOp::Equal => Self::Values(vec![matcher.value.clone()]),
            MatchOp::Regex => Self::of_expression(&matcher.value),
            MatchOp::NotEqual | MatchOp::NotRegex => Self::Prefix(String::new()),
        }
    }

    /// Literal alternatives, or the literal start of an expression; the empty start where it is not
    /// obvious.
    fn of_expression(expression: &str) -> Self {
        let special = |letter: char| r"\.+*?()[]{}^$|#&-~".contains(letter);
        if !expression.chars().any(|letter| letter != '|' && letter != '-' && special(letter)) {
            return Self::Values(expression.split('|').map(str::to_owned).collect());
        }
        if expression.contains('|') {
            return Self::Prefix(String::new());
        }
        let literal = expression.find(|letter| letter != '-' && special(letter)).unwrap_or(expression.len());
        let mut prefix = expression[..literal].to_owned();
        if expression[literal..].starts_with(['*', '?', '{']) {
            prefix.pop(); // the letter before may be missing
        }
        Self::Prefix(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_says_where_to_look() {
        let values = |all: &[&str]| Hint::Values(all.iter().map(|value| (*value).to_owned()).collect());
        let prefix = |start: &str| Hint::Prefix(start.to_owned());
        assert_eq!(Hint::of_expression("a|b-c|"), values(&["a", "b-c", ""]));
        assert_eq!(Hint::of_expression("node_.*"), prefix("node_"));
        assert_eq!(Hint::of_expression("ab?c"), prefix("a"));
        assert_eq!(Hint::of_expression("ab{0}c"), prefix("a"));
        assert_eq!(Hint::of_expression("ab+"), prefix("ab"));
        assert_eq!(Hint::of_expression("a.*|b"), prefix(""));
        assert_eq!(Hint::of_expression("(?i)abc"), prefix(""));
    }
}
