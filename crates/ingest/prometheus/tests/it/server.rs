//! A server to be scraped and a store that remembers, for tests.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use base::Tenant;
use futures_util::future::BoxFuture;
use metrics_api::{Appended, Labels, WriteBatch, Writer};
use tokio::sync::Notify;

/// Head lines after the status, and the body.
#[derive(Clone)]
pub struct Page {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Page {
    pub fn text(body: &str) -> Self {
        Self { status: 200, headers: "Content-Type: text/plain; version=0.0.4\r\n".into(), body: body.into() }
    }
    pub fn of(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: format!("Content-Type: {kind}\r\n"), body: body.into() }
    }
    pub fn status(status: u16, headers: &str) -> Self {
        Self { status, headers: headers.into(), body: Vec::new() }
    }
}

/// Serves pages by path, which may be changed while it serves.
#[derive(Clone)]
pub struct Server {
    pub address: String,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    /// The head of the last request for each path.
    asked: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, pages: Arc::default(), asked: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        server
    }

    pub fn show(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub fn asked(&self, path: &str) -> String {
        self.asked.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    fn serve(&self, stream: std::net::TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.by_ref().take(1 << 16).read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
            self.asked.lock().unwrap().insert(path.clone(), head);
            let page = self.pages.lock().unwrap().get(&path).cloned();
            let page = page.unwrap_or_else(|| Page::status(404, ""));
            let head = format!(
                "HTTP/1.1 {} X\r\n{}Content-Length: {}\r\n\r\n",
                page.status,
                page.headers,
                page.body.len()
            );
            if stream.write_all(&[head.as_bytes(), &page.body].concat()).is_err() {
                return;
            }
        }
    }
}

/// Remembers all that is written: of each series its samples in order, `stale` for a marker.
#[derive(Debug, Default)]
pub struct Recorder {
    rows: Mutex<BTreeMap<String, Vec<(i64, String)>>>,
    pub batches: Mutex<Vec<WriteBatch>>,
    written: Notify,
}

impl Writer for Recorder {
    fn write<'a>(&'a self, _: &'a Tenant, batch: WriteBatch) -> BoxFuture<'a, metrics_api::Result<Appended>> {
        let mut rows = self.rows.lock().unwrap();
        for row in batch.rows() {
            let kept = rows.entry(Labels::from_bytes(row.labels).unwrap().to_string()).or_default();
            kept.extend(row.floats.iter().map(|(time_ms, value)| {
                (*time_ms, if metrics_api::is_stale(*value) { "stale".to_owned() } else { value.to_string() })
            }));
            kept.extend(row.histograms.iter().map(|(time_ms, value)| {
                (*time_ms, if value.is_stale() { "hstale".to_owned() } else { format!("h{}", value.count) })
            }));
        }
        drop(rows);
        let samples = batch.samples_len() as u64;
        self.batches.lock().unwrap().push(batch);
        self.written.notify_waiters();
        Box::pin(async move { Ok(Appended { samples, ..Appended::default() }) })
    }
}

impl Recorder {
    pub fn values(&self, series: &str) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        rows.get(series).into_iter().flatten().map(|(_, value)| value.clone()).collect()
    }

    pub fn times(&self, series: &str) -> Vec<i64> {
        let rows = self.rows.lock().unwrap();
        rows.get(series).into_iter().flatten().map(|(time_ms, _)| *time_ms).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.rows.lock().unwrap().keys().cloned().collect()
    }

    /// Waits until the store holds what is wanted.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let written = self.written.notified();
                tokio::pin!(written);
                written.as_mut().enable();
                if holds(self) {
                    return;
                }
                written.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
            panic!("{what} did not come: {:#?}", self.rows.lock().unwrap());
        }
    }

    /// Waits for what comes without anything being written.
    pub async fn until_quietly(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(tokio::time::Instant::now() < deadline, "{what} did not come");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn until_value(&self, series: &str, value: &str) {
        self.until(&format!("{series} {value}"), |all| all.values(series).iter().any(|one| one == value))
            .await;
    }
}
