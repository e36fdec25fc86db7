//! The head of an HTTP/1 request, read strictly: what two parsers could read in two ways is
//! refused, so that the service behind never sees a second request in the first one's body.

use std::time::Instant;

use crate::{
    answer::Answer,
    forward::Incoming,
    headers::{Facts, Framing},
    limits::{HEADERS_MAX, REQUEST_HEAD_BYTES_MAX},
};

/// The start of an HTTP/2 connection without TLS ("prior knowledge"), up to its first blank line.
pub(crate) const H2_PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Looks for the end of a head in bytes that come piece by piece, each byte once.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Bytes looked at.
    seen: usize,
    /// Where the current line begins.
    line: usize,
}

impl Scan {
    /// The length of the head with its blank line; none when more bytes are needed.
    ///
    /// # Errors
    /// 400 for a line that does not end in CRLF or is folded, 431 for a head that is too long.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Answer> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + at;
            if end == self.line || bytes[end - 1] != b'\r' {
                return Err(Answer::bad_request("a line of its head ends without a carriage return"));
            }
            self.seen = end + 1;
            if end == self.line + 1 {
                return Ok(Some(end + 1));
            }
            self.line = end + 1;
            if matches!(bytes.get(self.line), Some(b' ' | b'\t')) {
                return Err(Answer::bad_request("a line of its head is folded"));
            }
        }
        self.seen = bytes.len();
        if bytes.len() > REQUEST_HEAD_BYTES_MAX {
            return Err(too_long());
        }
        Ok(None)
    }
}

fn too_long() -> Answer {
    let message = format!("the request's head is longer than {REQUEST_HEAD_BYTES_MAX} bytes");
    Answer::new(
        431,
        "gateway.head_too_large",
        message,
        "send fewer or smaller header fields; often it is cookies",
    )
}

/// A request's head, read.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) framing: Framing,
    pub(crate) facts: Facts<'a>,
    pub(crate) http10: bool,
}

impl Parsed<'_> {
    pub(crate) fn incoming(&self, started: Instant) -> Incoming<'_> {
        Incoming {
            method: self.method,
            target: self.target,
            host: self.host,
            framing: self.framing,
            facts: &self.facts,
            started,
        }
    }
}

/// Reads a head found by [`Scan`]; `room` keeps the fields.
///
/// # Errors
/// The answer to give before the connection is closed.
pub(crate) fn parse<'a>(
    head: &'a [u8],
    room: &'a mut [std::mem::MaybeUninit<httparse::Header<'a>>; HEADERS_MAX],
) -> Result<(Parsed<'a>, &'a [httparse::Header<'a>]), Answer> {
    if head.len() > REQUEST_HEAD_BYTES_MAX {
        return Err(too_long());
    }
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, room) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Answer::bad_request("its head is malformed")),
        Err(httparse::Error::TooManyHeaders) => {
            let message = format!("the request has more than {HEADERS_MAX} header fields");
            return Err(Answer::new(431, "gateway.too_many_fields", message, "send fewer header fields"));
        }
        Err(httparse::Error::Version) => {
            let hint = "speak HTTP/1.1, or HTTP/2 from the first byte on";
            return Err(Answer::new(505, "gateway.version", "this version of HTTP is not served", hint));
        }
        Err(error) => return Err(Answer::bad_request(format!("its head is malformed: {error}"))),
    }
    let fields: &'a [httparse::Header<'a>] = parsed.headers;
    let http10 = parsed.version == Some(0);
    let mut facts = Facts::default();
    for field in fields {
        facts.take(field.name.as_bytes(), field.value).map_err(Answer::bad_request)?;
    }
    if facts.chunked && http10 {
        return Err(Answer::bad_request("HTTP/1.0 has no Transfer-Encoding"));
    }
    let method = parsed.method.unwrap_or_default().as_bytes();
    let (authority, target) = split_target(method, parsed.path.unwrap_or_default().as_bytes())?;
    if facts.host.is_none() && !http10 {
        return Err(Answer::bad_request("it has no Host"));
    }
    let host = authority.or(facts.host).unwrap_or_default();
    let framing = match (facts.chunked, facts.content_length) {
        (true, _) => Framing::Chunked,
        (false, Some(length)) if length > 0 => Framing::Length(length),
        (false, _) => Framing::None,
    };
    Ok((Parsed { method, target, host, framing, facts, http10 }, fields))
}

/// Authority, if the target is absolute, and path with query.
fn split_target<'a>(method: &[u8], target: &'a [u8]) -> Result<(Option<&'a [u8]>, &'a [u8]), Answer> {
    let wrong = || Answer::bad_request("its target is neither a path nor an http address");
    if target.contains(&b'#') {
        return Err(wrong());
    }
    if target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS") {
        return Ok((None, target));
    }
    if method == b"CONNECT" {
        return Ok((Some(target), b"/"));
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let rest = &target[scheme.ok_or_else(wrong)?.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains(&b'@') || path.starts_with(b"?") {
        return Err(wrong());
    }
    Ok((Some(authority), if path.is_empty() { b"/" } else { path }))
}
