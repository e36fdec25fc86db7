//! A series as it is written: `name{label="value",…}` or, where the name is no classic one,
//! `{"name",label="value",…}`.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};
use metrics_api::{Labels, METRIC_NAME, MetricType};

use super::{LABELS_MAX, Why, canonical_float};

/// Names and values.
pub type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// How strict the writing of a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Blanks between the parts and a comma after the last label are let pass.
    Text,
    OpenMetrics,
}

/// How many bytes of `line` are its series. Looks for the end only.
///
/// # Errors
/// There is no end.
pub fn scan(line: &str) -> Result<usize, Why> {
    let bytes = line.as_bytes();
    let name_end = memchr3(b'{', b' ', b'\t', bytes).unwrap_or(bytes.len());
    let mut at = name_end;
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    if bytes.get(at) != Some(&b'{') {
        return Ok(name_end);
    }
    at += 1;
    loop {
        let Some(found) = memchr2(b'"', b'}', &bytes[at..]) else {
            return Err("the labels are not closed with `}`".into());
        };
        at += found + 1;
        if bytes[at - 1] == b'}' {
            return Ok(at);
        }
        at += quoted_len(&bytes[at..]).ok_or("a quoted text is not closed")?;
    }
}

/// Bytes up to and with the quote that closes the text.
fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let found = memchr2(b'"', b'\\', &bytes[at..])?;
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return Some(at);
        }
        at += 1;
        if at > bytes.len() {
            return None;
        }
    }
}

/// Names and values in their order; the metric's name is that of `__name__`.
///
/// # Errors
/// What is wrong with the writing.
pub fn pairs(series: &str, dialect: Dialect) -> Result<Pairs<'_>, Why> {
    let name_end = memchr3(b'{', b' ', b'\t', series.as_bytes()).unwrap_or(series.len());
    let name = &series[..name_end];
    let mut found = Vec::with_capacity(8);
    if !name.is_empty() {
        if !is_classic(name, true) {
            return Err(format!("`{}` is no metric name", short(name)).into());
        }
        found.push((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(name)));
    }
    let rest = &series[name_end..];
    let open = if dialect == Dialect::Text { rest.trim_start_matches([' ', '\t']) } else { rest };
    match open.strip_prefix('{') {
        Some(inner) => labels_in(inner, dialect, &mut found)?,
        None if open.is_empty() => {}
        None => return Err("a blank stands between name and labels".into()),
    }
    if !found.iter().any(|pair| pair.0 == METRIC_NAME) {
        return Err("the metric has no name".into());
    }
    refuse_repeated(&found)?;
    Ok(found)
}

/// The labels of an exemplar, `{…}`.
///
/// # Errors
/// What is wrong with the writing.
pub fn exemplar_pairs(labels: &str) -> Result<Pairs<'_>, Why> {
    let mut found = Vec::with_capacity(2);
    let inner = labels.strip_prefix('{').ok_or("an exemplar begins with `{`")?;
    labels_in(inner, Dialect::OpenMetrics, &mut found)?;
    refuse_repeated(&found)?;
    Ok(found)
}

/// Code points of an exemplar's names and values together.
#[must_use]
pub fn exemplar_chars(pairs: &Pairs<'_>) -> usize {
    pairs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
}

/// The series' labels, `le` and `quantile` in their canonical form (`1` is `1.0`) where the family's
/// type gives them a meaning.
///
/// # Errors
/// What is wrong with the writing.
pub fn labels(series: &str, dialect: Dialect, kind: MetricType) -> Result<Labels, Why> {
    let mut pairs = pairs(series, dialect)?;
    let number = match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => "le",
        MetricType::Summary => "quantile",
        _ => "",
    };
    for (name, value) in &mut pairs {
        if name == number
            && let Ok(float) = value.parse::<f64>()
        {
            *value = Cow::Owned(canonical_float(float));
        }
    }
    Ok(Labels::from_pairs(pairs))
}

/// Reads after the opening brace up to and with the closing one, which ends the text.
fn labels_in<'a>(mut rest: &'a str, dialect: Dialect, found: &mut Pairs<'a>) -> Result<(), Why> {
    let blanks = |text: &'a str| match dialect {
        Dialect::Text => text.trim_start_matches([' ', '\t']),
        Dialect::OpenMetrics => text,
    };
    rest = blanks(rest);
    let mut first = true;
    while !rest.starts_with('}') {
        if !first {
            rest = blanks(rest.strip_prefix(',').ok_or("labels are parted by commas")?);
            if rest.starts_with('}') {
                if dialect == Dialect::OpenMetrics {
                    return Err("a comma stands after the last label".into());
                }
                break;
            }
        }
        let (name, after) = label_name(rest)?;
        let after = blanks(after);
        if first && matches!(name, Name::Quoted(_)) && after.starts_with([',', '}']) {
            found.insert(0, (Cow::Borrowed(METRIC_NAME), name.into_text()?));
            rest = after;
        } else {
            let after = after.strip_prefix('=').ok_or("a label has no `=`")?;
            let quoted = blanks(after).strip_prefix('"').ok_or("a label's value is not in quotes")?;
            let (value, after) = quoted_text(quoted)?;
            found.push((name.into_text()?, value));
            rest = blanks(after);
        }
        if found.len() > LABELS_MAX {
            return Err(format!("a series has more than {LABELS_MAX} labels").into());
        }
        first = false;
    }
    if rest.len() == 1 { Ok(()) } else { Err("the labels do not end with `}`".into()) }
}

