//! Questions to the surface that speaks as Prometheus does (`/prometheus`).

use api_types::Problem;
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::transport::{Client, Error, Result, encode};

/// What was asked for, and what the server remarks beside it.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    pub data: Value,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Client {
    /// Asks `/prometheus/api/v1` for `path`, such as `/query`, with the parameters in a form, so that
    /// a long query fits.
    ///
    /// # Errors
    /// The server refused, in its words, or cannot be reached.
    pub async fn prometheus(&self, path: &str, parameters: &[(&str, String)]) -> Result<Answered> {
        let form: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let body = Full::new(Bytes::from(form.join("&"))).map_err(|never| match never {}).boxed();
        let path = format!("/prometheus/api/v1{path}");
        let kind = Some("application/x-www-form-urlencoded");
        let sent = async {
            let response = self.send(Method::POST, &path, &[], kind, body).await?;
            let status = response.status();
            Ok::<_, Error>((status, self.collect(response).await?))
        };
        let (status, bytes) = self.in_time(sent).await?;
        read(status.as_u16(), &bytes).map_err(|problem| match problem {
            Some(problem) => Error::Refused(problem),
            None => self.answer(&"it is no JSON"),
        })
    }

    /// The same with GET, for what takes no form.
    ///
    /// # Errors
    /// As [`Client::prometheus`].
    pub async fn prometheus_get(
        &self,
        path: &str,
        parameters: &[(&str, Option<String>)],
    ) -> Result<Answered> {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        let path = format!("/prometheus/api/v1{path}");
        let sent = async {
            let response = self.send(Method::GET, &path, parameters, None, body).await?;
            let status = response.status();
            Ok::<_, Error>((status, self.collect(response).await?))
        };
        let (status, bytes) = self.in_time(sent).await?;
        read(status.as_u16(), &bytes).map_err(|problem| match problem {
            Some(problem) => Error::Refused(problem),
            None => self.answer(&"it is no JSON"),
        })
    }

    /// Has the scrape configuration read again.
    ///
    /// # Errors
    /// The server refused, in its words: each mistake in the file.
    pub async fn prometheus_reload(&self) -> Result<()> {
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
        let sent = async {
            let response = self.send(Method::POST, "/prometheus/-/reload", &[], None, body).await?;
            let status = response.status();
            Ok::<_, Error>((status, self.collect(response).await?))
        };
        let (status, bytes) = self.in_time(sent).await?;
        if status.is_success() {
            return Ok(());
        }
        let said = serde_json::from_slice(&bytes).unwrap_or_else(|_| Problem {
            code: "prometheus.reload".into(),
            status: status.as_u16(),
            message: String::from_utf8_lossy(&bytes).trim().to_owned(),
            hint: None,
        });
        Err(Error::Refused(said))
    }
}

/// Takes the envelope off.
fn read(status: u16, bytes: &[u8]) -> std::result::Result<Answered, Option<Problem>> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|_| None)?;
    if value["status"] == "success" {
        let texts = |value: &Value| {
            value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect()
        };
        let (warnings, infos) = (texts(&value["warnings"]), texts(&value["infos"]));
        return Ok(Answered { data: value["data"].take(), warnings, infos });
    }
    if let Some(message) = value["error"].as_str() {
        let kind = value["errorType"].as_str().unwrap_or("error");
        return Err(Some(Problem {
            code: format!("prometheus.{kind}"),
            status,
            message: message.into(),
            hint: None,
        }));
    }
    Err(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let good = read(200, br#"{"status":"success","data":[1],"warnings":["w"]}"#).unwrap();
        assert_eq!((good.data, good.warnings), (serde_json::json!([1]), vec!["w".to_owned()]));
        let bad =
            read(400, br#"{"status":"error","errorType":"bad_data","error":"no"}"#).unwrap_err().unwrap();
        assert_eq!((bad.code.as_str(), bad.message.as_str()), ("prometheus.bad_data", "no"));
        let denied =
            read(403, br#"{"code":"access.denied","status":403,"message":"m"}"#).unwrap_err().unwrap();
        assert_eq!(denied.code, "access.denied");
        assert!(read(502, b"<html>").unwrap_err().is_none());
    }
}
