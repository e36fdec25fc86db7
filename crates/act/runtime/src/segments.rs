//! Output on disk: segment files of lines, bounded in size and number.
//!
//! A segment is `log/NNNNNNNNNN.log`, numbers growing from 1. A line of it is
//!
//! ```text
//! UNIX_NANOS STREAM TEXT
//! ```
//!
//! `STREAM` is `o` for standard output, `e` for standard error, with a `+` after it when the text
//! goes on in the next line of that stream (the line was too long, or paused without an end). `TEXT`
//! is valid UTF-8: other bytes became U+FFFD. When the next line would pass the bound, a new segment
//! starts and the oldest above the number goes, so that the whole never passes
//! `segments_max × segment_bytes_max`.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use base::{Timestamp, id::ReplicaId};
use runtime_api::{LogBounds, LogLine};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat},
};

/// Lines gathered before they go to the file; also the shim's bound on unwritten output.
const BUFFER_BYTES_MAX: usize = 32 << 10;
/// Room for time and stream in front of a text.
const PREFIX_BYTES_MAX: usize = 24;
/// Shown after a part of a line that goes on.
pub(crate) const CONTINUED: char = '…';

fn name(sequence: u64) -> String {
    format!("{sequence:010}.log")
}

/// Numbers of the segments in `dir`, ascending.
pub(crate) fn sequences(dir: BorrowedFd<'_>) -> io::Result<Vec<u64>> {
    let mut found: Vec<u64> = Dir::read_from(dir)?
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.strip_suffix(".log")?.parse().ok())
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Writes lines. A disk that refuses costs lines, counted, never the workload.
#[derive(Debug)]
pub(crate) struct Writer {
    dir: OwnedFd,
    segment_bytes_max: u64,
    segments_max: u64,
    pub(crate) line_bytes_max: usize,
    sequence: u64,
    file: Option<File>,
    /// Bytes of whole lines in the file.
    size: u64,
    buffer: Vec<u8>,
    buffered_lines: u64,
    /// Lines lost since the last one that was written.
    losing: u64,
    lost: u64,
    why: String,
}

impl Writer {
    pub(crate) fn new(dir: OwnedFd, bounds: &LogBounds) -> Self {
        let line_bytes_max = (bounds.line_bytes_max as usize).clamp(16, BUFFER_BYTES_MAX / 2);
        // A segment holds at least one whole line; U+FFFD is three bytes for one.
        let least = (line_bytes_max * 3 + PREFIX_BYTES_MAX + 1) as u64;
        Self {
            dir,
            segment_bytes_max: bounds.segment_bytes_max.max(least),
            segments_max: u64::from(bounds.segments_max.max(1)),
            line_bytes_max,
            sequence: 0,
            file: None,
            size: 0,
            buffer: Vec::new(),
            buffered_lines: 0,
            losing: 0,
            lost: 0,
            why: String::new(),
        }
    }

    /// All lines lost so far, and why the last were; none when none was.
    pub(crate) fn lost(&self) -> Option<(u64, &str)> {
        (self.lost > 0).then_some((self.lost, self.why.as_str()))
    }

    pub(crate) fn line(&mut self, at: Timestamp, stream: &str, text: &[u8]) {
        let text = match String::from_utf8_lossy(text) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let room = text.len() + PREFIX_BYTES_MAX + 1;
        if self.buffer.len() + room > BUFFER_BYTES_MAX {
            self.flush();
        }
        if self.size + (self.buffer.len() + room) as u64 > self.segment_bytes_max {
            self.flush();
            self.file = None;
            self.size = 0;
        }
        let _ = write!(self.buffer, "{} {stream} ", at.nanos());
        self.buffer.extend_from_slice(&text);
        self.buffer.push(b'\n');
        self.buffered_lines += 1;
    }

    /// Hands what was gathered to the kernel. It is not synced: output is no record.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.append() {
            Ok(()) => {}
            Err(error) => {
                self.losing += self.buffered_lines;
                self.lost += self.buffered_lines;
                self.why = error.to_string();
            }
        }
        self.buffer.clear();
        self.buffered_lines = 0;
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer.shrink_to(BUFFER_BYTES_MAX);
        }
    }

    fn append(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.rotate()?;
        }
        let losing = self.losing;
        if losing > 0 {
            let at = self.buffer.split(|b| *b == b' ').next().unwrap_or_default();
            let at = String::from_utf8_lossy(at).into_owned();
            let notice = format!("{at} e [stead] {losing} lines of output were lost: {}\n", self.why);
            if self.size + (notice.len() + self.buffer.len()) as u64 > self.segment_bytes_max {
                self.rotate()?;
            }
            self.write(notice.as_bytes())?;
            self.losing = 0;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(&buffer);
        self.buffer = buffer;
        result
    }

    /// Appends all of `bytes` or nothing, so that the file ends with a whole line.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(bytes) {
            file.set_len(self.size)?;
            file.seek(SeekFrom::Start(self.size))?;
            return Err(error);
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let next = self.sequence + 1;
        // The oldest goes first: on a full disk that is what makes room.
        if next > self.segments_max {
            let _ = unlinkat(&self.dir, name(next - self.segments_max), AtFlags::empty());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, name(next), flags, Mode::RUSR | Mode::WUSR)?;
        self.file = Some(file.into());
        self.sequence = next;
        self.size = 0;
        Ok(())
    }
}

