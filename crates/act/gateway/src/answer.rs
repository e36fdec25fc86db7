//! Answers that the gateway gives itself: problem+json with what went wrong and what to do.

use std::borrow::Cow;

use crate::log::{push_json, push_number};

/// An answer of the gateway's own, always an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    pub(crate) hint: &'static str,
}

impl Answer {
    pub(crate) fn new(
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        hint: &'static str,
    ) -> Self {
        Self { status, code, message: message.into(), hint }
    }

    /// A request that is not HTTP as it should be. The connection is closed after it.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        let hint = "the request could be understood in two ways, or not at all; correct the client";
        Self::new(400, "gateway.bad_request", message, hint)
    }

    pub(crate) fn body_too_large(max: u64) -> Self {
        let message = format!("the request body is larger than {max} bytes");
        Self::new(
            413,
            "gateway.body_too_large",
            message,
            "send less, or raise the route's limit for request bodies",
        )
    }

    pub(crate) fn bad_response(message: impl Into<Cow<'static, str>>) -> Self {
        let hint = "the service sent what is not HTTP/1.1; look at its logs";
        Self::new(502, "gateway.bad_response", message, hint)
    }

    pub(crate) fn reason(&self) -> &'static str {
        http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|code| code.canonical_reason())
            .unwrap_or("Error")
    }

    /// The body (RFC 9457); the trace id lets a user's report be found in logs and traces.
    pub(crate) fn body(&self, trace_id: Option<&[u8]>) -> Vec<u8> {
        let mut body = b"{\"type\":\"about:blank\",\"title\":".to_vec();
        push_json(&mut body, self.reason().as_bytes());
        body.extend_from_slice(b",\"status\":");
        push_number(&mut body, u64::from(self.status));
        for (name, value) in [("code", self.code), ("message", &self.message), ("hint", self.hint)] {
            body.extend_from_slice(format!(",\"{name}\":").as_bytes());
            push_json(&mut body, value.as_bytes());
        }
        if let Some(id) = trace_id {
            body.extend_from_slice(b",\"trace_id\":");
            push_json(&mut body, id);
        }
        body.extend_from_slice(b"}\n");
        body
    }
}
