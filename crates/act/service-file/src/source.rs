//! A file's text with the index from byte offset to line and column.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// A half-open range of bytes in one [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct TextRange {
    pub start: u32,
    pub end: u32,
}

impl TextRange {
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        Self { start, end: u32::try_from(end).unwrap_or(u32::MAX).max(start) }
    }

    /// The part of this range that `inner`, counted from its start, names.
    pub(crate) fn inside(self, inner: std::ops::Range<usize>) -> Self {
        let start = self.start as usize;
        Self::new(start + inner.start, start + inner.end)
    }
}

/// A text and where it came from. Cheap to clone.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    path: PathBuf,
    text: String,
    line_starts: Vec<u32>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.path().display(), self.text().len())
    }
}

/// Where something stands: what a person needs to find it and what an editor needs to mark it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    pub path: PathBuf,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The line's text, cut to at most [`Location::LINE_CHARS_MAX`] characters around the column.
    pub line_text: String,
    /// Where in `line_text` the marked part starts and how long it is, in characters.
    pub mark_start: u32,
    pub mark_len: u32,
}

impl Location {
    pub const LINE_CHARS_MAX: usize = 160;
}

impl Source {
    /// A byte-order mark at the start is dropped.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, mut text: String) -> Self {
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        let mut line_starts = vec![0];
        line_starts.extend(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| u32::try_from(at + 1).unwrap_or(u32::MAX)),
        );
        Self(Arc::new(Inner { path: path.into(), text, line_starts }))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The text of a range; empty when it is not one of this source.
    #[must_use]
    pub fn slice(&self, range: TextRange) -> &str {
        self.text().get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// Line, column and the line's text. Ranges over several lines are marked to the first line's end.
    #[must_use]
    pub fn locate(&self, range: TextRange) -> Location {
        let text = self.text();
        let start = floor_boundary(text, range.start as usize);
        let end = floor_boundary(text, range.end as usize).max(start);
        let line = self.0.line_starts.partition_point(|line_start| *line_start as usize <= start) - 1;
        let line_start = self.0.line_starts[line] as usize;
        let line_end = self.0.line_starts.get(line + 1).map_or(text.len(), |next| *next as usize);
        let whole = text[line_start..line_end].trim_end_matches(['\n', '\r']);
        let at = (start - line_start).min(whole.len());
        let before = whole[..at].chars().count();
        let marked = whole[at..(end - line_start).clamp(at, whole.len())].chars().count();
        let (line_text, cut) = window(whole, before);
        let mark_start = before - cut;
        let room = line_text.chars().count().saturating_sub(mark_start);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Location {
            path: self.path().to_owned(),
            line: number(line + 1),
            column: number(before + 1),
            line_text,
            mark_start: number(mark_start),
            mark_len: number(marked.min(room).max(1)),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The part of a long line around a column, and how many characters were left out before it.
fn window(line: &str, column: usize) -> (String, usize) {
    let cut = column.saturating_sub(Location::LINE_CHARS_MAX / 2);
    let cut = if line.len() <= Location::LINE_CHARS_MAX { 0 } else { cut };
    let shown = line
        .chars()
        .skip(cut)
        .take(Location::LINE_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    (shown, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source::new("f", "a: ä b\r\nc\n".into());
        let location = source.locate(TextRange::new(6, 7));
        assert_eq!((location.line, location.column, location.line_text.as_str()), (1, 6, "a: ä b"));
        assert_eq!(source.locate(TextRange::new(9, 10)).line, 2);
        assert_eq!(source.locate(TextRange::new(400, 500)).line, 3);
    }

    #[test]
    fn long_lines_are_cut_around_the_column() {
        let source = Source::new("f", "x".repeat(100_000));
        let location = source.locate(TextRange::new(50_000, 60_000));
        assert_eq!(location.line_text.len(), Location::LINE_CHARS_MAX);
        assert_eq!(location.column, 50_001);
        assert!((location.mark_start + location.mark_len) as usize <= Location::LINE_CHARS_MAX);
    }
}
