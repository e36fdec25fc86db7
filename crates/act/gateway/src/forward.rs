//! From the client's request to the request for the service: route, limits, header fields.

use std::{rc::Rc, time::Instant};

use crate::{
    answer::Answer,
    headers::{Facts, Framing, Known, check_host, classify, without_own_cookies},
    limits::TARGET_BYTES_MAX,
    log::push_number,
    proxy::{Request, Sender},
    record::{Record, push_ip},
    thread::{Peer, Thread},
    trace::Trace,
};

/// A request as read from the client, of either protocol.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) method: &'a [u8],
    /// Path and query, or `*`.
    pub(crate) target: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) framing: Framing,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) started: Instant,
}

/// Finds the route and makes the request that goes on. The head is written once, whatever
/// endpoint takes it.
///
/// # Errors
/// The answer for the client, with the record it belongs to.
pub(crate) fn admit<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    thread: &Rc<Thread>,
    peer: &Peer,
    incoming: &Incoming<'_>,
    fields: impl Fn() -> I,
) -> Result<Request, Box<(Record, Answer)>> {
    let trace = Trace::new(incoming.facts.traceparent, &thread.random);
    let (path, _query) = split_query(incoming.target);
    let target = (incoming.method, incoming.host, path);
    let table = thread.table.borrow().clone();
    let route = table.find(&peer.door.name, incoming.host, path).cloned();
    let series = route.as_ref().map_or(&thread.stats.unmatched, |route| &route.refused);
    let record = Record::new(thread, series, peer.ip(), target, trace, incoming.started);
    let route = match check(thread, incoming).and_then(|()| route.ok_or_else(no_route)) {
        Ok(route) => route,
        Err(answer) => return Err(Box::new((record, answer))),
    };
    let max = route.planned.route.policy.request_body_bytes_max;
    if matches!(incoming.framing, Framing::Length(length) if length > max) {
        return Err(Box::new((record, Answer::body_too_large(max))));
    }
    let upgrade = incoming.facts.upgrade();
    let head = Head { peer, incoming, trace: &trace, upgrade };
    let prefix = &route.planned.route.path;
    let strip = route.planned.route.strip_prefix.then(|| prefix.trim_end_matches('/').as_bytes());
    let out = head.write(strip.filter(|prefix| !prefix.is_empty()), fields);
    Ok(Request {
        sender: Sender::new(out, incoming.framing == Framing::None),
        idempotent: matches!(incoming.method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE" | b"TRACE"),
        head_only: incoming.method == b"HEAD",
        upgrade: upgrade.is_some(),
        body_max: max,
        route,
        record,
    })
}

fn check(thread: &Thread, incoming: &Incoming<'_>) -> Result<(), Answer> {
    check_host(incoming.host)?;
    if incoming.target.len() > TARGET_BYTES_MAX {
        let message = format!("the request target is longer than {TARGET_BYTES_MAX} bytes");
        return Err(Answer::new(414, "gateway.target_too_long", message, "send long data in the body"));
    }
    if incoming.method == b"CONNECT" {
        let hint = "send the request to the service's own address";
        return Err(Answer::new(
            501,
            "gateway.no_connect",
            "the gateway opens no tunnels with CONNECT",
            hint,
        ));
    }
    let most = thread.limits.requests_in_flight_max;
    // This one is counted already.
    if thread.in_flight.get() > most {
        let message = format!("more than {most} requests are in flight on this thread");
        return Err(Answer::new(
            503,
            "gateway.overloaded",
            message,
            "try again later; look for a slow service",
        ));
    }
    Ok(())
}

fn no_route() -> Answer {
    let hint = "check host and path, and whether a service exposes them";
    Answer::new(404, "gateway.no_route", "no route matches this host and path", hint)
}

fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    target.split_at(memchr::memchr(b'?', target).unwrap_or(target.len()))
}

struct Head<'a> {
    peer: &'a Peer,
    incoming: &'a Incoming<'a>,
    trace: &'a Trace,
    upgrade: Option<&'a [u8]>,
}

