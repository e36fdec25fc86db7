//! The labels of a series: names and values in one block of bytes, in order of name.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One name and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// 128 bits of XXH3 over the encoded labels: what tells series apart on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesId(pub u128);

/// Labels in order of name, each name once, none with an empty value (an empty value and no label
/// mean the same).
///
/// Kept as one block: for each label the length of the name, the name, the length of the value, the
/// value; lengths are LEB128. Two sets of labels are equal when their bytes are. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

impl Labels {
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::from([]))
    }

    /// Sorts `pairs` by name; of a repeated name the last counts; empty values are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Takes bytes in the encoded form, as [`Labels::as_bytes`] gave them or a receiver wrote them.
    /// None when they are not that form: cut short, out of order, a name twice, an empty value or no
    /// UTF-8.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        is_encoded(bytes).then(|| Self(Arc::from(bytes)))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn id(&self) -> SeriesId {
        Self::id_of(&self.0)
    }

    /// The id of labels in encoded form.
    #[must_use]
    pub fn id_of(encoded: &[u8]) -> SeriesId {
        SeriesId(xxhash_rust::xxh3::xxh3_128(encoded))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    /// Walks labels in encoded form without taking them over. It ends at the first byte that is not
    /// of that form.
    #[must_use]
    pub fn iter_bytes(encoded: &[u8]) -> Iter<'_> {
        Iter { rest: encoded }
    }

    /// The value of `name`; an empty text when there is no such label.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|label| label.name == name).map_or("", |label| label.value)
    }

    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|label| label.name == name)
    }

    /// The metric's name, empty when it has none.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// These labels without the metric's name.
    #[must_use]
    pub fn without_name(&self) -> Self {
        self.without(&[METRIC_NAME])
    }

    /// These labels less those named.
    #[must_use]
    pub fn without<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filter(|label| !names.iter().any(|name| name.as_ref() == label.name))
    }

    /// Of these labels only those named.
    #[must_use]
    pub fn only<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filter(|label| names.iter().any(|name| name.as_ref() == label.name))
    }

    /// Those labels that `keep` says yes to.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(Label<'_>) -> bool) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len());
        for label in self.iter() {
            if keep(label) {
                encode_label(&mut bytes, label.name, label.value);
            }
        }
        if bytes.len() == self.0.len() { self.clone() } else { Self(Arc::from(bytes)) }
    }

    /// These labels with `name` set; an empty value removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut builder = LabelsBuilder::from(self);
        builder.set(name, value);
        builder.build()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

/// In order of the labels, name before value.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.iter().cmp(other.iter())
    }
}
impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = Label<'a>;
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// As Prometheus writes a series: `name{label="value", …}`; names outside of the classic letters
/// stand in quotes.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric_name();
        let plain = is_classic_name(metric, true);
        if plain {
            f.write_str(metric)?;
        }
        let mut first = true;
        let mut open = |f: &mut fmt::Formatter<'_>| {
            let lead = if first { "{" } else { ", " };
            first = false;
            f.write_str(lead)
        };
        if !metric.is_empty() && !plain {
            open(f)?;
            write_quoted(f, metric)?;
        }
        for label in self.iter().filter(|label| label.name != METRIC_NAME) {
            open(f)?;
            if is_classic_name(label.name, false) {
                f.write_str(label.name)?;
            } else {
                write_quoted(f, label.name)?;
            }
            f.write_str("=")?;
            write_quoted(f, label.value)?;
        }
        if !first {
            f.write_str("}")
        } else if metric.is_empty() {
            f.write_str("{}")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Letters, digits and underscores, no digit first; a metric's name may hold colons.
pub(crate) fn is_classic_name(name: &str, colons: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colons && byte == b':');
    !name.is_empty() && name.bytes().all(fits) && !name.as_bytes()[0].is_ascii_digit()
}

/// In double quotes, with what ends or breaks them escaped.
pub(crate) fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

/// Walks the labels in order of name.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Label<'a>;
    fn next(&mut self) -> Option<Label<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (name, rest) = split_text(self.rest)?;
        let (value, rest) = split_text(rest)?;
        self.rest = rest;
        Some(Label { name, value })
    }
}

fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, at) = read_len(bytes)?;
    let end = at.checked_add(len)?;
    let text = std::str::from_utf8(bytes.get(at..end)?).ok()?;
    Some((text, &bytes[end..]))
}

fn read_len(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0usize;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((len, at + 1));
        }
    }
    None
}

fn write_len(into: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        into.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    into.push(len as u8);
}

fn encode_label(into: &mut Vec<u8>, name: &str, value: &str) {
    write_len(into, name.len());
    into.extend_from_slice(name.as_bytes());
    write_len(into, value.len());
    into.extend_from_slice(value.as_bytes());
}

/// Whether `bytes` are labels in encoded form, canonical in every respect.
fn is_encoded(bytes: &[u8]) -> bool {
    let mut iter = Iter { rest: bytes };
    let mut before: Option<&str> = None;
    // A length may be written in more bytes than it takes; then the whole is longer than this.
    let mut shortest = 0;
    for label in iter.by_ref() {
        if label.value.is_empty()
            || label.name.is_empty()
            || before.is_some_and(|before| before >= label.name)
        {
            return false;
        }
        before = Some(label.name);
        shortest += encoded_len(label.name) + encoded_len(label.value);
    }
    iter.rest.is_empty() && shortest == bytes.len()
}

fn encoded_len(text: &str) -> usize {
    let mut bytes = 1 + text.len();
    let mut rest = text.len() >> 7;
    while rest > 0 {
        bytes += 1;
        rest >>= 7;
    }
    bytes
}

/// Puts labels together in any order.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets `name`, over an earlier value; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.iter_mut().find(|pair| pair.0 == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|pair| pair.0 != name);
        self
    }

    /// The value of `name`, empty when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|pair| pair.0 == name).map_or("", |pair| &pair.1)
    }

    /// Names and values in the order in which they were first set; values may be empty.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|pair| (pair.0.as_str(), pair.1.as_str()))
    }

    #[must_use]
    pub fn build(mut self) -> Labels {
        self.pairs.retain(|pair| !pair.1.is_empty() && !pair.0.is_empty());
        self.pairs.sort_unstable();
        let mut bytes = Vec::new();
        for (name, value) in &self.pairs {
            encode_label(&mut bytes, name, value);
        }
        Labels(Arc::from(bytes))
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        let pairs = labels.iter().map(|label| (label.name.to_owned(), label.value.to_owned())).collect();
        Self { pairs }
    }
}

/// Writes one label in the encoded form; the caller keeps the order of names.
pub(crate) fn push_encoded(into: &mut Vec<u8>, name: &str, value: &str) {
    encode_label(into, name, value);
}

/// As an object of names and values.
impl Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|label| (label.name, label.value)))
    }
}
impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        std::collections::BTreeMap::<String, String>::deserialize(from).map(Self::from_pairs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_sorted_and_without_empty_values() {
        let labels =
            Labels::from_pairs([("b", "2"), ("__name__", "up"), ("gone", ""), ("a", "1"), ("b", "3")]);
        assert_eq!(labels.to_string(), r#"up{a="1", b="3"}"#);
        assert_eq!(labels.without(&["a"]).to_string(), r#"up{b="3"}"#);
        assert_eq!(labels.with("a", "").get("a"), "");
        assert_eq!(Labels::empty().to_string(), "{}");
        assert_eq!(
            Labels::from_pairs([("__name__", "a.b"), ("c d", "\"")]).to_string(),
            r#"{"a.b", "c d"="\""}"#
        );
    }

    proptest! {
        #[test]
        fn the_encoded_form_reads_back(pairs in proptest::collection::vec((".{1,200}", ".{0,200}"), 0..20)) {
            let labels = Labels::from_pairs(pairs);
            prop_assert_eq!(Labels::from_bytes(labels.as_bytes()), Some(labels.clone()));
            prop_assert_eq!(Labels::from_pairs(labels.iter().map(|l| (l.name, l.value))), labels);
        }

        #[test]
        fn other_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(labels) = Labels::from_bytes(&bytes) {
                let again = Labels::from_pairs(labels.iter().map(|label| (label.name, label.value)));
                prop_assert_eq!(again, labels);
            }
        }
    }
}
