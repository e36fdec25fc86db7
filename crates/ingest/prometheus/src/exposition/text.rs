//! The text format 0.0.4: forgiving about blanks, comments and order.

use metrics_api::MetricType;

use super::{ParseError, Said, Sample, Sink, Why, number, series};

pub(super) fn read(body: &str, sink: &mut impl Sink) -> Result<(), ParseError> {
    let mut kind = MetricType::Unknown;
    let mut rest = body;
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        // A quoted text may hold no line break, it is written `\n`; so lines can be cut first.
        let text = rest[..end].trim_matches([' ', '\t']);
        rest = rest.get(end + 1..).unwrap_or_default();
        let read = if let Some(comment) = text.strip_prefix('#') {
            said(comment, &mut kind, sink)
        } else if text.is_empty() {
            Ok(())
        } else {
            sample(text, kind, sink)
        };
        read.map_err(|why| ParseError { line, why })?;
    }
    Ok(())
}

fn said(comment: &str, current: &mut MetricType, sink: &mut impl Sink) -> Result<(), Why> {
    let blanks = [' ', '\t'];
    let comment = comment.trim_start_matches(blanks);
    let (word, rest) = comment.split_once(blanks).unwrap_or((comment, ""));
    if !matches!(word, "HELP" | "TYPE") {
        return Ok(());
    }
    let (name, rest) = series::family_name(rest.trim_start_matches(blanks))?;
    let rest = rest.trim_start_matches(blanks);
    if word == "HELP" {
        return sink.said(&name, Said::Help(&series::unescape(rest, false)));
    }
    *current = match rest {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "summary" => MetricType::Summary,
        "untyped" | "unknown" => MetricType::Unknown,
        other => return Err(format!("`{}` is no type of metric", series::short(other)).into()),
    };
    sink.said(&name, Said::Kind(*current))
}

fn sample(text: &str, kind: MetricType, sink: &mut impl Sink) -> Result<(), Why> {
    let end = series::scan(text)?;
    let (series, rest) = text.split_at(end);
    let rest = rest.trim_start_matches([' ', '\t']);
    let (value, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let value = number(value).ok_or_else(|| not_a_number(value))?;
    let time = rest.trim_start_matches([' ', '\t']);
    let time_seconds = match time {
        "" => None,
        time => match time.parse::<i64>() {
            Ok(time_ms) => Some(time_ms as f64 / 1000.0),
            Err(_) => return Err(format!("`{}` is no time in milliseconds", series::short(time)).into()),
        },
    };
    sink.sample(Sample { series, kind, value, time_seconds, exemplar: None })
}

fn not_a_number(text: &str) -> Why {
    match text {
        "" => "the value is missing".into(),
        text => format!("`{}` is no number", series::short(text)).into(),
    }
}