impl Head<'_> {
    fn write<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
        &self,
        strip: Option<&[u8]>,
        fields: impl Fn() -> I,
    ) -> Vec<u8> {
        let incoming = self.incoming;
        let mut out = Vec::with_capacity(1_024);
        out.extend_from_slice(incoming.method);
        out.push(b' ');
        let rest = strip.and_then(|prefix| incoming.target.strip_prefix(prefix));
        match rest {
            Some(rest) if !rest.starts_with(b"/") => {
                out.push(b'/');
                out.extend_from_slice(rest);
            }
            rest => out.extend_from_slice(rest.unwrap_or(incoming.target)),
        }
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(incoming.host);
        out.extend_from_slice(b"\r\n");
        for (name, value) in fields() {
            let known = classify(name);
            if self.passes(known, name, value) {
                match (known == Known::Cookie).then(|| without_own_cookies(value)).flatten() {
                    None => push_field(&mut out, name, value),
                    Some(kept) if kept.is_empty() => {}
                    Some(kept) => push_field(&mut out, name, &kept),
                }
            }
        }
        self.forwarded(&mut out, fields());
        if let Some(prefix) = rest.and(strip) {
            push_field(&mut out, b"X-Forwarded-Prefix", prefix);
        }
        out.extend_from_slice(b"traceparent: ");
        self.trace.push(&mut out);
        out.extend_from_slice(b"\r\n");
        if !incoming.facts.request_id.is_some_and(good_request_id) {
            push_field(&mut out, b"X-Request-Id", &self.trace.id);
        }
        match incoming.framing {
            Framing::Length(length) => {
                out.extend_from_slice(b"Content-Length: ");
                push_number(&mut out, length);
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked | Framing::UntilClose => push_field(&mut out, b"Transfer-Encoding", b"chunked"),
            Framing::None if incoming.facts.content_length.is_some() => {
                push_field(&mut out, b"Content-Length", b"0");
            }
            Framing::None => {}
        }
        if let Some(protocol) = self.upgrade {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            push_field(&mut out, b"Upgrade", protocol);
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    fn passes(&self, known: Known, name: &[u8], value: &[u8]) -> bool {
        let pass = match known {
            Known::Other | Known::ContentType | Known::Cookie => true,
            Known::RequestId => good_request_id(value) && self.incoming.facts.request_id == Some(value),
            Known::TraceState => self.trace.continued,
            Known::ForwardedProto | Known::ForwardedHost | Known::ForwardedOther => {
                self.peer.door.trust_forwarded
            }
            _ => false,
        };
        pass && !self.incoming.facts.names(name)
    }

    /// `X-Forwarded-*` and `Forwarded`: the client's are believed only on a trusted listener.
    fn forwarded<'a>(&self, out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        let trust = self.peer.door.trust_forwarded;
        let proto: &[u8] = if self.peer.tls { b"https" } else { b"http" };
        out.extend_from_slice(b"X-Forwarded-For: ");
        let mut standard = Vec::new();
        if trust {
            for (name, value) in fields {
                match classify(name) {
                    Known::ForwardedFor => {
                        out.extend_from_slice(value);
                        out.extend_from_slice(b", ");
                    }
                    Known::Forwarded => {
                        standard.extend_from_slice(value);
                        standard.extend_from_slice(b", ");
                    }
                    _ => {}
                }
            }
        }
        push_ip(out, self.peer.ip());
        out.extend_from_slice(b"\r\n");
        if !standard.is_empty() {
            let ip = self.peer.ip();
            let node = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
            standard.extend_from_slice(format!("for={node}").as_bytes());
            push_field(out, b"Forwarded", &standard);
        }
        if !(trust && self.incoming.facts.forwarded_proto) {
            push_field(out, b"X-Forwarded-Proto", proto);
        }
        if !(trust && self.incoming.facts.forwarded_host) {
            push_field(out, b"X-Forwarded-Host", self.incoming.host);
        }
    }
}

fn good_request_id(value: &[u8]) -> bool {
    (1..=128).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic)
}

pub(crate) fn push_field(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to.extend_from_slice(name);
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}
