//! Requests one after another while something happens, and what a client would see of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::installation::{pause, wait};

/// A request that takes longer has failed.
const REQUEST_MAX: Duration = Duration::from_secs(15);
/// Between two requests of one client.
const PAUSE_MS: u64 = 3;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// One request on a connection of its own.
pub(crate) fn get(address: &str, path: &str) -> Result<Answer, String> {
    let mut connection = Connection::open(address)?;
    connection.get(address, path).map_err(|fault| fault.why)
}

/// Clients that ask without end: half of them keep their connection, half open one per request.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Seen>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    asked: AtomicU64,
    failures: Mutex<Vec<(Instant, String)>>,
    last: Mutex<String>,
}

impl Load {
    pub(crate) fn start(gateway: &str, path: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Seen::default());
        let address = address(gateway);
        let clients = (0..clients)
            .map(|index| {
                let (stop, seen, address, path) =
                    (Arc::clone(&stop), Arc::clone(&seen), address.clone(), path.to_owned());
                thread::spawn(move || client(&address, &path, index % 2 == 0, &stop, &seen))
            })
            .collect();
        let load = Self { stop, seen, clients };
        load.more(10);
        load
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn more(&self, count: u64) {
        let from = self.seen.asked.load(Ordering::Relaxed);
        wait("requests", || (self.seen.asked.load(Ordering::Relaxed) >= from + count).then_some(()));
    }

    /// Body of the latest good answer.
    pub(crate) fn last(&self) -> String {
        self.seen.last.lock().unwrap().clone()
    }

    pub(crate) fn failures(&self) -> Vec<(Instant, String)> {
        self.seen.failures.lock().unwrap().clone()
    }

    /// Ends it: requests asked, and each that failed with when and why.
    pub(crate) fn end(self) -> (u64, Vec<(Instant, String)>) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let failures = self.seen.failures.lock().unwrap().clone();
        (self.seen.asked.load(Ordering::Relaxed), failures)
    }

    /// Ends it; nothing may have failed.
    pub(crate) fn end_without_failure(self) -> u64 {
        let (asked, failures) = self.end();
        assert!(
            failures.is_empty(),
            "{} of {asked} requests failed, the first: {:?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        asked
    }
}

/// Host and port of a URL.
pub(crate) fn address(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn client(address: &str, path: &str, keep: bool, stop: &AtomicBool, seen: &Seen) {
    let mut kept: Option<Connection> = None;
    while !stop.load(Ordering::Relaxed) {
        let outcome = ask(&mut kept, address, path);
        if !keep {
            kept = None;
        }
        match outcome {
            Ok(answer) if answer.status == 200 => *seen.last.lock().unwrap() = answer.body,
            Ok(answer) => {
                let what = format!("status {}: {}", answer.status, answer.body);
                seen.failures.lock().unwrap().push((Instant::now(), what));
            }
            Err(why) => {
                kept = None;
                seen.failures.lock().unwrap().push((Instant::now(), why));
            }
        }
        seen.asked.fetch_add(1, Ordering::Relaxed);
        pause(PAUSE_MS);
    }
}

/// As every client does: a kept connection that was closed while idle is replaced, once.
fn ask(kept: &mut Option<Connection>, address: &str, path: &str) -> Result<Answer, String> {
    if let Some(connection) = kept {
        match connection.get(address, path) {
            Err(fault) if fault.before_answer => *kept = None,
            other => return other.map_err(|fault| fault.why),
        }
    }
    let mut connection = Connection::open(address)?;
    let answer = connection.get(address, path).map_err(|fault| fault.why)?;
    if !connection.closing {
        *kept = Some(connection);
    }
    Ok(answer)
}

struct Connection {
    stream: BufReader<TcpStream>,
    closing: bool,
}

struct Fault {
    /// The connection ended without a byte of the answer.
    before_answer: bool,
    why: String,
}

impl Connection {
    fn open(address: &str) -> Result<Self, String> {
        let address: std::net::SocketAddr = address.parse().map_err(|_| format!("{address}?"))?;
        let stream =
            TcpStream::connect_timeout(&address, REQUEST_MAX).map_err(|error| format!("connect: {error}"))?;
        stream.set_read_timeout(Some(REQUEST_MAX)).unwrap();
        stream.set_write_timeout(Some(REQUEST_MAX)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Self { stream: BufReader::new(stream), closing: false })
    }

    fn get(&mut self, host: &str, path: &str) -> Result<Answer, Fault> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let gone = |error: std::io::Error| Fault {
            before_answer: error.kind() != std::io::ErrorKind::WouldBlock,
            why: format!("ask: {error}"),
        };
        self.stream.get_mut().write_all(request.as_bytes()).map_err(gone)?;
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).map_err(gone)?;
        if read == 0 {
            return Err(Fault { before_answer: true, why: "closed without an answer".into() });
        }
        self.rest(&line).map_err(|why| Fault { before_answer: false, why })
    }

    fn rest(&mut self, first: &str) -> Result<Answer, String> {
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| format!("not an answer: {first:?}"))?;
        let (mut length, mut chunked) = (0usize, false);
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).map_err(|error| format!("head: {error}"))?;
            if read == 0 {
                return Err("closed within the head".into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("transfer-encoding", "chunked")) => chunked = true,
                Some(("connection", "close")) => self.closing = true,
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            while self.chunk(&mut body)? {}
        } else {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).map_err(|error| format!("body: {error}"))?;
        }
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(|error| format!("chunk: {error}"))?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(|_| format!("chunk {line:?}"))?;
        let mut part = vec![0; size + 2];
        self.stream.read_exact(&mut part).map_err(|error| format!("chunk: {error}"))?;
        body.extend_from_slice(&part[..size]);
        Ok(size > 0)
    }
}
