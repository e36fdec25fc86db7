//! What a browser is told so that a page can do only what it is meant to.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};

/// A word that only this answer knows.
pub(crate) struct Nonce(String);

impl Nonce {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut word = [0_u8; 16];
        getrandom::fill(&mut word)?;
        Ok(Self(STANDARD.encode(word)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// For every answer.
pub(crate) fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// For the page: scripts from us alone, styles from us or with the nonce, no frames, no elsewhere.
pub(crate) fn guard_page(headers: &mut HeaderMap, nonce: &Nonce) {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{}'; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        nonce.as_str()
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
