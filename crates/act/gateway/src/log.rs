//! The access log: one JSON object per line, written by a thread of its own.
//!
//! Requests append to a buffer of their thread; full buffers go to the writer through a bounded
//! queue. When the writer does not keep up (a slow or full disk), whole batches are dropped and
//! counted; a request never waits. Query strings are not logged, since they may hold secrets.

use std::{
    cell::{Cell, RefCell},
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use base::Timestamp;

use crate::limits::{LOG_BATCH_BYTES, LOG_FILE_BYTES_MAX, LOG_FILES_MAX, LOG_QUEUE_BATCHES};

/// The writing side. Ends when all its [`LogBuffer`]s are gone.
#[derive(Debug)]
pub(crate) struct LogWriter {
    sender: SyncSender<Vec<u8>>,
    pub(crate) dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl LogWriter {
    pub(crate) fn start(path: &Path, file_bytes_max: u64) -> io::Result<Self> {
        let mut file = Rotating::open(path.to_owned(), file_bytes_max)?;
        let (sender, batches): (_, Receiver<Vec<u8>>) = sync_channel(LOG_QUEUE_BATCHES);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        let thread =
            std::thread::Builder::new().name("access-log".into()).stack_size(128 << 10).spawn(move || {
                for batch in batches {
                    if file.write(&batch).is_err() {
                        lost.fetch_add(lines(&batch), Relaxed);
                    }
                }
            })?;
        Ok(Self { sender, dropped, thread })
    }

    pub(crate) fn buffer(&self) -> LogBuffer {
        LogBuffer {
            lines: RefCell::new(Vec::with_capacity(LOG_BATCH_BYTES + 4096)),
            sender: Some(self.sender.clone()),
            dropped: self.dropped.clone(),
            second: Cell::new((i64::MIN, [0; 20])),
        }
    }

    /// Waits until all that was handed over is written.
    pub(crate) fn finish(self) {
        drop(self.sender);
        let _ = self.thread.join();
    }
}

fn lines(batch: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', batch).count() as u64
}

/// The lines of one thread that are on their way.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    lines: RefCell<Vec<u8>>,
    sender: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
    /// The last whole second and its text, which most lines share.
    second: Cell<(i64, [u8; 20])>,
}

impl LogBuffer {
    /// A buffer that keeps nothing.
    pub(crate) fn none() -> Self {
        Self {
            lines: RefCell::default(),
            sender: None,
            dropped: Arc::default(),
            second: Cell::new((i64::MIN, [0; 20])),
        }
    }

    pub(crate) fn enabled(&self) -> bool {
        self.sender.is_some()
    }

    /// Appends one line: `{"time":…` and what `rest` adds, which starts with a comma.
    pub(crate) fn line(&self, now: Timestamp, rest: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = self.lines.borrow_mut();
        lines.extend_from_slice(b"{\"time\":\"");
        self.push_time(&mut lines, now);
        lines.push(b'"');
        rest(&mut lines);
        lines.extend_from_slice(b"}\n");
        if lines.len() >= LOG_BATCH_BYTES {
            drop(lines);
            self.flush();
        }
    }

    pub(crate) fn flush(&self) {
        let Some(sender) = &self.sender else { return };
        let mut buffer = self.lines.borrow_mut();
        if buffer.is_empty() {
            return;
        }
        let fresh = Vec::with_capacity(buffer.len().min(LOG_BATCH_BYTES) + 4096);
        let batch = std::mem::replace(&mut *buffer, fresh);
        if let Err(error) = sender.try_send(batch) {
            use std::sync::mpsc::TrySendError::{Disconnected, Full};
            let (Full(batch) | Disconnected(batch)) = error;
            self.dropped.fetch_add(lines(&batch), Relaxed);
        }
    }

    fn push_time(&self, to: &mut Vec<u8>, now: Timestamp) {
        let second = now.nanos().div_euclid(1_000_000_000);
        let (known, mut text) = self.second.get();
        if known != second {
            let stamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            let written = format!("{stamp:.0}");
            if let Some(prefix) = written.as_bytes().get(..19) {
                text[..19].copy_from_slice(prefix);
            }
            self.second.set((second, text));
        }
        to.extend_from_slice(&text[..19]);
        let micros = now.nanos().rem_euclid(1_000_000_000) / 1_000;
        let mut digits = *b".000000Z";
        let mut left = micros;
        for digit in digits[1..7].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        to.extend_from_slice(&digits);
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// `path`, `path.1` … `path.N`, each up to a size.
#[derive(Debug)]
struct Rotating {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    size_bytes_max: u64,
}

impl Rotating {
    fn open(path: PathBuf, size_bytes_max: u64) -> io::Result<Self> {
        let file = Self::append(&path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { path, file, size_bytes, size_bytes_max: size_bytes_max.min(LOG_FILE_BYTES_MAX) })
    }

    fn append(path: &Path) -> io::Result<File> {
        std::os::unix::fs::OpenOptionsExt::mode(OpenOptions::new().append(true).create(true), 0o640)
            .open(path)
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        if self.size_bytes > 0 && self.size_bytes + batch.len() as u64 > self.size_bytes_max {
            self.rotate()?;
        }
        self.file.write_all(batch)?;
        self.size_bytes += batch.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |at: usize| {
            let mut name = self.path.clone().into_os_string();
            if at > 0 {
                name.push(format!(".{at}"));
            }
            PathBuf::from(name)
        };
        for at in (0..LOG_FILES_MAX - 1).rev() {
            if numbered(at).exists() {
                std::fs::rename(numbered(at), numbered(at + 1))?;
            }
        }
        self.file = Self::append(&self.path)?;
        self.size_bytes = 0;
        Ok(())
    }
}

pub(crate) fn push_number(to: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[at..]);
}

/// Appends `text` as a JSON string. Bytes that are not printable ASCII are written as `\u00XX`,
/// so that no byte a client sends can break a line, a terminal or the JSON.
pub(crate) fn push_json(to: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'"' && *byte != b'\\';
    to.push(b'"');
    if text.iter().all(plain) {
        to.extend_from_slice(text);
    } else {
        for byte in text {
            match byte {
                b'"' | b'\\' => to.extend_from_slice(&[b'\\', *byte]),
                byte if plain(byte) => to.push(*byte),
                byte => {
                    to.extend_from_slice(b"\\u00");
                    to.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
            }
        }
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_the_client_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let writer = LogWriter::start(&path, LOG_FILE_BYTES_MAX).unwrap();
        let buffer = writer.buffer();
        let nasty: Vec<u8> = (0..=255).collect();
        buffer.line(Timestamp::from_nanos(1_700_000_000_123_456_789), |line| {
            line.extend_from_slice(b",\"path\":");
            push_json(line, &nasty);
            line.extend_from_slice(b",\"n\":");
            push_number(line, u64::MAX);
        });
        drop(buffer);
        writer.finish();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "2023-11-14T22:13:20.123456Z");
        assert_eq!(value["n"], u64::MAX);
        assert_eq!(value["path"].as_str().unwrap().chars().count(), 256);
    }

    #[test]
    fn files_rotate_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut file = Rotating::open(path.clone(), 100).unwrap();
        for _ in 0..100 {
            file.write(&[b'x'; 60]).unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["access.log", "access.log.1", "access.log.2", "access.log.3"]);
        assert!(std::fs::metadata(&path).unwrap().len() <= 100);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (sender, _batches) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let buffer = LogBuffer {
            lines: RefCell::default(),
            sender: Some(sender),
            dropped: dropped.clone(),
            second: Cell::new((i64::MIN, [0; 20])),
        };
        for _ in 0..3 {
            buffer.line(Timestamp::from_nanos(0), |_| {});
            buffer.line(Timestamp::from_nanos(0), |_| {});
            buffer.flush();
        }
        assert_eq!(dropped.load(Relaxed), 4);
    }

    #[test]
    fn a_full_disk_is_counted_and_survived() {
        let writer = LogWriter::start(Path::new("/dev/full"), LOG_FILE_BYTES_MAX).unwrap();
        let buffer = writer.buffer();
        buffer.line(Timestamp::from_nanos(0), |_| {});
        drop(buffer);
        let dropped = writer.dropped.clone();
        writer.finish();
        assert_eq!(dropped.load(Relaxed), 1);
    }
}
