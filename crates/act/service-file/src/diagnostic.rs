//! What is wrong with a file, where, and what to do about it; and how that is shown.

use std::fmt;

use base::{Class, Fault};
use serde::{Deserialize, Serialize};

use crate::source::{Location, Source, TextRange};

/// One thing that is wrong. It stands alone: the source is not needed to show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Lowercase, without a full stop.
    pub message: String,
    /// None for what is wrong with a folder or the whole set.
    pub location: Option<Location>,
    /// Other places that belong to it, each with a word on why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<(String, Location)>,
    pub hint: Option<String>,
}

impl Diagnostic {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), location: None, related: Vec::new(), hint: None }
    }

    #[must_use]
    pub fn at(mut self, source: &Source, range: TextRange) -> Self {
        self.location = Some(source.locate(range));
        self
    }

    /// Like [`Diagnostic::at`], but the text there may be secret and is not shown.
    #[must_use]
    pub(crate) fn at_hidden(mut self, source: &Source, range: TextRange) -> Self {
        let mut location = source.locate(range);
        location.line_text = location.line_text.chars().take(location.mark_start as usize).collect();
        location.line_text.push('…');
        location.mark_len = 1;
        self.location = Some(location);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn hint_if(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    #[must_use]
    pub fn related(mut self, why: impl Into<String>, source: &Source, range: TextRange) -> Self {
        self.related.push((why.into(), source.locate(range)));
        self
    }

    fn render(&self, out: &mut String, colour: bool) {
        let paint = Paint { colour };
        paint.push(out, "1;31", "error");
        out.push_str(": ");
        out.push_str(&self.message);
        out.push('\n');
        if let Some(location) = &self.location {
            paint.location(out, location, '^');
        }
        for (why, location) in &self.related {
            paint.push(out, "1;34", "note");
            out.push_str(": ");
            out.push_str(why);
            out.push('\n');
            paint.location(out, location, '-');
        }
        if let Some(hint) = &self.hint {
            paint.push(out, "1;36", "hint");
            out.push_str(": ");
            out.push_str(hint);
            out.push('\n');
        }
    }
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn push(&self, out: &mut String, code: &str, text: &str) {
        if self.colour {
            out.push_str(&format!("\x1b[{code}m{text}\x1b[0m"));
        } else {
            out.push_str(text);
        }
    }

    fn location(&self, out: &mut String, location: &Location, mark: char) {
        let number = location.line.to_string();
        let pad = " ".repeat(number.len());
        let (start, len) = (location.mark_start as usize, location.mark_len as usize);
        // The same cells before the mark as the line has, so that tabs keep it below its text.
        let lead: String =
            location.line_text.chars().take(start).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        out.push_str(&format!(
            "{pad}--> {}:{}:{}\n{pad} |\n{number} | {}\n{pad} | {lead}",
            location.path.display(),
            location.line,
            location.column,
            location.line_text
        ));
        self.push(out, "1;31", &mark.to_string().repeat(len));
        out.push('\n');
    }
}

/// All that is wrong, in order of place. Never empty when it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    pub items: Vec<Diagnostic>,
    /// How many more there are than [`Diagnostics::ITEMS_MAX`].
    #[serde(default)]
    pub left_out: usize,
}

impl Diagnostics {
    /// The most that are kept and shown; the rest is counted.
    pub const ITEMS_MAX: usize = 100;

    /// Whether one more would only be counted.
    pub(crate) fn full(&self) -> bool {
        self.items.len() >= Self::ITEMS_MAX
    }

    /// Adds one unless it is there already, as happens when a base and its overlays share a mistake.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.full() {
            self.left_out += 1;
        } else if !self.items.contains(&diagnostic) {
            self.items.push(diagnostic);
        }
    }

    pub fn append(&mut self, other: Self) {
        self.left_out += other.left_out;
        for diagnostic in other.items {
            self.push(diagnostic);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Orders them by file and place.
    pub(crate) fn sort(&mut self) {
        let key = |diagnostic: &Diagnostic| {
            diagnostic.location.as_ref().map(|place| (place.path.clone(), place.line, place.column))
        };
        self.items.sort_by_cached_key(key);
    }

    /// The text form, with ANSI colours if asked for.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for (at, diagnostic) in self.items.iter().enumerate() {
            if at > 0 {
                out.push('\n');
            }
            diagnostic.render(&mut out, colour);
        }
        if self.left_out > 0 {
            out.push_str(&format!("\n… and {} more\n", self.left_out));
        }
        out
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self { items: vec![one], left_out: 0 }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

impl Fault for Diagnostics {
    fn code(&self) -> &'static str {
        "service_file.invalid"
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn hint(&self) -> Option<String> {
        self.items.first().and_then(|first| first.hint.clone())
    }
}
