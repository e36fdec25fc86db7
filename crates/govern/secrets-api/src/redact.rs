//! Masking of values in text that Stead itself writes.

use std::{borrow::Cow, fmt};

use base64::Engine as _;
use zeroize::{Zeroize, Zeroizing};

use crate::Value;

/// What stands in place of a value.
const MASK: &[u8] = b"<secret>";

/// Masks given values in text, also where they stand in hexadecimal, base64, percent-encoded or as
/// a JSON string, and each longer line of a value of several lines.
///
/// It is the last line of defence, for text that Stead itself writes; nothing may rely on it to
/// hand a secret out. Values below [`Redactor::LENGTH_MIN`] bytes are not masked: they would
/// blacken ordinary words. Memory is bounded by [`Redactor::BYTES_MAX`].
#[derive(Clone)]
pub struct Redactor {
    /// Longest first, so that a value that contains another is masked as a whole.
    patterns: Vec<Zeroizing<Vec<u8>>>,
    /// Indexes into `patterns` by first byte, in the same order.
    by_first: Vec<Vec<u32>>,
    longest: usize,
    left_out: usize,
}

impl Redactor {
    /// Shorter values are not masked, in bytes.
    pub const LENGTH_MIN: usize = 6;
    /// Shorter lines of a value with several are not masked on their own, in bytes.
    pub const LINE_LENGTH_MIN: usize = 16;
    /// All patterns together, in bytes; values that do not fit are left out and counted.
    pub const BYTES_MAX: usize = 8 << 20;

    pub fn new<'a>(values: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut patterns: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let (mut bytes, mut left_out) = (0, 0);
        for value in values {
            let forms = forms(value.expose());
            let size: usize = forms.iter().map(|form| form.len()).sum();
            if bytes + size > Self::BYTES_MAX {
                left_out += 1;
                continue;
            }
            bytes += size;
            patterns.extend(forms);
        }
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        let mut by_first = vec![Vec::new(); 256];
        for (index, pattern) in patterns.iter().enumerate() {
            by_first[usize::from(pattern[0])].push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        let longest = patterns.first().map_or(0, |pattern| pattern.len());
        Self { patterns, by_first, longest, left_out }
    }

    /// How many values were left out because of [`Redactor::BYTES_MAX`].
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// `text` with every value masked.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let bytes = text.as_bytes();
        let Some(first) = (0..bytes.len()).find(|at| self.match_at(&bytes[*at..]).is_some()) else {
            return Cow::Borrowed(text);
        };
        let mut out = bytes[..first].to_vec();
        self.copy(&bytes[first..], bytes.len() - first, &mut out);
        Cow::Owned(String::from_utf8_lossy(&out).into_owned())
    }

    /// Masks a stream that comes in pieces cut anywhere.
    #[must_use]
    pub fn stream(&self) -> RedactStream<'_> {
        RedactStream { redactor: self, held: Vec::new() }
    }

    /// Copies `bytes`, masked, for as long as a match would begin before `until`; gives how many
    /// bytes were taken.
    fn copy(&self, bytes: &[u8], until: usize, out: &mut Vec<u8>) -> usize {
        let mut at = 0;
        while at < until {
            if let Some(length) = self.match_at(&bytes[at..]) {
                out.extend_from_slice(MASK);
                at += length;
            } else {
                out.push(bytes[at]);
                at += 1;
            }
        }
        at
    }

    fn match_at(&self, bytes: &[u8]) -> Option<usize> {
        let candidates = &self.by_first[usize::from(*bytes.first()?)];
        candidates
            .iter()
            .map(|index| &self.patterns[*index as usize])
            .find(|pattern| bytes.starts_with(pattern))
            .map(|pattern| pattern.len())
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} patterns)", self.patterns.len())
    }
}

/// A stream being masked. It holds back at most the longest value less one byte, until
/// [`RedactStream::finish`].
pub struct RedactStream<'r> {
    redactor: &'r Redactor,
    held: Vec<u8>,
}

