//! From the YAML tree to the model, collecting everything that is wrong on the way.
//!
//! A decoder returns `None` only after it has reported why. Sections are in files of their own,
//! each with the list of the keys it takes ([`Keys`]), which the schema is tested against.

use std::{ops::RangeInclusive, str::FromStr};

use base::{
    id::NameId,
    units::{Bytes, Cpu, Span},
};

use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    source::{Source, TextRange},
    suggest,
    template::{Reference, Template},
    yaml::{Key, Node, Scalar, Value},
};

pub(crate) mod config;
pub(crate) mod expose;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod needs;
pub(crate) mod references;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod service;

/// The keys of one kind of map.
pub(crate) struct Keys {
    pub(crate) known: &'static [&'static str],
    /// Planned, and refused until it is served.
    pub(crate) later: &'static [&'static str],
    /// Keys of other tools, with what to write here.
    pub(crate) instead: &'static [(&'static str, &'static str)],
}

impl Keys {
    pub(crate) const fn only(known: &'static [&'static str]) -> Self {
        Self { known, later: &[], instead: &[] }
    }
}

/// The most entries of a map or list that is not limited more narrowly.
pub(crate) const ENTRIES_MAX: usize = 1_000;

/// What a template may refer to where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) secrets: bool,
    pub(crate) config: bool,
    pub(crate) ports: bool,
}

/// A template whose references are checked once all sections are read.
pub(crate) struct Pending {
    pub(crate) template: Template,
    pub(crate) range: TextRange,
    pub(crate) rules: Rules,
}

pub(crate) struct Context<'s> {
    pub(crate) source: &'s Source,
    pub(crate) found: Diagnostics,
    pub(crate) pending: Vec<Pending>,
}

/// The entries of a map whose keys are known.
pub(crate) struct Fields<'n> {
    pub(crate) range: TextRange,
    keys: &'static Keys,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key; none when it is absent or says nothing.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.given(key).filter(|node| !node.is_null())
    }

    /// The value of a key, even when it says nothing.
    pub(crate) fn given(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _)| &*name.text == key).map(|(_, node)| node)
    }

    /// Whether some unknown key was probably meant to be this one.
    pub(crate) fn misspelt(&self, key: &str) -> bool {
        let unknown = self.entries.iter().map(|(name, _)| &*name.text);
        unknown.filter(|name| !self.keys.known.contains(name)).any(|name| {
            suggest::nearest(name, self.keys.known.iter().copied()) == Some(key)
                || self.keys.instead.iter().any(|(other, hint)| *other == name && hint.contains(key))
        })
    }

    pub(crate) fn key(&self, key: &str) -> Option<&'n Key> {
        self.entries.iter().find(|(name, _)| &*name.text == key).map(|(name, _)| name)
    }
}