/// One end of a pipe from the workload, cut into lines.
#[derive(Debug)]
pub(crate) struct Source {
    fd: OwnedFd,
    /// `o` or `e`.
    stream: &'static str,
    partial: Vec<u8>,
    /// When the last bytes of `partial` came, in shim time.
    pub(crate) partial_since: Option<std::time::Instant>,
}

/// What a read of a source came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// So many bytes; there may be more.
    Bytes(usize),
    Nothing,
    End,
}

impl Source {
    pub(crate) fn new(fd: OwnedFd, stream: &'static str) -> Self {
        Self { fd, stream, partial: Vec::new(), partial_since: None }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Reads once into `scratch` and hands whole lines to `writer`.
    pub(crate) fn pump(&mut self, scratch: &mut [u8], writer: &mut Writer, now: Timestamp) -> Pumped {
        let count = match rustix::io::read(&self.fd, &mut *scratch) {
            Ok(0) => return Pumped::End,
            Ok(count) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Pumped::Nothing,
            Err(_) => return Pumped::End,
        };
        self.feed(&scratch[..count], writer, now);
        self.partial_since = (!self.partial.is_empty()).then(std::time::Instant::now);
        Pumped::Bytes(count)
    }

    fn feed(&mut self, mut bytes: &[u8], writer: &mut Writer, now: Timestamp) {
        let most = writer.line_bytes_max;
        while !bytes.is_empty() {
            let room = most.saturating_sub(self.partial.len());
            let window = &bytes[..bytes.len().min(room + 1)];
            if let Some(end) = window.iter().position(|b| *b == b'\n') {
                let (line, rest) = bytes.split_at(end);
                bytes = &rest[1..];
                if self.partial.is_empty() {
                    writer.line(now, self.stream, strip_return(line));
                } else {
                    self.partial.extend_from_slice(line);
                    writer.line(now, self.stream, strip_return(&self.partial));
                    self.partial.clear();
                }
            } else if window.len() > room {
                // Too long a line: cut it, between characters where they are characters.
                self.partial.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                let cut = char_boundary(&self.partial);
                let kept = self.partial.split_off(cut);
                self.part(writer, now);
                self.partial = kept;
            } else {
                self.partial.extend_from_slice(bytes);
                bytes = &[];
            }
        }
    }

    fn part(&mut self, writer: &mut Writer, now: Timestamp) {
        let stream = if self.stream == "o" { "o+" } else { "e+" };
        writer.line(now, stream, &self.partial);
        self.partial.clear();
    }

    /// Shows what came without an end of line: as a part while it may go on, else as the last line.
    pub(crate) fn flush_partial(&mut self, writer: &mut Writer, now: Timestamp, last: bool) {
        self.partial_since = None;
        if self.partial.is_empty() {
            return;
        }
        if last {
            writer.line(now, self.stream, strip_return(&self.partial));
            self.partial = Vec::new();
        } else {
            self.part(writer, now);
        }
    }
}

fn strip_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The last place to cut `bytes` that does not split a character; the end when they are no text.
fn char_boundary(bytes: &[u8]) -> usize {
    for back in 1..=3.min(bytes.len().saturating_sub(1)) {
        let at = bytes.len() - back;
        let need = match bytes[at] {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            0x80..=0xBF => continue,
            _ => 1,
        };
        return if need > back { at } else { bytes.len() };
    }
    bytes.len()
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) sequence: u64,
    pub(crate) offset: u64,
}

/// Reads at most `bytes_max` from `from` on and gives its whole lines with where they end. A position
/// in a segment that is gone moves to the oldest there is.
pub(crate) fn read(
    dir: BorrowedFd<'_>,
    from: Position,
    bytes_max: usize,
    mut each: impl FnMut(&str),
) -> io::Result<Position> {
    let present = sequences(dir)?;
    let Some(sequence) = present.iter().copied().find(|s| *s >= from.sequence) else { return Ok(from) };
    let offset = if sequence == from.sequence { from.offset } else { 0 };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = match openat(dir, name(sequence), flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        // Rotated away between listing and opening; the caller comes again.
        Err(rustix::io::Errno::NOENT) => return Ok(Position { sequence: sequence + 1, offset: 0 }),
        Err(error) => return Err(error.into()),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut content)?;
    let whole = content.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let finished = content.is_empty() && present.last().is_some_and(|last| *last > sequence);
    for line in String::from_utf8_lossy(&content[..whole]).lines() {
        each(line);
    }
    if finished {
        return Ok(Position { sequence: sequence + 1, offset: 0 });
    }
    Ok(Position { sequence, offset: offset + whole as u64 })
}

