//! What header fields mean to a proxy: which it must understand, which it must not pass on.

use crate::answer::Answer;

/// Header fields that the gateway treats in some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Upgrade,
    /// Other fields for one hop only.
    Hop,
    Expect,
    Cookie,
    TraceParent,
    TraceState,
    RequestId,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    /// `X-Forwarded-Port`, `X-Real-IP` and the like.
    ForwardedOther,
    Forwarded,
    /// A name that servers which take `_` for `-` would read as one of those above.
    Lookalike,
    ContentType,
}

pub(crate) fn classify(name: &[u8]) -> Known {
    let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
    match name.len() {
        2 if is("te") => Known::Hop,
        4 if is("host") => Known::Host,
        6 if is("expect") => Known::Expect,
        6 if is("cookie") => Known::Cookie,
        7 if is("upgrade") => Known::Upgrade,
        7 if is("trailer") => Known::Hop,
        9 if is("forwarded") => Known::Forwarded,
        9 if is("x-real-ip") => Known::ForwardedOther,
        10 if is("connection") => Known::Connection,
        10 if is("keep-alive") => Known::Hop,
        10 if is("tracestate") => Known::TraceState,
        11 if is("traceparent") => Known::TraceParent,
        12 if is("x-request-id") => Known::RequestId,
        12 if is("content-type") => Known::ContentType,
        14 if is("content-length") => Known::ContentLength,
        14 if is("http2-settings") => Known::Hop,
        15 if is("x-forwarded-for") => Known::ForwardedFor,
        16 if is("x-forwarded-host") => Known::ForwardedHost,
        16 if is("x-forwarded-port") => Known::ForwardedOther,
        16 if is("proxy-connection") => Known::Hop,
        17 if is("transfer-encoding") => Known::TransferEncoding,
        17 if is("x-forwarded-proto") => Known::ForwardedProto,
        18 if is("proxy-authenticate") => Known::Hop,
        18 if is("x-forwarded-prefix") => Known::ForwardedOther,
        18 if is("x-forwarded-server") => Known::ForwardedOther,
        19 if is("proxy-authorization") => Known::Hop,
        _ if memchr::memchr(b'_', name).is_some() => lookalike(name),
        _ => Known::Other,
    }
}

fn lookalike(name: &[u8]) -> Known {
    let dashed: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    if matches!(classify(&dashed), Known::Other | Known::ContentType) {
        Known::Other
    } else {
        Known::Lookalike
    }
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// What the fields of a head say, gathered in one pass.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    /// The values of `Connection`.
    connection: [&'a [u8]; 4],
    connections: usize,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    connection_upgrade: bool,
    upgrade: Option<&'a [u8]>,
    pub(crate) expect: bool,
    pub(crate) traceparent: Option<&'a [u8]>,
    pub(crate) request_id: Option<&'a [u8]>,
    pub(crate) forwarded_proto: bool,
    pub(crate) forwarded_host: bool,
    pub(crate) event_stream: bool,
}

impl<'a> Facts<'a> {
    /// Takes one field in.
    ///
    /// # Errors
    /// What makes the message ambiguous: more than one length, a length and chunks, a coding
    /// other than `chunked`, two hosts.
    pub(crate) fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), &'static str> {
        match classify(name) {
            Known::Host if self.host.replace(value).is_some() => return Err("it has more than one Host"),
            Known::ContentLength if self.content_length.replace(parse_length(value)?).is_some() => {
                return Err("it has more than one Content-Length");
            }
            Known::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("its Transfer-Encoding is not just chunked");
                }
                self.chunked = true;
            }
            Known::Connection => self.take_connection(value)?,
            Known::Upgrade => self.upgrade = Some(value),
            Known::Expect => self.expect = value.eq_ignore_ascii_case(b"100-continue"),
            Known::TraceParent => {
                // Two of them are none (W3C Trace Context, 3.2).
                self.traceparent = if self.traceparent.is_some() { Some(b"") } else { Some(value) };
            }
            Known::RequestId => self.request_id = Some(value),
            Known::ForwardedProto => self.forwarded_proto = true,
            Known::ForwardedHost => self.forwarded_host = true,
            Known::ContentType => {
                let start = value.get(..17).unwrap_or(value);
                self.event_stream = start.eq_ignore_ascii_case(b"text/event-stream");
            }
            _ => {}
        }
        if self.chunked && self.content_length.is_some() {
            return Err("it has both Content-Length and Transfer-Encoding");
        }
        Ok(())
    }

    fn take_connection(&mut self, value: &'a [u8]) -> Result<(), &'static str> {
        let Some(room) = self.connection.get_mut(self.connections) else {
            return Err("it has too many Connection fields");
        };
        *room = value;
        self.connections += 1;
        for token in tokens(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            self.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
        }
        Ok(())
    }

    /// The protocol to change to, when the sender really asks for it. `h2c` is never passed on:
    /// behind it a client could talk to the service past the gateway.
    pub(crate) fn upgrade(&self) -> Option<&'a [u8]> {
        let wanted = self.upgrade.filter(|_| self.connection_upgrade)?;
        let h2c =
            tokens(wanted).any(|token| token.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"h2")));
        (!h2c).then_some(wanted)
    }

    /// Whether `Connection` names this field, so that it ends here.
    pub(crate) fn names(&self, name: &[u8]) -> bool {
        self.connection[..self.connections]
            .iter()
            .any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case(name)))
    }
}

pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Cookies know hosts, not ports: a browser that is signed in to Stead on this host sends Stead's
/// session to every service behind the gateway as well. It is nobody's here.
const OWN_COOKIES: [&[u8]; 2] = [b"stead_session", b"__Host-stead_session"];

/// What of a `Cookie` field goes on, where that is not all of it.
pub(crate) fn without_own_cookies(value: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(value, OWN_COOKIES[0])?;
    let name =
        |pair: &[u8]| pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii().to_vec();
    let kept: Vec<&[u8]> = value
        .split(|byte| *byte == b';')
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !OWN_COOKIES.contains(&name(pair).as_slice()))
        .collect();
    Some(kept.join(&b"; "[..]))
}

fn parse_length(value: &[u8]) -> Result<u64, &'static str> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err("its Content-Length is not a number");
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// Whether a name or address may stand in `Host`: no blanks, no user, no path.
pub(crate) fn check_host(host: &[u8]) -> Result<(), Answer> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+;=".contains(byte);
    if host.len() <= 260 && host.iter().all(good) {
        Ok(())
    } else {
        Err(Answer::bad_request("its Host is not a host"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(fields: &[(&'static str, &'static str)]) -> Result<Facts<'static>, &'static str> {
        let mut facts = Facts::default();
        for (name, value) in fields {
            facts.take(name.as_bytes(), value.as_bytes())?;
        }
        Ok(facts)
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        for bad in [
            &[("Content-Length", "1"), ("content-length", "1")][..],
            &[("Content-Length", "1, 1")],
            &[("Content-Length", "+1")],
            &[("Content-Length", "0x1")],
            &[("Content-Length", "")],
            &[("Content-Length", "9999999999999999999")],
            &[("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "chunked"), ("Content-Length", "1")],
            &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
            &[("Transfer-Encoding", "gzip, chunked")],
            &[("Transfer-Encoding", "chunked, identity")],
            &[("Transfer-Encoding", "xchunked")],
            &[("Transfer-Encoding", "")],
            &[("Host", "a"), ("Host", "a")],
        ] {
            assert!(facts(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn upgrade_needs_connection_and_is_never_h2c() {
        let upgrade = |fields| facts(fields).unwrap().upgrade();
        assert_eq!(
            upgrade(&[("Upgrade", "websocket"), ("Connection", "keep-alive, Upgrade")]),
            Some(&b"websocket"[..])
        );
        assert_eq!(upgrade(&[("Upgrade", "websocket")]), None);
        assert_eq!(upgrade(&[("Upgrade", "h2c"), ("Connection", "upgrade")]), None);
        assert_eq!(upgrade(&[("Upgrade", "foo, H2C"), ("Connection", "upgrade")]), None);
    }

    #[test]
    fn underscores_do_not_smuggle_forwarding_fields() {
        for name in ["x_forwarded_for", "X-Forwarded_Proto", "content_length", "Transfer_Encoding", "HOST"] {
            assert_ne!(classify(name.as_bytes()), Known::Other, "{name}");
        }
        assert_eq!(classify(b"x_my_field"), Known::Other);
    }

    #[test]
    fn own_cookies_are_taken_out_and_no_others() {
        let kept =
            |value: &str| without_own_cookies(value.as_bytes()).map(|kept| String::from_utf8(kept).unwrap());
        assert_eq!(kept("a=1; b=2"), None);
        for (value, left) in [
            ("stead_session=x", ""),
            ("a=1; stead_session=x; b=2", "a=1; b=2"),
            ("a=1;stead_session=x;b=2", "a=1; b=2"),
            ("__Host-stead_session=x; a=1", "a=1"),
            ("a=1;  stead_session = x", "a=1"),
            ("stead_session; a=1", "a=1"),
            ("stead_session=x; stead_session=y", ""),
            (
                "my_stead_session=x; stead_session_2=y; a=stead_session",
                "my_stead_session=x; stead_session_2=y; a=stead_session",
            ),
        ] {
            assert_eq!(kept(value).as_deref(), Some(left), "{value}");
        }
    }

    #[test]
    fn named_fields_are_found() {
        let facts = facts(&[("Connection", "close, X-One"), ("Connection", "x-two")]).unwrap();
        assert!(facts.close && facts.names(b"x-one") && facts.names(b"X-Two") && !facts.names(b"x"));
    }
}
