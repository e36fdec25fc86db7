//! Parameters of a request: from the query, and from a form when it is a POST.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{Method, header},
};
use base::{Tenant, Timestamp};
use metrics_api::{LabelQuery, Matcher, TimeRange};
use promql::ast::Expr;

use crate::{FORM_BYTES_MAX, answer::Failure};

/// All parameters in the order given, query before form; names may repeat.
#[derive(Debug)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
    pub(crate) tenant: Tenant,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let tenant = request
            .extensions()
            .get::<base::Ctx>()
            .map(|ctx| ctx.scope.tenant.clone())
            .ok_or_else(|| Failure::internal("the request has not passed the gate"))?;
        let mut pairs = parse_form(request.uri().query().unwrap_or_default());
        let is_form = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if *request.method() != Method::GET && is_form {
            let body = Bytes::from_request(request, state).await.map_err(|_| {
                Failure::bad_data(format!("the form is longer than {FORM_BYTES_MAX} bytes, or was cut"))
            })?;
            pairs.extend(parse_form(&String::from_utf8_lossy(&body)));
        }
        Ok(Self { pairs, tenant })
    }
}

impl Params {
    /// The first value of `name`; an empty one counts as none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.get(name).ok_or_else(|| Failure::parameter(name, "it is missing"))
    }

    /// Milliseconds of a time, none when it is not given.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.get(name).map(|text| parse_time(text).map_err(|why| Failure::parameter(name, &why))).transpose()
    }

    /// Milliseconds of a duration, none when it is not given.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<i64>, Failure> {
        self.get(name)
            .map(|text| parse_duration(text).map_err(|why| Failure::parameter(name, &why)))
            .transpose()
    }

    /// A number of answers; 0 is no bound.
    pub(crate) fn limit(&self) -> Result<usize, Failure> {
        match self.get("limit") {
            None => Ok(0),
            Some(text) => {
                text.parse().map_err(|_| Failure::parameter("limit", "it has to be a number from 0 on"))
            }
        }
    }

    /// The selectors of `match[]` with `start` and `end`.
    pub(crate) fn label_query(&self) -> Result<LabelQuery, Failure> {
        let mut any_of = Vec::new();
        for text in self.all("match[]") {
            any_of.push(parse_selector("match[]", text)?);
        }
        let start_ms = self.time("start")?.unwrap_or(i64::MIN);
        let end_ms = self.time("end")?.unwrap_or(i64::MAX);
        if end_ms < start_ms {
            return Err(Failure::bad_data(
                "invalid parameter \"end\": end timestamp must not be before start time".into(),
            ));
        }
        Ok(LabelQuery { any_of, range: TimeRange { start_ms, end_ms }, limit: self.limit()? })
    }
}

/// Seconds since the epoch, with decimals, or RFC 3339.
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let time_ms = (seconds * 1000.0).round();
        if time_ms.is_finite() && time_ms.abs() < 9.2e18 {
            return Ok(time_ms as i64);
        }
    }
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(time.millis()),
        Err(_) => Err(format!("cannot parse {text:?} to a valid timestamp")),
    }
}

/// Seconds with decimals, or a duration of PromQL such as `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let duration_ms = (seconds * 1000.0).round();
        return if duration_ms.is_finite() && duration_ms.abs() < 9.2e18 {
            Ok(duration_ms as i64)
        } else {
            Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"))
        };
    }
    match promql::parse::parse(text) {
        Ok(Expr::Number(number)) if number.is_duration => Ok((number.value * 1000.0).round() as i64),
        _ => Err(format!("cannot parse {text:?} to a valid duration")),
    }
}

/// The matchers of a selector such as `up{job="x"}`.
pub(crate) fn parse_selector(name: &str, text: &str) -> Result<Vec<Matcher>, Failure> {
    match promql::parse::parse(text) {
        Ok(Expr::Vector(selector)) if selector.offset.is_none() && selector.at.is_none() => {
            Ok(selector.matchers)
        }
        Ok(_) => Err(Failure::parameter(name, "it has to be a selector of series, such as up{job=\"node\"}")),
        Err(error) => Err(Failure::parameter(name, &error.to_string())),
    }
}

/// `application/x-www-form-urlencoded`; what is no UTF-8 is replaced.
fn parse_form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(n, v)| (decode(n), decode(v)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: u8| (byte as char).to_digit(16);
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let ahead = rest.as_slice_pair();
                match ahead.and_then(|(high, low)| Some(hex(high)? * 16 + hex(low)?)) {
                    Some(code) => {
                        bytes.push(code as u8);
                        rest.nth(1);
                    }
                    None => bytes.push(b'%'),
                }
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

trait Ahead {
    /// The next two bytes, not taken.
    fn as_slice_pair(&self) -> Option<(u8, u8)>;
}

impl Ahead for std::str::Bytes<'_> {
    fn as_slice_pair(&self) -> Option<(u8, u8)> {
        let mut ahead = self.clone();
        Some((ahead.next()?, ahead.next()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_names_repeat() {
        let pairs = parse_form("match%5B%5D=up%7Ba%3D%22b%22%7D&match[]=a+b&x&y=%zz%4");
        assert_eq!(pairs[0], ("match[]".into(), r#"up{a="b"}"#.into()));
        assert_eq!(pairs[1], ("match[]".into(), "a b".into()));
        assert_eq!(pairs[2..], [("x".into(), String::new()), ("y".into(), "%zz%4".into())]);
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        assert_eq!(parse_time("1435781430.781"), Ok(1_435_781_430_781));
        assert_eq!(parse_time("2015-07-01T20:10:30.781Z"), Ok(1_435_781_430_781));
        assert_eq!(parse_time("-1"), Ok(-1000));
        assert!(parse_time("foo").is_err() && parse_time("NaN").is_err() && parse_time("1e300").is_err());
        assert_eq!(parse_duration("0.5"), Ok(500));
        assert_eq!(parse_duration("1m30s"), Ok(90_000));
        assert!(parse_duration("foo").is_err() && parse_duration("1e300").is_err());
    }
}