/// Parses a stored line; none for what is not one.
pub(crate) fn parse(line: &str, replica: &ReplicaId) -> Option<LogLine> {
    let (at, rest) = line.split_once(' ')?;
    let (stream, text) = rest.split_once(' ')?;
    let (stderr, goes_on) = match stream {
        "o" => (false, false),
        "o+" => (false, true),
        "e" => (true, false),
        "e+" => (true, true),
        _ => return None,
    };
    let mut text = text.to_owned();
    if goes_on {
        text.push(CONTINUED);
    }
    Some(LogLine { at: Timestamp::from_nanos(at.parse().ok()?), replica: replica.clone(), stderr, text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::files::open_dir;

    fn bounds(segment: u64, segments: u32, line: u32) -> LogBounds {
        LogBounds { segment_bytes_max: segment, segments_max: segments, line_bytes_max: line }
    }

    fn everything(dir: BorrowedFd<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        let mut at = Position::default();
        loop {
            let next = read(dir, at, 1 << 20, |line| lines.push(line.to_owned())).unwrap();
            if next == at {
                return lines;
            }
            at = next;
        }
    }

    #[test]
    fn disk_use_stays_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(open_dir(dir.path()).unwrap(), &bounds(4096, 3, 64));
        for n in 0..10_000 {
            writer.line(Timestamp::from_nanos(n), "o", format!("line {n}").as_bytes());
            if n % 100 == 0 {
                writer.flush();
                let used: u64 = std::fs::read_dir(dir.path())
                    .unwrap()
                    .map(|entry| entry.unwrap().metadata().unwrap().len())
                    .sum();
                assert!(used <= 3 * 4096, "{used}");
            }
        }
        writer.flush();
        let fd = open_dir(dir.path()).unwrap();
        assert_eq!(sequences(fd.as_fd()).unwrap().len(), 3);
        let lines = everything(fd.as_fd());
        assert_eq!(lines.last().unwrap(), "9999 o line 9999");
        assert!(lines.windows(2).all(|w| w[0].len() <= w[1].len()), "in order");
    }

    #[test]
    fn long_lines_are_cut_between_characters_and_marked() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(open_dir(dir.path()).unwrap(), &bounds(1 << 20, 3, 16));
        let (read_end, _write_end) = rustix::pipe::pipe().unwrap();
        let mut source = Source::new(read_end, "e");
        let now = Timestamp::from_nanos(7);
        source.feed("0123456789abcde€fg\r\nshort\n\n".as_bytes(), &mut writer, now);
        source.feed(b"\xff\x00bin\nlast", &mut writer, now);
        source.flush_partial(&mut writer, now, true);
        writer.flush();
        let fd = open_dir(dir.path()).unwrap();
        let expected =
            ["7 e+ 0123456789abcde", "7 e €fg", "7 e short", "7 e ", "7 e \u{fffd}\0bin", "7 e last"];
        assert_eq!(everything(fd.as_fd()), expected);
        let replica = ReplicaId::new();
        let line = parse(expected[0], &replica).unwrap();
        assert_eq!((line.text.as_str(), line.stderr), ("0123456789abcde…", true));
    }

    proptest! {
        #[test]
        fn any_bytes_become_lines_and_nothing_is_lost(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut writer = Writer::new(open_dir(dir.path()).unwrap(), &bounds(1 << 20, 3, 16));
            let (read_end, _write_end) = rustix::pipe::pipe().unwrap();
            let mut source = Source::new(read_end, "o");
            for chunk in &chunks {
                source.feed(chunk, &mut writer, Timestamp::from_nanos(1));
                prop_assert!(source.partial.len() <= 16);
            }
            source.flush_partial(&mut writer, Timestamp::from_nanos(1), true);
            writer.flush();
            let all = chunks.concat();
            let ends = all.iter().filter(|b| **b == b'\n').count();
            let tail = usize::from(all.last().is_some_and(|b| *b != b'\n'));
            let fd = open_dir(dir.path()).unwrap();
            let replica = ReplicaId::new();
            let lines: Vec<_> = std::fs::read(dir.path().join(name(1))).map(|content| {
                content.split(|b| *b == b'\n').map(|l| String::from_utf8(l.to_vec()).unwrap()).collect()
            }).unwrap_or_default();
            let whole = lines.iter().filter(|l| l.starts_with("1 o ")).count();
            prop_assert_eq!(whole, ends + tail);
            for line in everything(fd.as_fd()) {
                prop_assert!(parse(&line, &replica).is_some(), "{:?}", line);
            }
        }

        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = parse(&text, &ReplicaId::new());
        }
    }
}
