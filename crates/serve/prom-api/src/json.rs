//! Numbers and samples as Prometheus writes them, straight into bytes.

use std::io::Write as _;

use metrics_api::Labels;
use serde_json::ser::{CompactFormatter, Formatter};

/// Appends `text` as a JSON string.
pub(crate) fn text(into: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(&mut *into, text);
}

/// Appends labels as an object.
pub(crate) fn labels(into: &mut Vec<u8>, labels: &Labels) {
    into.push(b'{');
    for (at, label) in labels.iter().enumerate() {
        if at > 0 {
            into.push(b',');
        }
        text(into, label.name);
        into.push(b':');
        text(into, label.value);
    }
    into.push(b'}');
}

/// Appends milliseconds as seconds with as many decimals as it takes: `1435781430.781`.
pub(crate) fn time(into: &mut Vec<u8>, time_ms: i64) {
    if time_ms < 0 {
        into.push(b'-');
    }
    let (seconds, rest) = (time_ms.unsigned_abs() / 1000, time_ms.unsigned_abs() % 1000);
    let _ = CompactFormatter.write_u64(into, seconds);
    if rest > 0 {
        let digits = format!(".{rest:03}");
        into.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
}

/// Appends a float in quotes, as a value of a sample: plain, or with an exponent when it is below
/// 1e-6 or from 1e21 on; `NaN`, `+Inf`, `-Inf`.
pub(crate) fn value(into: &mut Vec<u8>, value: f64) {
    into.push(b'"');
    number(into, value);
    into.push(b'"');
}

fn number(into: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        into.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        into.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value != 0.0 && (value.abs() < 1e-6 || value.abs() >= 1e21) {
        let written = format!("{value:e}");
        let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        let _ = write!(into, "{digits}e{sign}{exponent:0>2}");
    } else {
        let _ = write!(into, "{value}");
    }
}

/// Appends `[time,"value"]`.
pub(crate) fn point(into: &mut Vec<u8>, time_ms: i64, point: f64) {
    into.push(b'[');
    time(into, time_ms);
    into.push(b',');
    value(into, point);
    into.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn numbers_are_written_as_prometheus_does() {
        for (number, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (1e-6, "0.000001"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (2.2250738585072014e-308, "2.2250738585072014e-308"),
        ] {
            assert_eq!(written(|into| value(into, number)), format!("\"{expected}\""));
        }
    }

    #[test]
    fn times_have_the_decimals_they_need() {
        for (time_ms, expected) in
            [(1_435_781_430_781, "1435781430.781"), (1_000, "1"), (-1_500, "-1.5"), (10, "0.01")]
        {
            assert_eq!(written(|into| time(into, time_ms)), expected);
        }
    }

    #[test]
    fn labels_are_escaped() {
        let set = Labels::from_pairs([("a", "\"\n"), ("__name__", "x")]);
        assert_eq!(written(|into| labels(into, &set)), r#"{"__name__":"x","a":"\"\n"}"#);
    }
}
