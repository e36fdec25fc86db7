//! What is remembered of one request until it is over: then it is counted and logged.

use std::{net::IpAddr, rc::Rc, time::Instant};

use crate::{
    limits::LOG_PATH_BYTES_MAX,
    log::{push_json, push_number},
    plan::Verdict,
    stats::{Finished, Series},
    table::Endpoint,
    thread::Thread,
    trace::Trace,
};

/// One request. Dropping it ends the request, however it ended.
#[derive(Debug)]
pub(crate) struct Record {
    thread: Rc<Thread>,
    series: Rc<Series>,
    endpoint: Option<Rc<Endpoint>>,
    client: IpAddr,
    /// Method, host and path one after the other, and where host and path start.
    text: Vec<u8>,
    host_at: usize,
    path_at: usize,
    pub(crate) trace: Trace,
    pub(crate) started: Instant,
    /// Status the client saw; 0 before an answer began.
    pub(crate) status: u16,
    /// The whole answer was handed to the client.
    pub(crate) complete: bool,
    /// An answer without natural end (upgrade, event stream): its latency is that of its head.
    pub(crate) open_ended: bool,
    head_us: u64,
    pub(crate) upstream_us: u64,
    pub(crate) retries: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Record {
    pub(crate) fn new(
        thread: &Rc<Thread>,
        series: &Rc<Series>,
        client: IpAddr,
        target: (&[u8], &[u8], &[u8]),
        trace: Trace,
        started: Instant,
    ) -> Self {
        let (method, host, path) = target;
        let mut text = Vec::new();
        if thread.log.enabled() {
            let path = &path[..path.len().min(LOG_PATH_BYTES_MAX)];
            text.reserve_exact(method.len() + host.len() + path.len());
            text.extend_from_slice(method);
            text.extend_from_slice(host);
            text.extend_from_slice(path);
        }
        series.begin();
        thread.in_flight.set(thread.in_flight.get() + 1);
        Self {
            host_at: method.len(),
            path_at: method.len() + host.len(),
            thread: thread.clone(),
            series: series.clone(),
            endpoint: None,
            client,
            text,
            trace,
            started,
            status: 0,
            complete: false,
            open_ended: false,
            head_us: 0,
            upstream_us: 0,
            retries: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// The next attempt goes to `endpoint`; from now on the request is counted there.
    pub(crate) fn attempt(&mut self, endpoint: &Rc<Endpoint>) {
        self.leave();
        self.series.end();
        self.series = endpoint.series.clone();
        self.series.begin();
        endpoint.upstream.begin();
        self.endpoint = Some(endpoint.clone());
    }

    /// What the current endpoint is to be judged by.
    pub(crate) fn judge(&self, verdict: Verdict) {
        if let Some(endpoint) = &self.endpoint {
            endpoint.upstream.health.note(verdict, self.thread.now_ms());
        }
    }

    /// The response's head is there, `upstream` after the attempt began.
    pub(crate) fn head(&mut self, status: u16, attempt: Instant) {
        let now = Instant::now();
        self.upstream_us = micros(now, attempt);
        self.head_us = micros(now, self.started);
        self.status = status;
        let verdict = if status >= 500 { Verdict::Failed } else { Verdict::Good };
        self.judge(verdict);
        if let Some(endpoint) = &self.endpoint
            && verdict == Verdict::Good
        {
            endpoint.upstream.observe(self.upstream_us, self.thread.since_us(now));
        }
    }

    fn leave(&mut self) {
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.upstream.end();
        }
    }

    fn log(&self, finished: &Finished, duration_us: u64) {
        let thread = &self.thread;
        thread.log.line(thread.clock.now(), |line| {
            line.extend_from_slice(&self.series.log_fields);
            let text = &self.text;
            let parts = [
                (&b",\"method\":"[..], &text[..self.host_at]),
                (b",\"host\":", &text[self.host_at..self.path_at]),
                (b",\"path\":", &text[self.path_at..]),
            ];
            for (name, value) in parts {
                line.extend_from_slice(name);
                push_json(line, value);
            }
            for (name, value) in [
                (&b",\"status\":"[..], u64::from(finished.status)),
                (b",\"bytes_in\":", finished.bytes_in),
                (b",\"bytes\":", finished.bytes_out),
                (b",\"duration_us\":", duration_us),
                (b",\"upstream_us\":", self.upstream_us),
                (b",\"retries\":", finished.retries),
            ] {
                line.extend_from_slice(name);
                push_number(line, value);
            }
            if finished.aborted {
                line.extend_from_slice(b",\"aborted\":true");
            }
            line.extend_from_slice(b",\"trace_id\":\"");
            line.extend_from_slice(&self.trace.id);
            line.extend_from_slice(b"\",\"client\":\"");
            push_ip(line, self.client);
            line.push(b'"');
        });
    }
}

fn micros(now: Instant, since: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn push_ip(to: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, part) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    to.push(b'.');
                }
                push_number(to, u64::from(part));
            }
        }
        IpAddr::V6(ip) => to.extend_from_slice(ip.to_string().as_bytes()),
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.leave();
        self.series.end();
        self.thread.in_flight.set(self.thread.in_flight.get().saturating_sub(1));
        let duration_us = micros(Instant::now(), self.started);
        let finished = Finished {
            status: self.status,
            aborted: !self.complete,
            retries: self.retries,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            latency_us: if self.open_ended { self.head_us } else { duration_us },
        };
        self.series.count(&finished);
        if self.thread.log.enabled() {
            self.log(&finished, duration_us);
        }
    }
}
