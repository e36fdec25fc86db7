//! The log written ahead: what was acknowledged and is not in a part yet.
//!
//! Segments of one tenant stand in one folder, numbered. A segment begins with a header that names
//! the last sequence acknowledged before it, so that a reader can tell a torn end that nobody was
//! promised anything of from records that went missing. After a failed write or sync the segment
//! is left as it is and the next group begins another: what the disk made of the failed one is
//! not to be relied on.

pub mod frame;
pub mod record;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use disk::{Create, Disk, Sink, Sync};
use xxhash_rust::xxh3::xxh3_64;

use frame::{Frame, Frames};

const MAGIC: [u8; 8] = *b"STDWAL\0\x01";
const HEADER_BYTES: usize = 32;
/// A segment read at recovery. Segments are ended at the setting's size, after the group that passes
/// it; this is what is read of one whose size is wrong.
const SEGMENT_READ_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug)]
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    next_segment: u64,
    /// Sequence of the next frame.
    pub next_seq: u64,
    /// Last sequence that was made durable.
    acked_seq: u64,
    current: Option<Segment>,
    pub fsyncs: u64,
    pub bytes: u64,
}

struct Segment {
    path: PathBuf,
    sink: Box<dyn Sink>,
    bytes: u64,
    /// Something in it was acknowledged.
    used: bool,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("path", &self.path)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

fn segment_name(number: u64) -> String {
    format!("{number:012}.wal")
}

fn segment_number(name: &str) -> Option<u64> {
    name.strip_suffix(".wal")?.parse().ok()
}

impl Wal {
    /// Writes whole frames and syncs them; `last_seq` is the sequence of the last.
    ///
    /// # Errors
    /// Nothing of it counts then, and it may be asked again.
    pub fn append(&mut self, frames: &[u8], last_seq: u64) -> disk::Result<()> {
        let written = self.try_append(frames);
        match written {
            Ok(()) => {
                self.acked_seq = last_seq;
                self.next_seq = last_seq + 1;
                self.fsyncs += 1;
                self.bytes += frames.len() as u64;
                if self.current.as_ref().is_some_and(|segment| segment.bytes >= self.segment_bytes) {
                    self.current = None;
                }
                Ok(())
            }
            Err(error) => {
                // The sequences used may be on the disk; they are not used again.
                self.next_seq = last_seq + 1;
                if let Some(segment) = self.current.take()
                    && !segment.used
                {
                    let _ = self.disk.remove(&segment.path); // room for the next try
                }
                Err(error)
            }
        }
    }

    fn try_append(&mut self, frames: &[u8]) -> disk::Result<()> {
        let mut segment = match self.current.take() {
            Some(segment) => segment,
            None => self.begin_segment()?,
        };
        let written = segment
            .sink
            .write_all(frames)
            .map_err(|error| disk::Error::from_io(&segment.path, &error))
            .and_then(|()| segment.sink.sync());
        segment.bytes += frames.len() as u64;
        segment.used |= written.is_ok();
        self.current = Some(segment);
        written
    }

    fn begin_segment(&mut self) -> disk::Result<Segment> {
        let number = self.next_segment;
        self.next_segment += 1;
        let path = self.dir.join(segment_name(number));
        let mut sink = self.disk.create(&path, Create::PRIVATE)?;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&number.to_le_bytes());
        header.extend_from_slice(&self.acked_seq.to_le_bytes());
        header.extend_from_slice(&xxh3_64(&header).to_le_bytes());
        let begun = sink
            .write_all(&header)
            .map_err(|error| disk::Error::from_io(&path, &error))
            // Before any record, so that records without a header are damage and no accident.
            .and_then(|()| sink.sync())
            .and_then(|()| self.disk.sync(Sync::Dir(&self.dir)));
        if let Err(error) = begun {
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        Ok(Segment { path, sink, bytes: HEADER_BYTES as u64, used: false })
    }

    /// Ends the current segment; gives the number of the next, which holds nothing yet.
    pub fn rotate(&mut self) -> u64 {
        self.current = None;
        self.next_segment
    }
}

/// Removes the segments before `number`: what they hold is in parts.
pub fn remove_before(disk: &dyn Disk, dir: &Path, number: u64) -> disk::Result<()> {
    for listed in disk.list(dir)? {
        if segment_number(&listed.name).is_some_and(|found| found < number) {
            disk.remove(&dir.join(&listed.name))?;
        }
    }
    Ok(())
}

/// Reads the segments from `first` on, gives every whole frame in order of writing, and opens the log
/// to go on. What was damaged is said in words.
///
/// # Errors
/// The folder or a segment cannot be read at all.
pub fn recover(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    first: u64,
    segment_bytes: u64,
    mut each: impl FnMut(Frame<'_>, &str),
) -> disk::Result<(Wal, Vec<String>)> {
    let mut damage = Vec::new();
    let (mut last_seq, mut last_number) = (0, first.saturating_sub(1));
    for listed in disk.list(dir)? {
        let Some(number) = segment_number(&listed.name) else { continue };
        let path = dir.join(&listed.name);
        if number < first {
            disk.remove(&path)?;
            continue;
        }
        last_number = number;
        let place = path.display().to_string();
        let bytes = disk::read(&**disk, &path, SEGMENT_READ_BYTES_MAX)?;
        let acked_before = header(&bytes, number);
        if acked_before.is_some_and(|acked| acked > last_seq && last_seq > 0) {
            damage.push(format!("{place}: records before it are missing after number {last_seq}"));
        }
        let mut frames = Frames::new(&bytes, if acked_before.is_some() { HEADER_BYTES } else { 0 });
        for frame in frames.by_ref() {
            last_seq = last_seq.max(frame.seq);
            each(frame, &place);
        }
        for (from, to) in &frames.damaged {
            damage.push(format!("{place}: bytes {from} to {to} are damaged, what stood there is lost"));
        }
        last_seq = last_seq.max(acked_before.unwrap_or_default());
        // What was read may not be on the platter yet when only the process died; samples sent
        // again count as there already, so it has to be.
        disk.create(&path, Create { append: true, ..Create::PRIVATE })?.sync()?;
    }
    disk.sync(Sync::Dir(dir))?;
    let wal = Wal {
        disk: Arc::clone(disk),
        dir: dir.to_owned(),
        segment_bytes,
        next_segment: last_number + 1,
        next_seq: last_seq + 1,
        acked_seq: last_seq,
        current: None,
        fsyncs: 0,
        bytes: 0,
    };
    Ok((wal, damage))
}

/// The last sequence acknowledged before this segment; none when the header is no header.
fn header(bytes: &[u8], number: u64) -> Option<u64> {
    let head = bytes.get(..HEADER_BYTES)?;
    let word = |at: usize| Some(u64::from_le_bytes(head[at..at + 8].try_into().ok()?));
    (head[..8] == MAGIC && word(8)? == number && word(24)? == xxh3_64(&head[..24])).then(|| word(16))?
}