impl<'s> Context<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self { source, found: Diagnostics::default(), pending: Vec::new() }
    }

    pub(crate) fn error(&mut self, range: TextRange, message: impl Into<String>) {
        self.found.push(Diagnostic::new(message).at(self.source, range));
    }

    pub(crate) fn error_hint(
        &mut self,
        range: TextRange,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.found.push(Diagnostic::new(message).at(self.source, range).hint(hint));
    }

    fn expected(&mut self, node: &Node, what: &str, wanted: &str, hint: Option<String>) {
        let subject = if what.is_empty() { "a service file".to_owned() } else { format!("`{what}`") };
        self.found.push(
            Diagnostic::new(format!("{subject} must be {wanted}, this is {}", node.kind()))
                .at(self.source, node.range)
                .hint_if(hint),
        );
    }

    /// The map's entries, after unknown keys are reported.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        keys: &'static Keys,
    ) -> Option<Fields<'n>> {
        let Some(entries) = node.map() else {
            let hint =
                (!keys.known.is_empty()).then(|| format!("its keys are {}", suggest::list(keys.known)));
            self.expected(node, what, "a map", hint);
            return None;
        };
        for (key, _) in entries.iter() {
            if !keys.known.contains(&&*key.text) {
                self.unknown_key(key, what, keys);
            }
        }
        Some(Fields { range: node.range, keys, entries })
    }

    fn unknown_key(&mut self, key: &Key, what: &str, keys: &Keys) {
        if self.found.full() {
            self.found.left_out += 1;
            return;
        }
        let text = &*key.text;
        let place = if what.is_empty() { String::new() } else { format!(" in `{what}`") };
        if keys.later.contains(&text) {
            return self.error_hint(
                key.range,
                format!("`{text}`{place} is not available yet"),
                "take it out for now; a later version of Stead serves it",
            );
        }
        let known = suggest::nearest(text, keys.known.iter().copied());
        let instead = keys.instead.iter().find(|(other, _)| *other == text).map(|(_, hint)| *hint);
        let hint = match (instead, known) {
            (Some(instead), _) => Some(instead.to_owned()),
            (None, Some(near)) => Some(format!("did you mean `{near}`?")),
            (None, None) => suggest::hint(text, keys.known),
        };
        let message = format!("unknown key `{}`{place}", shorten(text));
        self.found.push(Diagnostic::new(message).at(self.source, key.range).hint_if(hint));
    }

    /// The entries of a map whose keys the user chooses, at most `most` of them.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str, most: usize) -> &'n [(Key, Node)] {
        match node.map() {
            Some(entries) => &entries[..self.at_most(node, what, entries.len(), most)],
            None => {
                self.expected(node, what, "a map", None);
                &[]
            }
        }
    }

    pub(crate) fn items<'n>(&mut self, node: &'n Node, what: &str, most: usize) -> &'n [Node] {
        match node.list() {
            Some(items) => &items[..self.at_most(node, what, items.len(), most)],
            None => {
                self.expected(node, what, "a list", None);
                &[]
            }
        }
    }

    /// How many of them are read; more than `most` are reported.
    pub(crate) fn at_most(&mut self, node: &Node, what: &str, given: usize, most: usize) -> usize {
        if given > most {
            self.error(node.range, format!("`{what}` has {given} entries, at most {most} are possible"));
        }
        given.min(most)
    }

    pub(crate) fn scalar<'n>(&mut self, node: &'n Node, what: &str, wanted: &str) -> Option<&'n Scalar> {
        match &node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => {
                self.expected(node, what, wanted, None);
                None
            }
        }
    }

    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        self.scalar(node, what, "text").map(|scalar| scalar.text.to_string())
    }

    pub(crate) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        let scalar = self.scalar(node, what, "`true` or `false`")?;
        let flag = scalar.bool();
        if flag.is_none() {
            let hint = match scalar.text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "true" | "1" => Some("write `true`".to_owned()),
                "no" | "off" | "n" | "false" | "0" => Some("write `false`".to_owned()),
                _ => None,
            };
            let message = format!("`{what}` must be `true` or `false`, not `{}`", shorten(&scalar.text));
            self.found.push(Diagnostic::new(message).at(self.source, node.range).hint_if(hint));
        }
        flag
    }

    pub(crate) fn int<T: TryFrom<i64>>(
        &mut self,
        node: &Node,
        what: &str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let scalar = self.scalar(node, what, "a whole number")?;
        let number = scalar.int().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            let text = shorten(&scalar.text);
            let message = match scalar.int() {
                Some(_) => format!("`{what}` must be from {from} to {to}, not {text}"),
                None => format!("`{what}` must be a whole number from {from} to {to}, not `{text}`"),
            };
            let quoted = !scalar.plain && scalar.text.parse::<i64>().is_ok();
            let hint = quoted.then(|| "write the number without quotes".to_owned());
            self.found.push(Diagnostic::new(message).at(self.source, node.range).hint_if(hint));
        }
        number
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let scalar = self.scalar(node, what, "a word")?;
        let found = words.iter().find(|(word, _)| *word == &*scalar.text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{}` is no `{what}`", shorten(&scalar.text));
            let hint = suggest::hint(&scalar.text, &names);
            self.found.push(Diagnostic::new(message).at(self.source, node.range).hint_if(hint));
        }
        found
    }

    pub(crate) fn span(&mut self, node: &Node, what: &str) -> Option<Span> {
        self.quantity(node, what, Span::UNITS, "s")
    }

    /// A duration that is not nothing.
    pub(crate) fn span_some(&mut self, node: &Node, what: &str) -> Option<Span> {
        let span = self.span(node, what)?;
        if span.get().is_zero() {
            self.error(node.range, format!("`{what}` must be longer than nothing"));
            return None;
        }
        Some(span)
    }

    pub(crate) fn bytes(&mut self, node: &Node, what: &str) -> Option<Bytes> {
        self.quantity(node, what, Bytes::UNITS, "MiB")
    }

    pub(crate) fn cpu(&mut self, node: &Node, what: &str) -> Option<Cpu> {
        self.quantity(node, what, &["m"], "")
    }

    fn quantity<T>(&mut self, node: &Node, what: &str, units: &[&str], unit: &str) -> Option<T>
    where
        T: FromStr<Err = base::units::InvalidQuantity>,
    {
        let scalar = self.scalar(node, what, "a number with a unit")?;
        match scalar.text.parse() {
            Ok(value) => Some(value),
            Err(invalid) => {
                let message = format!("`{what}`: `{}` is not {}", shorten(&scalar.text), invalid.expected);
                let hint = unit_hint(&scalar.text, units, unit, |text| text.parse::<T>().is_ok());
                self.found.push(Diagnostic::new(message).at(self.source, node.range).hint_if(hint));
                None
            }
        }
    }

    pub(crate) fn label(&mut self, node: &Node, what: &str) -> Option<NameId> {
        let text = self.text(node, what)?;
        self.label_of(&text, node.range, what)
    }

    pub(crate) fn label_of(&mut self, text: &str, range: TextRange, what: &str) -> Option<NameId> {
        match NameId::parse(text) {
            Ok(name) => Some(name),
            Err(invalid) => {
                let message = format!("`{}` in `{what}` cannot be a name", shorten(text));
                let hint = match crate::names::label(text) {
                    Some(better) => format!("write `{better}`: it must be {}", invalid.expected),
                    None => format!("it must be {}", invalid.expected),
                };
                self.error_hint(range, message, hint);
                None
            }
        }
    }

    /// The name of an environment variable.
    pub(crate) fn variable(&mut self, text: &str, range: TextRange) -> Option<String> {
        if crate::names::is_variable(text) {
            return Some(text.to_owned());
        }
        self.error_hint(
            range,
            format!("`{}` is no name for an environment variable", shorten(text)),
            "letters, digits and `_`, not starting with a digit",
        );
        None
    }

    /// A path inside the service's folder.
    pub(crate) fn path_inside(&mut self, text: &str, range: TextRange, what: &str) -> Option<String> {
        if crate::names::is_inside(text) {
            return Some(text.to_owned());
        }
        self.error_hint(
            range,
            format!("`{}` in `{what}` is not a path inside the service's folder", shorten(text)),
            "write it relative to the folder, without `..`",
        );
        None
    }

    /// Text with references, which are checked later.
    pub(crate) fn template(&mut self, node: &Node, what: &str, rules: Rules) -> Option<Template> {
        // An empty variable is a variable: `KEY:` and `KEY: ""` are both the empty text.
        let text = match &node.value {
            Value::Scalar(scalar) if scalar.is_null() => "",
            Value::Scalar(scalar) => &*scalar.text,
            _ => {
                self.expected(node, what, "text", None);
                return None;
            }
        };
        self.template_of(text, node.range, rules)
    }

    pub(crate) fn template_of(&mut self, text: &str, range: TextRange, rules: Rules) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) => {
                if template.as_literal().is_none() {
                    self.pending.push(Pending { template: template.clone(), range, rules });
                }
                Some(template)
            }
            Err(wrong) => {
                for one in wrong {
                    let snippet = text.get(one.range).unwrap_or_default();
                    let at = self.find(range, snippet);
                    self.found.push(Diagnostic::new(one.message).at(self.source, at).hint_if(one.hint));
                }
                None
            }
        }
    }

    /// Where in the raw text of a value a part of it stands; the whole value when escapes hide it.
    pub(crate) fn find(&self, range: TextRange, snippet: &str) -> TextRange {
        match self.source.slice(range).find(snippet) {
            Some(at) if !snippet.is_empty() => range.inside(at..at + snippet.len()),
            _ => range,
        }
    }

    pub(crate) fn find_reference(&self, range: TextRange, reference: &Reference) -> TextRange {
        self.find(range, &format!("${{{reference}}}"))
    }
}

/// What was probably meant by a wrong quantity.
fn unit_hint(given: &str, units: &[&str], usual: &str, good: impl Fn(&str) -> bool) -> Option<String> {
    let joined: String = given.chars().filter(|c| !c.is_whitespace() && *c != '_' && *c != ',').collect();
    let number_len = joined.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(joined.len());
    let (number, unit) = joined.split_at(number_len);
    let long = match unit.to_lowercase().as_str() {
        "sec" | "secs" | "second" | "seconds" => Some("s"),
        "min" | "mins" | "minute" | "minutes" => Some("m"),
        "hour" | "hours" | "hr" | "hrs" => Some("h"),
        "day" | "days" => Some("d"),
        "millis" | "msec" | "msecs" | "milliseconds" => Some("ms"),
        "core" | "cores" | "cpu" | "cpus" => Some(""),
        "" => Some(usual),
        _ => None,
    };
    let same_letters = units.iter().copied().find(|known| known.eq_ignore_ascii_case(unit));
    let candidates = [long, same_letters, suggest::nearest(unit, units.iter().copied())];
    let better =
        candidates.into_iter().flatten().map(|unit| format!("{number}{unit}")).find(|text| good(text));
    match better {
        Some(text) => Some(format!("did you mean `{text}`?")),
        None if units.len() > 1 => Some(format!("units are {}", suggest::list(units))),
        None => None,
    }
}

/// A text short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = clean.clone().take(SHOWN_CHARS_MAX).collect();
    if clean.count() > SHOWN_CHARS_MAX { format!("{shown}…") } else { shown }
}
