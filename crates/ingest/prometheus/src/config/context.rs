//! Typed reading of the YAML tree; every mistake is kept with its place.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use service_file::{
    Diagnostic, Diagnostics, Source, TextRange, suggest,
    yaml::{Key, Node, Scalar, Value},
};

use super::{Note, Secret, values};

/// The keys of one kind of map.
pub(super) struct Keys {
    pub(super) known: &'static [&'static str],
    /// Let pass with a note that says why they do nothing.
    pub(super) passed: &'static [(&'static str, &'static str)],
    /// Refused until they are served.
    pub(super) later: &'static [&'static str],
}

pub(super) struct Fields<'n> {
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key; none when it is absent or says nothing.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(name, _)| &*name.text == key)
            .map(|(_, node)| node)
            .filter(|node| !node.is_null())
    }

    /// Whether the key stands there, even when it says nothing.
    pub(super) fn given(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| &*name.text == key)
    }
}

pub(super) struct Context {
    source: Source,
    pub(super) found: Diagnostics,
    pub(super) notes: Vec<Note>,
    secrets: Vec<TextRange>,
}

impl Context {
    pub(super) fn new(source: Source, found: Diagnostics) -> Self {
        Self { source, found, notes: Vec::new(), secrets: Vec::new() }
    }

    pub(super) fn error(&mut self, range: TextRange, message: impl Into<String>, hint: Option<String>) {
        self.found.push(Diagnostic::new(message).at(&self.source, range).hint_if(hint));
    }

    pub(super) fn note(&mut self, range: TextRange, message: impl Into<String>) {
        let place = self.source.locate(range);
        self.notes.push(Note {
            path: place.path,
            line: place.line,
            column: place.column,
            message: message.into(),
        });
    }

    /// The text with every secret hidden.
    pub(super) fn redacted(&mut self) -> String {
        let mut text = self.source.text().to_owned();
        self.secrets.sort();
        for range in self.secrets.iter().rev() {
            let range = range.start as usize..range.end as usize;
            if text.get(range.clone()).is_some() {
                text.replace_range(range, "<secret>");
            }
        }
        text
    }

    fn expected(&mut self, node: &Node, what: &str, wanted: &str) {
        let subject = if what.is_empty() { "a configuration".to_owned() } else { format!("`{what}`") };
        self.error(node.range, format!("{subject} must be {wanted}, this is {}", node.kind()), None);
    }

    /// The map's entries, after unknown keys are said.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, keys: &Keys) -> Option<Fields<'n>> {
        let Some(entries) = node.map() else {
            self.expected(node, what, "a map");
            return None;
        };
        for (key, _) in entries.iter() {
            let text = &*key.text;
            if keys.known.contains(&text) {
                continue;
            }
            let place = if what.is_empty() { String::new() } else { format!(" in `{what}`") };
            if let Some((_, why)) = keys.passed.iter().find(|(name, _)| *name == text) {
                self.note(key.range, format!("`{text}`{place} does nothing here: {why}"));
            } else if keys.later.contains(&text) {
                let hint = "take it out for now; a later version of Stead serves it".to_owned();
                self.error(key.range, format!("`{text}`{place} is not available yet"), Some(hint));
            } else {
                let all = keys.known.iter().chain(keys.passed.iter().map(|(name, _)| name)).chain(keys.later);
                let hint = suggest::nearest(text, all.copied()).map(|near| format!("did you mean `{near}`?"));
                let shown = crate::exposition::series::short(text);
                self.error(key.range, format!("unknown key `{shown}`{place}"), hint);
            }
        }
        Some(Fields { entries })
    }

    /// The entries of a map whose keys the user chooses.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        match node.map() {
            Some(entries) => entries,
            None => {
                self.expected(node, what, "a map");
                &[]
            }
        }
    }

    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str, most: usize) -> &'n [Node] {
        match node.list() {
            Some(items) if items.len() > most => {
                self.error(
                    node.range,
                    format!("`{what}` has {} entries, at most {most} are read", items.len()),
                    None,
                );
                &items[..most]
            }
            Some(items) => items,
            None => {
                self.expected(node, what, "a list");
                &[]
            }
        }
    }

    fn scalar<'n>(&mut self, node: &'n Node, what: &str, wanted: &str) -> Option<&'n Scalar> {
        match &node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => {
                self.expected(node, what, wanted);
                None
            }
        }
    }

    /// Any scalar as its text; nothing is the empty text.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Scalar(scalar) if scalar.is_null() => Some(String::new()),
            _ => self.scalar(node, what, "text").map(|scalar| scalar.text.to_string()),
        }
    }

    pub(super) fn texts(&mut self, node: &Node, what: &str, most: usize) -> Vec<String> {
        self.items(node, what, most).iter().filter_map(|item| self.text(item, what)).collect()
    }

    pub(super) fn secret(&mut self, node: &Node, what: &str) -> Option<Secret> {
        self.secrets.push(node.range);
        self.text(node, what).map(Secret::new)
    }

    /// A path, relative to the folder of the file.
    pub(super) fn path(&mut self, node: &Node, what: &str) -> Option<PathBuf> {
        let text = self.text(node, what)?;
        let folder = self.source.path().parent().unwrap_or(Path::new("."));
        Some(folder.join(text))
    }

    pub(super) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        let scalar = self.scalar(node, what, "`true` or `false`")?;
        let flag = scalar.bool();
        if flag.is_none() {
            self.error(node.range, format!("`{what}` must be `true` or `false`"), None);
        }
        flag
    }

    pub(super) fn count(&mut self, node: &Node, what: &str) -> Option<u64> {
        let scalar = self.scalar(node, what, "a whole number")?;
        let number = scalar.int().and_then(|number| u64::try_from(number).ok());
        if number.is_none() {
            self.error(node.range, format!("`{what}` must be a whole number from 0 on"), None);
        }
        number
    }

    pub(super) fn size(&mut self, node: &Node, what: &str) -> Option<u64> {
        let scalar = self.scalar(node, what, "a size such as `10MB`")?;
        let size = values::size(&scalar.text);
        if size.is_none() {
            self.error(node.range, format!("`{what}` must be a size such as `10MB`"), None);
        }
        size
    }

    /// A duration that is not nothing.
    pub(super) fn span(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let scalar = self.scalar(node, what, "a duration such as `15s`")?;
        match values::duration(&scalar.text) {
            Some(span) if !span.is_zero() => Some(span),
            Some(_) => {
                self.error(node.range, format!("`{what}` must be longer than nothing"), None);
                None
            }
            None => {
                let hint = "write `30s`, `5m` or `1h30m`; units are y, w, d, h, m, s and ms".to_owned();
                self.error(node.range, format!("`{what}`: `{}` is no duration", scalar.text), Some(hint));
                None
            }
        }
    }

    /// One of a few words; upper and lower case differ unless `loose`.
    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&str, T)],
        loose: bool,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        let same = |word: &str| if loose { word.eq_ignore_ascii_case(&text) } else { word == text };
        let found = words.iter().find(|(word, _)| same(word)).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(node.range, format!("`{text}` is no `{what}`"), suggest::hint(&text, &names));
        }
        found
    }
}
