//! Reading output: the latest lines, and new ones while the replica lives.

use std::{collections::VecDeque, io, os::fd::AsFd, path::PathBuf, sync::Arc, time::Duration};

use base::id::ReplicaId;
use futures_util::{StreamExt, stream, stream::BoxStream};
use runtime_api::{Error, LogLine, LogQuery, Result};

use super::{Inner, ProcessDriver, io_error, observe::ended};
use crate::{
    files,
    segments::{self, Position},
    wire::LOG,
};

/// Lines that one query gives before following, whatever it asks for.
const TAIL_MAX: usize = 100_000;
/// Text that one query holds in memory before following.
const TAIL_BYTES_MAX: usize = 16 << 20;
/// Read from a segment at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Pause between two looks for new lines.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn logs(driver: &ProcessDriver, query: LogQuery) -> Result<BoxStream<'static, LogLine>> {
    let follow = query.follow;
    let filter = Filter { contains: query.contains.as_ref().map(|text| text.to_lowercase()), query };
    let (reader, tail) = driver
        .blocking(move |inner| {
            let mut reader = inner.open_log(filter)?;
            let tail = reader.tail().map_err(|e| io_error(&reader.path, &e))?;
            Ok((reader, tail))
        })
        .await?;
    let tail = stream::iter(tail);
    if !follow {
        return Ok(tail.boxed());
    }
    let state = Following { driver: driver.clone(), reader: Some(reader), last: false };
    Ok(tail.chain(stream::unfold(state, Following::next).flat_map(stream::iter)).boxed())
}

struct Filter {
    query: LogQuery,
    /// In lower case.
    contains: Option<String>,
}

impl Filter {
    fn takes(&self, line: &LogLine) -> bool {
        self.query.since.is_none_or(|since| line.at >= since)
            && self.contains.as_ref().is_none_or(|text| line.text.to_lowercase().contains(text))
    }
}

struct LogReader {
    path: PathBuf,
    replica: ReplicaId,
    filter: Arc<Filter>,
    at: Position,
}

impl Inner {
    fn open_log(&self, filter: Filter) -> Result<LogReader> {
        let replica = filter.query.replica.clone();
        let dir = self.path(&replica);
        // A symlink in its place is not ours to read.
        match files::open_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NotFound(replica)),
            Err(error) => return Err(io_error(&dir, &error)),
            Ok(_) => {}
        }
        let path = dir.join(LOG);
        Ok(LogReader { path, replica, filter: Arc::new(filter), at: Position::default() })
    }

    fn has_ended(&self, id: &ReplicaId) -> bool {
        self.see(id).ok().flatten().is_none_or(|seen| ended(&seen.phase))
    }
}

impl LogReader {
    /// The latest lines that the filter takes; leaves the reader where they end.
    fn tail(&mut self) -> io::Result<Vec<LogLine>> {
        let most = self.filter.query.tail.min(TAIL_MAX);
        let mut kept: VecDeque<LogLine> = VecDeque::new();
        let mut bytes = 0;
        loop {
            let before = self.at;
            self.chunk(|line| {
                bytes += line.text.len();
                kept.push_back(line);
                while kept.len() > most || (bytes > TAIL_BYTES_MAX && kept.len() > 1) {
                    bytes -= kept.pop_front().map_or(0, |gone| gone.text.len());
                }
            })?;
            if self.at == before {
                return Ok(kept.into());
            }
        }
    }

    fn chunk(&mut self, mut each: impl FnMut(LogLine)) -> io::Result<()> {
        let dir = match files::open_dir(&self.path) {
            // Not started yet, or removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let (filter, replica) = (&self.filter, &self.replica);
        self.at = segments::read(dir.as_fd(), self.at, CHUNK_BYTES, |line| {
            if let Some(line) = segments::parse(line, replica).filter(|line| filter.takes(line)) {
                each(line);
            }
        })?;
        Ok(())
    }
}

struct Following {
    driver: ProcessDriver,
    /// Away while a worker reads.
    reader: Option<LogReader>,
    /// The replica ended before the last look: when that found nothing, there is no more.
    last: bool,
}

impl Following {
    async fn next(mut self) -> Option<(Vec<LogLine>, Self)> {
        loop {
            let mut reader = self.reader.take()?;
            let last = self.last;
            let (reader, lines, moved, over) = self
                .driver
                .blocking(move |inner| {
                    let over = last || inner.has_ended(&reader.replica);
                    let before = reader.at;
                    let mut lines = Vec::new();
                    reader.chunk(|line| lines.push(line)).map_err(|e| io_error(&reader.path, &e))?;
                    let moved = reader.at != before;
                    Ok((reader, lines, moved, over))
                })
                .await
                .ok()?;
            self.reader = Some(reader);
            self.last = over;
            if !lines.is_empty() {
                return Some((lines, self));
            }
            if over && !moved {
                return None;
            }
            if !moved {
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        }
    }
}
