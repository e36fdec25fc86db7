//! Sizes, durations and CPU shares as users write them: `512MiB`, `1m30s`, `0.5` or `500m`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {expected}")]
pub struct InvalidQuantity {
    pub given: String,
    pub expected: &'static str,
}

/// A size in bytes. Text form: a number and `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`, `TiB`
/// (Kubernetes' `Ki`, `Mi`, `Gi`, `Ti`, `k`, `M`, `G` are understood too).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(u64);

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("k", 1_000),
    ("MB", 1_000_000),
    ("M", 1_000_000),
    ("GB", 1_000_000_000),
    ("G", 1_000_000_000),
    ("KiB", 1 << 10),
    ("Ki", 1 << 10),
    ("MiB", 1 << 20),
    ("Mi", 1 << 20),
    ("GiB", 1 << 30),
    ("Gi", 1 << 30),
    ("TiB", 1 << 40),
    ("Ti", 1 << 40),
];

impl Bytes {
    /// The units that the text form takes, for hints.
    pub const UNITS: &'static [&'static str] = &["B", "kB", "MB", "GB", "KiB", "MiB", "GiB", "TiB"];

    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    #[must_use]
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || InvalidQuantity { given: text.to_owned(), expected: "a size such as 512MiB" };
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let scale = if unit.is_empty() {
            1
        } else {
            SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1
        };
        let bytes = number * scale as f64;
        if !(0.0..=9e18).contains(&bytes) {
            return Err(wrong());
        }
        Ok(Self(bytes as u64))
    }
}
impl TryFrom<String> for Bytes {
    type Error = InvalidQuantity;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.to_string()
    }
}
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= scale && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}B", self.0)
    }
}
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A duration with a text form: `250ms`, `10s`, `1m30s`, `2h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

const TIME_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Span {
    /// The units that the text form takes, for hints.
    pub const UNITS: &'static [&'static str] = &["ms", "s", "m", "h", "d"];

    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || InvalidQuantity { given: text.to_owned(), expected: "a duration such as 10s or 1m30s" };
        let mut millis = 0f64;
        let mut rest = text;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (number, tail) = split_number(rest).ok_or_else(wrong)?;
            let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, after) = tail.split_at(unit_len);
            let scale = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
            millis += number * scale as f64;
            rest = after;
        }
        if !(0.0..=1e14).contains(&millis) {
            return Err(wrong());
        }
        Ok(Self(Duration::from_micros((millis * 1_000.0) as u64)))
    }
}
impl TryFrom<String> for Span {
    type Error = InvalidQuantity;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in [("d", 86_400_000u128), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
        {
            if millis >= scale {
                write!(f, "{}{unit}", millis / scale)?;
                millis %= scale;
            }
        }
        Ok(())
    }
}
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// CPU time in thousandths of a core. Text form: `0.5`, `2` or Kubernetes' `500m`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu(u32);

impl Cpu {
    #[must_use]
    pub const fn millis(millicores: u32) -> Self {
        Self(millicores)
    }
    /// Thousandths of a core.
    #[must_use]
    pub const fn get_millis(self) -> u32 {
        self.0
    }
}

impl FromStr for Cpu {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || InvalidQuantity { given: text.to_owned(), expected: "a number of cores such as 0.5 or 500m" };
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let millis = match unit {
            "" => number * 1_000.0,
            "m" => number,
            _ => return Err(wrong()),
        };
        if !(1.0..=1e6).contains(&millis) {
            return Err(wrong());
        }
        Ok(Self(millis as u32))
    }
}
impl TryFrom<String> for Cpu {
    type Error = InvalidQuantity;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
impl From<Cpu> for String {
    fn from(cpu: Cpu) -> Self {
        cpu.to_string()
    }
}
impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000) { write!(f, "{}", self.0 / 1_000) } else { write!(f, "{}m", self.0) }
    }
}
impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits `12.5MiB` into 12.5 and `MiB`.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text.get(..end)?.parse().ok()?;
    Some((number, text.get(end..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("10B", 10),
            ("1.5KiB", 1536),
            ("64MiB", 64 << 20),
            ("2Gi", 2 << 30),
            ("1MB", 1_000_000),
        ] {
            assert_eq!(text.parse::<Bytes>().map(Bytes::get), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "-1MiB", "1 MiB", "1mib", "1e3", "99999999999TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans() {
        for (text, millis) in
            [("250ms", 250), ("10s", 10_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("1d", 86_400_000)]
        {
            assert_eq!(text.parse::<Span>().map(|s| s.get().as_millis()), Ok(millis), "{text}");
        }
        for bad in ["", "10", "s", "-1s", "10 s", "1w"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus() {
        assert_eq!("0.5".parse(), Ok(Cpu::millis(500)));
        assert_eq!("250m".parse(), Ok(Cpu::millis(250)));
        assert!("0".parse::<Cpu>().is_err());
    }

    proptest! {
        #[test]
        fn text_forms_round_trip(bytes in 0u64..1 << 50, millis in 0u64..10_000_000_000, cpu in 1u32..1_000_000) {
            let size = Bytes::new(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
            let span = Span::from_millis(millis);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            let cpu = Cpu::millis(cpu);
            prop_assert_eq!(cpu.to_string().parse(), Ok(cpu));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,24}") {
            let _ = (text.parse::<Bytes>(), text.parse::<Span>(), text.parse::<Cpu>());
        }
    }
}
