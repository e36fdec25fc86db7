//! Which format to ask for and which was sent.

use super::Format;

/// A format as `scrape_protocols` of a configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    PrometheusProto,
    OpenMetricsText0,
    OpenMetricsText1,
    PrometheusText0,
    PrometheusText1,
}

impl Protocol {
    /// Names as in a configuration.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("PrometheusProto", Self::PrometheusProto),
        ("OpenMetricsText0.0.1", Self::OpenMetricsText0),
        ("OpenMetricsText1.0.0", Self::OpenMetricsText1),
        ("PrometheusText0.0.4", Self::PrometheusText0),
        ("PrometheusText1.0.0", Self::PrometheusText1),
    ];
    /// What is asked for when nothing is said.
    pub const DEFAULT: [Self; 4] =
        [Self::OpenMetricsText1, Self::OpenMetricsText0, Self::PrometheusText1, Self::PrometheusText0];

    #[must_use]
    pub fn format(self) -> Format {
        match self {
            Self::PrometheusProto => Format::Protobuf,
            Self::OpenMetricsText0 | Self::OpenMetricsText1 => Format::OpenMetrics,
            Self::PrometheusText0 | Self::PrometheusText1 => Format::Text,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Self::OpenMetricsText0 => "application/openmetrics-text;version=0.0.1",
            Self::OpenMetricsText1 => "application/openmetrics-text;version=1.0.0",
            Self::PrometheusText0 => "text/plain;version=0.0.4",
            Self::PrometheusText1 => "text/plain;version=1.0.0",
        }
    }

    /// Whether the version knows names beyond the classic ones.
    fn knows_utf8(self) -> bool {
        matches!(self, Self::OpenMetricsText1 | Self::PrometheusText1 | Self::PrometheusProto)
    }
}

/// The `Accept` header for these protocols, the first wanted most.
#[must_use]
pub fn accept(protocols: &[Protocol]) -> String {
    let mut parts: Vec<String> = Vec::with_capacity(protocols.len() + 1);
    for (at, protocol) in protocols.iter().enumerate() {
        let escaping = if protocol.knows_utf8() { ";escaping=allow-utf-8" } else { "" };
        let weight = (protocols.len() + 1).saturating_sub(at).clamp(2, 9);
        parts.push(format!("{}{escaping};q=0.{weight}", protocol.media_type()));
    }
    parts.push("*/*;q=0.1".to_owned());
    parts.join(",")
}

/// The format of a `Content-Type`; `fallback` when it is missing or says nothing known.
///
/// # Errors
/// There is no fallback either: what was sent, in words.
pub fn format(content_type: Option<&str>, fallback: Option<Protocol>) -> Result<Format, String> {
    let sent = content_type.unwrap_or_default();
    let mut parts = sent.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameter = |wanted: &str| {
        sent.split(';').skip(1).find_map(|part| {
            let (name, value) = part.trim().split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
        })
    };
    let known = match media.as_str() {
        "text/plain" => Some(Format::Text),
        "application/openmetrics-text" => Some(Format::OpenMetrics),
        "application/vnd.google.protobuf"
            if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                && parameter("encoding").is_none_or(|encoding| encoding == "delimited") =>
        {
            Some(Format::Protobuf)
        }
        _ => None,
    };
    match (known, fallback) {
        (Some(format), _) => Ok(format),
        (None, Some(fallback)) => Ok(fallback.format()),
        (None, None) if sent.is_empty() => {
            Err("the answer has no Content-Type, and the job no fallback_scrape_protocol".into())
        }
        (None, None) => Err(format!(
            "the Content-Type `{}` is no format of metrics, and the job has no fallback_scrape_protocol",
            super::series::short(sent)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_and_what_was_sent() {
        assert_eq!(
            accept(&Protocol::DEFAULT),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
        for (sent, want) in [
            ("text/plain; version=0.0.4; charset=utf-8", Ok(Format::Text)),
            ("Application/OpenMetrics-Text;version=1.0.0", Ok(Format::OpenMetrics)),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                Ok(Format::Protobuf),
            ),
            ("application/vnd.google.protobuf; proto=other", Err(())),
            ("text/html", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(format(Some(sent), None).map_err(|_| ()), want, "{sent}");
        }
        assert_eq!(format(None, Some(Protocol::PrometheusText0)), Ok(Format::Text));
    }
}
