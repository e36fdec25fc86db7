//! Durations and sizes as Prometheus writes them.

use std::time::Duration;

/// `1h30m`, `15s`, `0`: units y, w, d, h, m, s and ms, each at most once and in this order.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total, mut next) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let at = UNITS.iter().position(|(unit, _)| *unit == &rest[..letters]).filter(|at| *at >= next)?;
        total = total.checked_add(number.checked_mul(UNITS[at].1)?)?;
        next = at + 1;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(Duration::from_millis(total))
}

/// A duration as Prometheus writes it.
#[must_use]
pub fn duration_text(span: Duration) -> String {
    let mut left = span.as_millis();
    if left == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, ms, whole) in [
        ("y", 365 * 86_400_000, true),
        ("w", 7 * 86_400_000, true),
        ("d", 86_400_000, true),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1_000, false),
        ("ms", 1, false),
    ] {
        // Years, weeks and days only stand where nothing is left over.
        if left / ms > 0 && (!whole || left.is_multiple_of(ms)) {
            out.push_str(&format!("{}{unit}", left / ms));
            left %= ms;
        }
    }
    out
}

/// `10MB`, `512KiB`, `0`: all units are of 1024, as upstream has it.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" if number == "0" => 0,
        "B" => 0,
        "KB" | "KiB" | "K" => 10,
        "MB" | "MiB" | "M" => 20,
        "GB" | "GiB" | "G" => 30,
        "TB" | "TiB" | "T" => 40,
        "PB" | "PiB" | "P" => 50,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
    (bytes >= 0.0 && bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        for (text, want) in [
            ("15s", Some(15_000)),
            ("1h30m", Some(5_400_000)),
            ("250ms", Some(250)),
            ("1d", Some(86_400_000)),
            ("0", Some(0)),
            ("", None),
            ("15", None),
            ("1m1h", None),
            ("1s1s", None),
            ("s", None),
            ("99999999999y", None),
            ("1é", None),
        ] {
            assert_eq!(duration(text).map(|span| span.as_millis()), want, "{text}");
            if let Some(span) = duration(text) {
                assert_eq!(duration(&duration_text(span)), Some(span));
            }
        }
        assert_eq!(duration_text(Duration::from_secs(90)), "1m30s");
        for (text, want) in
            [("10MB", Some(10 << 20)), ("1.5KiB", Some(1536)), ("0", Some(0)), ("10", None), ("x", None)]
        {
            assert_eq!(size(text), want, "{text}");
        }
    }
}
