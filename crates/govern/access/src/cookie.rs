//! The session cookie.
//!
//! Cookies know hosts, not ports: a workload behind the gateway on the same host is sent this cookie
//! too. The gateway has to take it off requests it passes on; `__Host-` (with TLS) at least keeps
//! others from planting one.

use std::time::Duration;

use crate::{Error, Result, credential::Secret};

const NAME_TLS: &str = "__Host-stead_session";
const NAME_PLAIN: &str = "stead_session";

fn name(tls: bool) -> &'static str {
    if tls { NAME_TLS } else { NAME_PLAIN }
}

/// The value of `Set-Cookie` for a new session.
#[must_use]
pub fn set_cookie(session: &Secret, lives: Duration, tls: bool) -> String {
    attributes(session.expose(), lives.as_secs(), tls)
}

/// The value of `Set-Cookie` that takes it away.
#[must_use]
pub fn clear_cookie(tls: bool) -> String {
    attributes("", 0, tls)
}

fn attributes(value: &str, age_s: u64, tls: bool) -> String {
    let secure = if tls { "; Secure" } else { "" };
    format!("{}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}", name(tls))
}

/// The session in a `Cookie` header. Two of them are refused: one was planted.
pub(crate) fn read(header: &str, tls: bool) -> Result<Option<&str>> {
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name(tls)).map(|(_, value)| value);
    let first = values.next();
    if values.next().is_some() {
        return Err(Error::Header { header: "Cookie" });
    }
    Ok(first.filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_strict() {
        let session = Secret::new("stead_ses_x".into());
        assert_eq!(
            set_cookie(&session, Duration::from_secs(60), true),
            "__Host-stead_session=stead_ses_x; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(clear_cookie(false), "stead_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn reading() {
        assert_eq!(read("a=b; stead_session=x; c=d", false).unwrap(), Some("x"));
        assert_eq!(read("xstead_session=x; stead_session_=y; stead_session=", false).unwrap(), None);
        // The plain name is not taken where TLS is on.
        assert_eq!(read("stead_session=x", true).unwrap(), None);
        assert!(read("stead_session=x; stead_session=y", false).is_err());
    }
}
