//! Numbers and texts in the form in which upstream writes them.

use metrics_api::{Histogram, Label, Labels};

use crate::histogram::{Bucket, side_buckets};

/// The shortest digits, with an exponent when it is below -4 or from `large` on.
fn general(value: f64, large: i32) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && (exponent < -4 || exponent >= large) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// Go's `%g`.
pub(crate) fn percent_g(value: f64) -> String {
    general(value, 21)
}

/// Go's `%.2g`.
pub(crate) fn two_digits(value: f64) -> String {
    general(format!("{value:.1e}").parse().unwrap_or(value), 2)
}

/// Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
pub(crate) fn plain(value: f64) -> String {
    if value.is_infinite() { general(value, 0) } else { format!("{value}") }
}

/// As OpenMetrics writes `le` and `quantile`: with a point or an exponent always.
pub(crate) fn open_metrics(value: f64) -> String {
    let text = general(value, 21);
    let whole = value.is_finite() && !text.contains(['.', 'e']);
    if whole { text + ".0" } else { text }
}

/// Go's `%q`.
pub(crate) fn quoted(text: &str) -> String {
    crate::literal::quote(text.as_bytes())
}

/// Labels in braces, the metric's name among them, as errors show them.
pub(crate) fn labels(of: &Labels) -> String {
    let plain = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let one = |label: Label<'_>| {
        let name = if plain(label.name) { label.name.to_owned() } else { quoted(label.name) };
        format!("{name}={}", quoted(label.value))
    };
    format!("{{{}}}", of.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A histogram in one line, as `count_values` makes labels of it.
#[must_use]
pub fn histogram(of: &Histogram) -> String {
    let mut out = format!("{{count:{}, sum:{}", percent_g(of.count), percent_g(of.sum));
    let mut push = |bucket: &Bucket, open: char, close: char| {
        if bucket.count != 0.0 {
            let (lower, upper) = (percent_g(bucket.lower), percent_g(bucket.upper));
            out.push_str(&format!(", {open}{lower},{upper}{close}:{}", percent_g(bucket.count)));
        }
    };
    for bucket in side_buckets(of, true).iter().rev() {
        push(bucket, '[', ')');
    }
    if of.zero_count != 0.0 {
        let zero = Bucket { lower: -of.zero_threshold, upper: of.zero_threshold, count: of.zero_count };
        push(&zero, '[', ']');
    }
    for bucket in &side_buckets(of, false) {
        push(bucket, '(', ']');
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        assert_eq!(percent_g(1.1), "1.1");
        assert_eq!(percent_g(-0.00001), "-1e-05");
        assert_eq!(percent_g(1e21), "1e+21");
        assert_eq!(plain(1e21), "1000000000000000000000");
        assert_eq!((open_metrics(1.0), open_metrics(0.5)), ("1.0".into(), "0.5".into()));
        assert_eq!(percent_g(f64::NEG_INFINITY), "-Inf");
    }
}
