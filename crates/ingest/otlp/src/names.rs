//! Names: metrics, units and attributes as Prometheus' OTLP endpoint names them.
//!
//! Source of the rules: the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility",
//! and the behaviour of Prometheus 3's endpoint where the specification leaves room (a suffix is taken
//! off with the letter before it, whatever that is; `TiBy` is "tibibytes").

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How names become Prometheus names. The words are those of Prometheus' `translation_strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Strategy {
    /// Letters outside of the classic ones become `_`; unit and type are appended.
    UnderscoreEscapingWithSuffixes,
    /// Letters outside of the classic ones become `_`; nothing is appended.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are; unit and type are appended.
    #[default]
    NoUTF8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Strategy {
    pub(crate) fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }
    fn suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUTF8EscapingWithSuffixes)
    }
}

/// What decides the suffix of a name besides the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Counter,
    Gauge,
    Other,
}

/// The name of a metric; None when nothing of it is left.
pub(crate) fn metric(strategy: Strategy, name: &str, unit: &str, sort: Sort) -> Option<String> {
    let built = match (strategy.escapes(), strategy.suffixes()) {
        (true, true) => escaped_with_suffixes(name, unit, sort),
        (true, false) => {
            let parts = name.split(|letter: char| !is_classic(letter) && letter != '_');
            with_letter_first(join(parts.filter(|part| !part.is_empty())))
        }
        (false, true) => with_suffixes(name, unit, sort),
        (false, false) => name.to_owned(),
    };
    let only_filler = strategy.escapes() && built != name && built.bytes().all(|byte| byte == b'_');
    (!built.is_empty() && !only_filler).then_some(built)
}

/// The unit in the words of Prometheus, for metadata.
pub(crate) fn unit(strategy: Strategy, unit: &str) -> String {
    let (main, per) = unit_suffixes(unit);
    let (main, per) = if strategy.escapes() { (clean(main), clean(&per)) } else { (main.into(), per) };
    let both =
        if main.is_empty() || per.is_empty() { format!("{main}{per}") } else { format!("{main}_{per}") };
    let both = both.strip_prefix('_').unwrap_or(&both);
    both.strip_suffix('_').unwrap_or(both).to_owned()
}

/// The label that an attribute becomes. None when nothing but filler is left.
pub(crate) fn label(strategy: Strategy, key: &str) -> Option<Cow<'_, str>> {
    if key.is_empty() {
        return None;
    }
    if !strategy.escapes() {
        return Some(Cow::Borrowed(key));
    }
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let first = key.as_bytes()[0];
    let starts_well = first.is_ascii_alphabetic() || key.starts_with("__");
    if starts_well && key.chars().all(fits) {
        return (!key.bytes().all(|byte| byte == b'_')).then_some(Cow::Borrowed(key));
    }
    let mut name: String = key.chars().map(|letter| if fits(letter) { letter } else { '_' }).collect();
    if name.as_bytes()[0].is_ascii_digit() {
        name.insert_str(0, "key_");
    } else if name.starts_with('_') && !name.starts_with("__") {
        name.insert_str(0, "key");
    }
    (!name.bytes().all(|byte| byte == b'_')).then_some(Cow::Owned(name))
}

fn is_classic(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == ':'
}

fn join<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for part in parts {
        if !joined.is_empty() {
            joined.push('_');
        }
        joined.push_str(part);
    }
    joined
}

fn with_letter_first(name: String) -> String {
    if name.as_bytes().first().is_some_and(u8::is_ascii_digit) { format!("_{name}") } else { name }
}

fn escaped_with_suffixes(name: &str, unit: &str, sort: Sort) -> String {
    let (main, per) = unit_suffixes(unit);
    let (mut main, mut per) = (clean(main), clean(&per));
    let mut tokens: Vec<&str> =
        name.split(|letter: char| !is_classic(letter)).filter(|token| !token.is_empty()).collect();
    if tokens.contains(&main.as_str()) {
        main.clear();
    }
    if per == "per_" {
        per.clear();
    } else if per.ends_with('_') {
        per.pop();
    }
    if tokens.contains(&per.as_str()) {
        per.clear();
    }
    if !per.is_empty() && main.ends_with('_') {
        main.pop();
    }
    tokens.extend([main.as_str(), per.as_str()].into_iter().filter(|suffix| !suffix.is_empty()));
    let last = match sort {
        Sort::Counter => Some("total"),
        Sort::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    };
    if let Some(last) = last {
        tokens.retain(|token| *token != last);
        tokens.push(last);
    }
    with_letter_first(join(tokens.into_iter()))
}

fn with_suffixes(name: &str, unit: &str, sort: Sort) -> String {
    let last = match sort {
        Sort::Counter => "total",
        Sort::Gauge if unit == "1" => "ratio",
        _ => "",
    };
    let (main, per) = unit_suffixes(unit);
    let mut stem = name;
    for suffix in [last, &per] {
        if !suffix.is_empty() {
            stem = without_suffix(stem, suffix);
        }
    }
    let mut built = stem.to_owned();
    if !main.is_empty() && !stem.ends_with(main) {
        built = format!("{built}_{main}");
    }
    for suffix in [per.as_str(), last] {
        if !suffix.is_empty() {
            built = format!("{built}_{suffix}");
        }
    }
    built
}