impl RedactStream<'_> {
    /// Takes a piece and gives what can be told already.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let until = (self.held.len() + 1).saturating_sub(self.redactor.longest.max(1));
        let mut out = Vec::with_capacity(until);
        let taken = self.redactor.copy(&self.held, until, &mut out);
        self.held.drain(..taken);
        out
    }

    /// Gives the rest.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.redactor.copy(&self.held, self.held.len(), &mut out);
        self.held.zeroize();
        out
    }
}

impl fmt::Debug for RedactStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedactStream({} bytes held)", self.held.len())
    }
}

/// The ways in which a value may stand in text.
fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    if value.len() < Redactor::LENGTH_MIN {
        return Vec::new();
    }
    let mut forms = vec![
        value.to_vec(),
        hex::encode(value).into_bytes(),
        hex::encode_upper(value).into_bytes(),
        STANDARD_NO_PAD.encode(value).into_bytes(),
        URL_SAFE_NO_PAD.encode(value).into_bytes(),
        percent_encoded(value),
    ];
    if let Ok(text) = std::str::from_utf8(value) {
        forms.push(json_escaped(text).into_bytes());
    }
    let lines: Vec<_> = value.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii).collect();
    if lines.len() > 1 {
        let long = lines.iter().filter(|line| line.len() >= Redactor::LINE_LENGTH_MIN);
        forms.extend(long.map(|line| line.to_vec()));
    }
    forms.into_iter().map(Zeroizing::new).collect()
}

fn percent_encoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

fn json_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        let values: Vec<_> = values.iter().map(|v| Value::new(*v).unwrap()).collect();
        Redactor::new(&values)
    }

    #[test]
    fn values_are_masked_in_every_form() {
        let value = "p@ss \"word\" 123";
        let r = redactor(&[value]);
        for form in forms(value.as_bytes()) {
            let text = format!("url=x:{}@host", String::from_utf8_lossy(&form));
            assert_eq!(r.redact(&text), "url=x:<secret>@host", "{text}");
        }
        assert!(matches!(r.redact("nothing here"), Cow::Borrowed(_)));
        assert!(!format!("{r:?}").contains("p@ss"));
    }

    #[test]
    fn the_longer_value_wins_and_short_ones_stay() {
        let r = redactor(&["password", "password-of-the-db", "yes"]);
        assert_eq!(r.redact("a password-of-the-db, a password, yes"), "a <secret>, a <secret>, yes");
    }

    #[test]
    fn lines_of_a_key_are_masked_alone() {
        let r = redactor(&["-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\nabc\n-----END KEY-----\n"]);
        assert_eq!(r.redact("log: MC4CAQAwBQYDK2VwBCIEIA abc"), "log: <secret> abc");
    }

    #[test]
    fn more_than_the_limit_is_left_out_and_told() {
        let values: Vec<_> = (0..40u8).map(|n| Value::new(vec![n; Value::SIZE_BYTES_MAX]).unwrap()).collect();
        let r = Redactor::new(&values);
        assert!(r.left_out() > 0 && r.left_out() < 40, "{}", r.left_out());
    }

    proptest! {
        #[test]
        fn a_stream_gives_what_the_whole_gives(
            parts in proptest::collection::vec("[ab]{0,3}|hunter2|hunter2-long|hunt|\n", 0..20),
            cuts in proptest::collection::vec(0usize..200, 0..10),
        ) {
            let r = redactor(&["hunter2", "hunter2-long", "ababab"]);
            let text = parts.concat();
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut stream = r.stream();
            let mut out = Vec::new();
            for pair in cuts.windows(2) {
                out.extend(stream.push(&text.as_bytes()[pair[0]..pair[1]]));
            }
            out.extend(stream.finish());
            prop_assert_eq!(String::from_utf8(out).unwrap(), r.redact(&text));
        }
    }
}
