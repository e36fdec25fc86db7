//! Series with their values: `name{label="value"} 1+2x5 _ stale {{…}}`.

use std::sync::Arc;

use metrics_api::{Labels, stale_nan};

use super::{
    Value,
    histogram::{Described, combine, describe},
};
use crate::literal::{is_alpha, parse_number, scan_number};

/// How many values a series may have.
pub const VALUES_MAX: usize = 1_000_000;

/// Reads a series and its values, `None` where there is none.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_series(line: &str) -> Result<(Labels, Vec<Option<Value>>), String> {
    let (metric, rest) = line.split_at(metric_len(line));
    let labels = if metric.is_empty() {
        Labels::empty()
    } else {
        crate::parse_metric(metric).map_err(|why| format!("{why} in {metric:?}"))?
    };
    let mut scanner = Scanner { text: rest };
    let mut values = Vec::new();
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(format!("unexpected {rest:?} in series values"));
    }
    while !scanner.skip_space() {
        scanner.item(&mut values)?;
        if !scanner.text.is_empty() && !scanner.text.starts_with(char::is_whitespace) {
            return Err(format!("unexpected {:?} in series values", scanner.text));
        }
    }
    Ok((labels, values))
}

/// How long the name and the braces at the start of `line` are.
fn metric_len(line: &str) -> usize {
    let name = line
        .find(|letter: char| !(is_alpha(letter) || letter.is_ascii_digit() || letter == ':'))
        .unwrap_or(line.len());
    if !line[name..].starts_with('{') {
        return name;
    }
    let mut quote = None;
    let mut letters = line[name..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match (letter, quote) {
            ('}', None) => return name + at + 1,
            ('"' | '\'' | '`', None) => quote = Some(letter),
            ('\\', Some(open)) if open != '`' => {
                letters.next();
            }
            (_, Some(open)) if letter == open => quote = None,
            _ => {}
        }
    }
    line.len()
}

/// Reads values from the front of a text.
pub(super) struct Scanner<'a> {
    pub text: &'a str,
}

impl Scanner<'_> {
    /// Whether that was the end.
    pub fn skip_space(&mut self) -> bool {
        self.text = self.text.trim_start();
        self.text.is_empty()
    }

    pub fn accept(&mut self, wanted: &str) -> bool {
        match self.text.strip_prefix(wanted) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn item(&mut self, values: &mut Vec<Option<Value>>) -> Result<(), String> {
        if self.accept("_") {
            let count = if self.accept("x") { self.count()? } else { 1 };
            return push(values, count, |_| Ok(None));
        }
        if self.text.starts_with("{{") {
            return self.histograms(values);
        }
        let first = if self.accept("stale") { stale_nan() } else { self.signed_number()? };
        let mut delta = 0.0;
        let repeated = self.accept("x") || {
            let has_delta = self.text.starts_with(['+', '-']);
            if has_delta {
                delta = self.signed_number()?;
                self.need_times()?;
            }
            has_delta
        };
        let count = if repeated { self.count()? + 1 } else { 1 };
        let mut value = first;
        push(values, count, |index| {
            // A stale marker would lose its bits in an addition.
            if index > 0 && delta != 0.0 {
                value += delta;
            }
            Ok(Some(Value::Float(value)))
        })
    }

    fn need_times(&mut self) -> Result<(), String> {
        if self.accept("x") { Ok(()) } else { Err(format!("expected x and a count before {:?}", self.text)) }
    }

    fn histograms(&mut self, values: &mut Vec<Option<Value>>) -> Result<(), String> {
        let base = describe(self)?;
        let subtract = self.text.starts_with('-');
        if self.accept("x") {
            let count = self.count()? + 1;
            let value = base.value();
            return push(values, count, |_| Ok(Some(value.clone())));
        }
        if !self.accept("+") && !self.accept("-") {
            return push(values, 1, |_| Ok(Some(base.value())));
        }
        let step = describe(self)?;
        self.need_times()?;
        let count = self.count()? + 1;
        let mut current = Described { reset_is_given: step.reset_is_given, ..base };
        push(values, count, |index| {
            if index > 0 {
                current.histogram = combine(&current.histogram, &step.histogram, subtract)?;
            }
            Ok(Some(current.value()))
        })
    }

    /// How often something stands.
    fn count(&mut self) -> Result<usize, String> {
        let digits = self.text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.text.split_at(digits);
        let count = number.parse().ok().filter(|count| *count < VALUES_MAX);
        let count = count.ok_or_else(|| format!("invalid repetition in series values: {number:?}"))?;
        self.text = rest;
        Ok(count)
    }

    pub fn signed_number(&mut self) -> Result<f64, String> {
        let minus = self.accept("-");
        if !minus {
            self.accept("+");
        }
        let words = ["inf", "nan"];
        let word = words
            .iter()
            .find(|word| self.text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)));
        let len = match word {
            Some(word) => Some(word.len()),
            None => scan_number(self.text, true).len,
        };
        let Some(len) = len else {
            return Err(format!("expected a number before {:?}", self.text));
        };
        let (number, rest) = self.text.split_at(len);
        let value = parse_number(number)?;
        self.text = rest;
        Ok(if minus { -value } else { value })
    }
}

fn push(
    values: &mut Vec<Option<Value>>,
    count: usize,
    mut make: impl FnMut(usize) -> Result<Option<Value>, String>,
) -> Result<(), String> {
    if values.len() + count > VALUES_MAX {
        return Err(format!("a series has more than {VALUES_MAX} values"));
    }
    for index in 0..count {
        values.push(make(index)?);
    }
    Ok(())
}

impl Described {
    fn value(&self) -> Value {
        Value::Histogram { histogram: Arc::new(self.histogram.clone()), reset_is_given: self.reset_is_given }
    }
}