/// Without the suffix and the letter before it.
fn without_suffix<'a>(name: &'a str, suffix: &str) -> &'a str {
    match name.strip_suffix(suffix) {
        Some(stem) if stem.len() > 1 => {
            let last = stem.chars().next_back().map_or(0, char::len_utf8);
            &stem[..stem.len() - last]
        }
        _ => name,
    }
}

/// Main and "per" part of a unit in the words of Prometheus, neither cleaned.
fn unit_suffixes(unit: &str) -> (&str, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (main, per) = (main.trim(), per.trim());
    let main = if main.contains(['{', '}']) { "" } else { main_unit(main) };
    let per = if per.is_empty() || per.contains(['{', '}']) {
        String::new()
    } else {
        format!("per_{}", per_unit(per))
    };
    (main, per)
}

fn main_unit(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// A unit in classic letters, no two underscores in a row and none first.
fn clean(unit: &str) -> String {
    let mut cleaned = String::with_capacity(unit.len());
    for letter in unit.chars().map(|letter| if is_classic(letter) { letter } else { '_' }) {
        if letter != '_' || (!cleaned.is_empty() && !cleaned.ends_with('_')) {
            cleaned.push(letter);
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    use Sort::{Counter, Gauge, Other};
    use Strategy::{
        NoTranslation, NoUTF8EscapingWithSuffixes as Utf8, UnderscoreEscapingWithSuffixes as Escaped,
        UnderscoreEscapingWithoutSuffixes as Plain,
    };

    #[test]
    fn metrics_are_named_as_prometheus_names_them() {
        let cases: &[(Strategy, &str, &str, Sort, &str)] = &[
            (Escaped, "requests", "", Counter, "requests_total"),
            (Escaped, "requests_total", "", Counter, "requests_total"),
            (Escaped, "cpu.use", "1", Gauge, "cpu_use_ratio"),
            (Escaped, "items", "1", Counter, "items_total"),
            (Escaped, "response_time", "ms", Gauge, "response_time_milliseconds"),
            (Escaped, "response_time_seconds", "s", Other, "response_time_seconds"),
            (Escaped, "requests", "1/s", Gauge, "requests_per_second"),
            (Escaped, "throughput", "By/s", Gauge, "throughput_bytes_per_second"),
            (Escaped, "own", "{thing}", Gauge, "own"),
            (Escaped, "own", "By/{thing}", Gauge, "own_bytes"),
            (Escaped, "own", "unit@with#special/chars", Gauge, "own_unit_with_special_per_chars"),
            (Escaped, "a__b", "u__v", Gauge, "a_b_u_v"),
            (Escaped, "404.count", "", Gauge, "_404_count"),
            (Plain, "a@@b.c", "s", Counter, "a_b_c"),
            (Plain, "1st", "s", Counter, "_1st"),
            (Utf8, "http.server.duration", "ms", Other, "http.server.duration_milliseconds"),
            (Utf8, "requêsts", "", Counter, "requêsts_total"),
            (Utf8, "requests.total", "", Counter, "requests_total"),
            (Utf8, "use", "1", Gauge, "use_ratio"),
            (Utf8, "rate", "By/s", Counter, "rate_bytes_per_second_total"),
            (Utf8, "@#$%", "", Counter, "@#$%_total"),
            (NoTranslation, "a.b", "s", Counter, "a.b"),
        ];
        for &(strategy, name, unit, sort, expected) in cases {
            assert_eq!(metric(strategy, name, unit, sort).as_deref(), Some(expected), "{name} {unit}");
        }
        assert_eq!(metric(Escaped, "@#$%", "", Gauge), None);
        assert_eq!(metric(Plain, "", "", Gauge), None);
    }

    #[test]
    fn units_for_metadata_are_words() {
        for (of, expected) in
            [("s", "seconds"), ("By/s", "bytes_per_second"), ("1", ""), ("1/s", "per_second"), ("{x}", "")]
        {
            assert_eq!(unit(Utf8, of), expected, "{of}");
            assert_eq!(unit(Escaped, of), expected, "{of}");
        }
    }

    #[test]
    fn labels_are_escaped_only_when_asked() {
        assert_eq!(label(Utf8, "http.method").unwrap(), "http.method");
        for (key, expected) in [
            ("http.method", "http_method"),
            ("1st", "key_1st"),
            ("_x", "key_x"),
            ("__x", "__x"),
            ("a b", "a_b"),
        ] {
            assert_eq!(label(Escaped, key).as_deref(), Some(expected), "{key}");
        }
        assert_eq!((label(Escaped, "__"), label(Utf8, "")), (None, None));
    }
}
