//! Histograms as scripts write them: `{{schema:0 sum:5 count:4 buckets:[1 2 1] offset:-1}}`.

use metrics_api::{CounterReset, Histogram, Span};

use super::series::Scanner;

pub(super) struct Described {
    pub histogram: Histogram,
    pub reset_is_given: bool,
}

/// Reads one description from the front of `scanner`, which is at its braces.
pub(super) fn describe(scanner: &mut Scanner<'_>) -> Result<Described, String> {
    if !scanner.accept("{{") {
        return Err(format!("expected {{{{ before {:?}", scanner.text));
    }
    let mut histogram = Histogram::default();
    let mut seen: Vec<&str> = Vec::new();
    let (mut offset, mut negative_offset) = (0, 0);
    loop {
        scanner.skip_space();
        if scanner.accept("}}") {
            break;
        }
        let len = scanner.text.find(':').ok_or("missing `:` for histogram descriptor")?;
        let (key, rest) = scanner.text.split_at(len);
        scanner.text = &rest[1..];
        if seen.contains(&key) {
            return Err(format!("duplicate key {key:?} in histogram"));
        }
        seen.push(key);
        match key {
            "schema" => {
                let schema = integer(scanner)?;
                histogram.schema = i8::try_from(schema).map_err(|_| format!("invalid schema {schema}"))?;
            }
            "sum" => histogram.sum = scanner.signed_number()?,
            "count" => histogram.count = scanner.signed_number()?,
            "z_bucket" => histogram.zero_count = scanner.signed_number()?,
            "z_bucket_w" => histogram.zero_threshold = scanner.signed_number()?,
            "custom_values" => histogram.custom_values = numbers(scanner)?,
            "buckets" => histogram.positive_buckets = numbers(scanner)?,
            "n_buckets" => histogram.negative_buckets = numbers(scanner)?,
            "offset" => offset = integer(scanner)?,
            "n_offset" => negative_offset = integer(scanner)?,
            "counter_reset_hint" => histogram.counter_reset = counter_reset(scanner)?,
            other => return Err(format!("bad histogram descriptor found: {other:?}")),
        }
        if !scanner.text.starts_with("}}") && !scanner.text.starts_with(char::is_whitespace) {
            return Err(format!("histogram description incomplete unexpected: {:?}", scanner.text));
        }
    }
    histogram.positive_spans = spans(offset, histogram.positive_buckets.len());
    histogram.negative_spans = spans(negative_offset, histogram.negative_buckets.len());
    Ok(Described { histogram, reset_is_given: seen.contains(&"counter_reset_hint") })
}

fn spans(offset: i32, buckets: usize) -> Vec<Span> {
    match u32::try_from(buckets) {
        Ok(length) if length > 0 => vec![Span { offset, length }],
        _ => Vec::new(),
    }
}

fn integer(scanner: &mut Scanner<'_>) -> Result<i32, String> {
    let end = scanner.text.find(|letter: char| !letter.is_ascii_digit() && letter != '-');
    let (number, rest) = scanner.text.split_at(end.unwrap_or(scanner.text.len()));
    scanner.text = rest;
    number.parse().map_err(|_| format!("expected a whole number, found {number:?}"))
}

fn numbers(scanner: &mut Scanner<'_>) -> Result<Vec<f64>, String> {
    if !scanner.accept("[") {
        return Err(format!("expected [ before {:?}", scanner.text));
    }
    let mut numbers = Vec::new();
    loop {
        scanner.skip_space();
        if scanner.accept("]") {
            return Ok(numbers);
        }
        numbers.push(scanner.signed_number()?);
    }
}

fn counter_reset(scanner: &mut Scanner<'_>) -> Result<CounterReset, String> {
    for (word, reset) in [
        ("unknown", CounterReset::Unknown),
        ("reset", CounterReset::Reset),
        ("not_reset", CounterReset::NotReset),
        ("gauge", CounterReset::Gauge),
    ] {
        if scanner.accept(word) {
            return Ok(reset);
        }
    }
    Err(format!("unknown counter_reset_hint before {:?}", scanner.text))
}

/// `base` and `step` added, or `step` taken from `base`, for series that grow by a histogram.
pub(super) fn combine(base: &Histogram, step: &Histogram, subtract: bool) -> Result<Histogram, String> {
    if base.schema > step.schema {
        let (from, to) = (step.schema, base.schema);
        return Err(format!("error combining histograms: cannot merge from schema {from} to {to}"));
    }
    match crate::histogram::combine(base, step, subtract) {
        Ok((sum, _)) => Ok(sum),
        Err(_) => Err("exponential and custom buckets do not add up".to_owned()),
    }
}