enum Name<'a> {
    Plain(&'a str),
    Quoted(Cow<'a, str>),
}

impl<'a> Name<'a> {
    fn into_text(self) -> Result<Cow<'a, str>, Why> {
        match self {
            Self::Plain(name) if is_classic(name, false) => Ok(Cow::Borrowed(name)),
            Self::Plain(name) => Err(format!("`{}` is no label name", short(name)).into()),
            Self::Quoted(name) if name.is_empty() => Err("a name is empty".into()),
            Self::Quoted(name) => Ok(name),
        }
    }
}

fn label_name(rest: &str) -> Result<(Name<'_>, &str), Why> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let (name, after) = quoted_text(quoted)?;
        return Ok((Name::Quoted(name), after));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let end = rest.bytes().position(|byte| !fits(byte)).unwrap_or(rest.len());
    Ok((Name::Plain(&rest[..end]), &rest[end..]))
}

/// The text up to the closing quote, and what stands after it.
fn quoted_text(rest: &str) -> Result<(Cow<'_, str>, &str), Why> {
    let len = quoted_len(rest.as_bytes()).ok_or("a quoted text is not closed")?;
    Ok((unescape(&rest[..len - 1], true), &rest[len..]))
}

/// The family's name in a line of metadata, and what stands after it.
pub(super) fn family_name(rest: &str) -> Result<(Cow<'_, str>, &str), Why> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let (name, after) = quoted_text(quoted)?;
        return if name.is_empty() { Err("a metric's name is empty".into()) } else { Ok((name, after)) };
    }
    let end = memchr2(b' ', b'\t', rest.as_bytes()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    if !is_classic(name, true) {
        return Err(format!("`{}` is no metric name", short(name)).into());
    }
    Ok((Cow::Borrowed(name), after))
}

/// `\n`, `\\` and, in quotes, `\"`; any other backslash stands for itself.
pub(super) fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('\\') => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

/// Appends `text` in quotes, escaped as [`unescape`] reads it.
pub(crate) fn push_quoted(into: &mut String, text: &str) {
    into.push('"');
    for letter in text.chars() {
        match letter {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            other => into.push(other),
        }
    }
    into.push('"');
}

/// Letters, digits and underscores, no digit first; a metric's name may hold colons.
pub(crate) fn is_classic(name: &str, colons: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colons && byte == b':');
    !name.is_empty() && name.bytes().all(fits) && !name.as_bytes()[0].is_ascii_digit()
}

fn refuse_repeated(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<(), Why> {
    let mut names: Vec<&str> = pairs.iter().map(|pair| &*pair.0).collect();
    names.sort_unstable();
    match names.array_windows().find(|[one, next]| one == next) {
        Some([name, _]) => Err(format!("label `{}` is given twice", short(name)).into()),
        None => Ok(()),
    }
}

/// Short enough for a message.
pub(crate) fn short(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(series: &str, dialect: Dialect) -> Result<String, Why> {
        assert_eq!(scan(series).map_err(|_| ()), Ok(series.len()), "{series}");
        labels(series, dialect, MetricType::Histogram).map(|labels| labels.to_string())
    }

    #[test]
    fn series_are_read_in_both_dialects() {
        for (given, want) in [
            (r"up", r"up"),
            (r"up{}", r"up"),
            (r#"a_bucket{le="1",b="x\"\\\n\z"}"#, r#"a_bucket{b="x\"\\\n\\z", le="1.0"}"#),
            (r#"{"a.b",c="}"}"#, r#"{"a.b", c="}"}"#),
            (r#"{"a.b","c.d"="é"}"#, r#"{"a.b", "c.d"="é"}"#),
        ] {
            assert_eq!(read(given, Dialect::OpenMetrics).as_deref(), Ok(want));
            assert_eq!(read(given, Dialect::Text).as_deref(), Ok(want));
        }
        for loose in [r#"up {a="1"}"#, r#"up{ a = "1" , b="2", }"#, "up{a=\"1\",}"] {
            assert!(read(loose, Dialect::Text).is_ok(), "{loose}");
            assert!(read(loose, Dialect::OpenMetrics).is_err(), "{loose}");
        }
    }

    #[test]
    fn bad_series_are_refused_with_a_reason() {
        for bad in [
            r#"a{1="1"}"#,
            r#"a{a="1",a="1"}"#,
            r#"a{a="1"b}"#,
            r#"a{a}"#,
            r#"a{a""}"#,
            r"a{a=1}",
            r#"a{,}"#,
            r#"{a="1"}"#,
            r#"a{"b"}"#,
            r#"a{__name__="b"}"#,
            "1a",
            "a.b",
            r#"{""}"#,
            r#"a{""="1"}"#,
        ] {
            assert!(read(bad, Dialect::Text).is_err(), "{bad}");
            assert!(read(bad, Dialect::OpenMetrics).is_err(), "{bad}");
        }
        for open in ["a{", r#"a{b=""#, r#"a{b="\"#, r#"a{b="\""#] {
            assert!(scan(open).is_err(), "{open}");
        }
        let many: String = (0..=LABELS_MAX).map(|at| format!("l{at}=\"1\",")).collect();
        assert!(labels(&format!("a{{{many}}}"), Dialect::Text, MetricType::Gauge).is_err());
    }
}
