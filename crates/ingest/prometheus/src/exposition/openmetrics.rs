//! The syntax of OpenMetrics 1.0 text: every blank counts, and it ends with `# EOF`.

use metrics_api::MetricType;

use super::{ExemplarText, ParseError, Said, Sample, Sink, Why, number, series};

pub(super) fn read(body: &str, sink: &mut impl Sink) -> Result<(), ParseError> {
    let mut kind = MetricType::Unknown;
    let mut rest = body;
    let mut line = 0;
    let mut ended = false;
    while !rest.is_empty() {
        line += 1;
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let text = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let read = if ended {
            Err("something stands after `# EOF`".into())
        } else if text == "# EOF" {
            ended = true;
            Ok(())
        } else if text.is_empty() {
            Err("blank lines are not allowed".into())
        } else if text.starts_with('#') {
            said(text, &mut kind, sink)
        } else {
            sample(text, kind, sink)
        };
        read.map_err(|why| ParseError { line, why })?;
    }
    if ended {
        Ok(())
    } else {
        Err(ParseError { line: line + 1, why: "`# EOF` is missing at the end".into() })
    }
}

fn said(text: &str, current: &mut MetricType, sink: &mut impl Sink) -> Result<(), Why> {
    let (word, rest) = text
        .strip_prefix("# ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or("a line with `#` has to be `# HELP`, `# TYPE` or `# UNIT` with a name, or `# EOF`")?;
    if !matches!(word, "HELP" | "TYPE" | "UNIT") {
        return Err(format!("`# {}` means nothing; comments are not allowed", series::short(word)).into());
    }
    let (name, rest) = series::family_name(rest)?;
    let rest = rest.strip_prefix(' ').ok_or("nothing is said of the metric")?;
    match word {
        "HELP" => sink.said(&name, Said::Help(&series::unescape(rest, true))),
        "UNIT" => {
            if !rest.is_empty() && !name.strip_suffix(rest).is_some_and(|name| name.ends_with('_')) {
                return Err(format!("the unit `{}` does not end the name", series::short(rest)).into());
            }
            sink.said(&name, Said::Unit(rest))
        }
        _ => {
            *current = kind(rest).ok_or_else(|| format!("`{}` is no type of metric", series::short(rest)))?;
            sink.said(&name, Said::Kind(*current))
        }
    }
}

fn kind(word: &str) -> Option<MetricType> {
    Some(match word {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "gaugehistogram" => MetricType::GaugeHistogram,
        "summary" => MetricType::Summary,
        "info" => MetricType::Info,
        "stateset" => MetricType::StateSet,
        "unknown" => MetricType::Unknown,
        _ => return None,
    })
}

fn sample(text: &str, kind: MetricType, sink: &mut impl Sink) -> Result<(), Why> {
    let (series, rest) = text.split_at(series::scan(text)?);
    let rest = rest.strip_prefix(' ').ok_or("the value is missing; one blank parts it from the series")?;
    let (rest, exemplar) = match rest.split_once(" # ") {
        Some((before, after)) => (before, Some(exemplar(after)?)),
        None => (rest, None),
    };
    let (value, time_seconds) = value_and_time(rest)?;
    sink.sample(Sample { series, kind, value, time_seconds, exemplar })
}

fn exemplar(text: &str) -> Result<ExemplarText<'_>, Why> {
    let end = if text.starts_with('{') { series::scan(text)? } else { 0 };
    let (labels, rest) = text.split_at(end);
    series::exemplar_pairs(labels)?;
    let rest = rest.strip_prefix(' ').ok_or("the exemplar's value is missing")?;
    let (value, time_seconds) = value_and_time(rest)?;
    Ok(ExemplarText { labels, value, time_seconds })
}

fn value_and_time(text: &str) -> Result<(f64, Option<f64>), Why> {
    let (value, time) = match text.split_once(' ') {
        Some((value, time)) => (value, Some(time)),
        None => (text, None),
    };
    let value = number(value).ok_or_else(|| format!("`{}` is no number", series::short(value)))?;
    let Some(time) = time else { return Ok((value, None)) };
    match time.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => Ok((value, Some(seconds))),
        _ => Err(format!("`{}` is no time in seconds", series::short(time)).into()),
    }
}
