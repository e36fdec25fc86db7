//! YAML 1.2 as a tree of nodes with places, within fixed budgets.
//!
//! The grammar is the `granit-parser` crate's; this builds the tree from its events, resolves
//! aliases and merge keys (`<<`), and refuses what could grow without bound.

use std::{collections::HashMap, rc::Rc};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError};

use crate::{
    diagnostic::{Diagnostic, Diagnostics},
    source::{Source, TextRange},
};

/// A larger file is refused before it is parsed.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Collections inside collections.
pub const DEPTH_MAX: usize = 48;
/// Nodes of one file, each alias counted with all that it brings.
pub const NODES_MAX: usize = 50_000;
/// Documents in one file.
pub const DOCUMENTS_MAX: usize = 1_000;
/// Stands for a key that was refused, so that its value is left out without another word.
/// YAML allows no such character.
const KEY_REFUSED: &str = "\0";

#[derive(Debug, Clone)]
pub struct Node {
    pub range: TextRange,
    pub value: Value,
    /// Nodes in it, itself included, and levels below it; for the budgets.
    size: u32,
    height: u16,
}

#[derive(Debug, Clone)]
pub enum Value {
    Scalar(Scalar),
    List(Rc<Vec<Node>>),
    Map(Rc<Vec<(Key, Node)>>),
}

/// Kept as text: `1.10` stays `1.10` where a version is expected.
#[derive(Debug, Clone)]
pub struct Scalar {
    pub text: Rc<str>,
    /// Written without quotes, so that `true`, `12` and `null` mean more than their letters.
    pub plain: bool,
}

#[derive(Debug, Clone)]
pub struct Key {
    pub range: TextRange,
    pub text: Rc<str>,
}

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    pub fn map(&self) -> Option<&Rc<Vec<(Key, Self)>>> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(&scalar.text),
            _ => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        self.map()?.iter().find(|(name, _)| &*name.text == key).map(|(_, node)| node)
    }

    pub fn with_entries(&self, entries: Vec<(Key, Self)>) -> Self {
        Self { value: Value::Map(Rc::new(entries)), ..*self }
    }

    /// What it is, as a person would say it.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Map(_) => "a map",
            Value::List(_) => "a list",
            Value::Scalar(scalar) if scalar.is_null() => "nothing",
            Value::Scalar(scalar) if scalar.plain && matches!(&*scalar.text, "true" | "false") => {
                "a yes or no"
            }
            Value::Scalar(scalar) if scalar.plain && scalar.text.parse::<f64>().is_ok() => "a number",
            Value::Scalar(_) => "text",
        }
    }

    /// As JSON, plain scalars resolved by YAML's core schema.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Map(entries) => Json::Object(
                entries.iter().map(|(key, node)| (key.text.to_string(), node.to_json())).collect(),
            ),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Scalar(scalar) => scalar.to_json(),
        }
    }
}

impl Scalar {
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }

    pub fn bool(&self) -> Option<bool> {
        match &*self.text {
            "true" | "True" | "TRUE" if self.plain => Some(true),
            "false" | "False" | "FALSE" if self.plain => Some(false),
            _ => None,
        }
    }

    /// Decimal, `0o` octal or `0x` hexadecimal.
    pub fn int(&self) -> Option<i64> {
        if !self.plain {
            return None;
        }
        let text = &*self.text;
        if let Some(octal) = text.strip_prefix("0o") {
            return i64::from_str_radix(octal, 8).ok();
        }
        if let Some(hex) = text.strip_prefix("0x") {
            return i64::from_str_radix(hex, 16).ok();
        }
        text.parse().ok()
    }

    fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        if self.is_null() {
            return Json::Null;
        }
        if let Some(truth) = self.bool() {
            return Json::Bool(truth);
        }
        if let Some(number) = self.int() {
            return Json::from(number);
        }
        let numeric = self.plain && self.text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        match self.text.parse::<f64>() {
            Ok(number) if numeric && number.is_finite() => Json::from(number),
            _ => Json::String(self.text.to_string()),
        }
    }
}

/// The documents of a file that could be read, and all that is wrong with the others.
/// A document that is empty is left out.
pub fn parse(source: &Source) -> (Vec<Node>, Diagnostics) {
    let mut found = Diagnostics::default();
    if source.text().len() > FILE_BYTES_MAX {
        found.push(too_large(source.path(), source.text().len() as u64));
        return (Vec::new(), found);
    }
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        emit_comments: false,
        emit_unresolved_aliases: true,
    };
    let mut parser = Parser::new_from_str_with_options(source.text(), options);
    let mut documents = Vec::new();
    let mut nodes_left = NODES_MAX;
    while documents.len() <= DOCUMENTS_MAX {
        let mut builder = Builder::new(source, nodes_left);
        let ended = builder.document(&mut parser);
        nodes_left = builder.nodes_left;
        found.append(builder.found);
        match ended {
            Ended::Document(node) => documents.extend(node.filter(|node| !node.is_null())),
            Ended::Stream => return (documents, found),
            Ended::Budget => return (documents, found),
            Ended::Broken => match parser.proceed_next_document() {
                Ok(true) => {}
                _ => return (documents, found),
            },
        }
    }
    found.push(
        Diagnostic::new(format!("more than {DOCUMENTS_MAX} documents in one file"))
            .at(source, TextRange::default())
            .hint("give each group of services its own folder"),
    );
    (documents, found)
}

pub fn too_large(path: &std::path::Path, bytes: u64) -> Diagnostic {
    Diagnostic::new(format!(
        "{} is too large: {bytes} bytes, at most {FILE_BYTES_MAX} are read",
        path.display()
    ))
    .hint("a service file is a page or two; put big content in files of its own and name them in `config.files`")
}

enum Ended {
    Document(Option<Node>),
    Stream,
    /// The parser cannot go on in this document.
    Broken,
    /// A budget is used up; nothing more is read.
    Budget,
}

/// A collection that is not closed yet.
struct Open {
    range: TextRange,
    anchor: usize,
    /// None for a list.
    key: Option<Option<Key>>,
    items: Vec<Node>,
    entries: Vec<(Key, Node)>,
    /// Places of the keys, once there are more than are quickly looked through.
    seen: HashMap<Rc<str>, TextRange>,
    merges: Vec<Node>,
}

struct Builder<'s> {
    source: &'s Source,
    found: Diagnostics,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes_left: usize,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source, nodes_left: usize) -> Self {
        Self {
            source,
            found: Diagnostics::default(),
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            nodes_left,
        }
    }

    fn document<'a>(&mut self, parser: &mut Parser<'a, granit_parser::StrInput<'a>>) -> Ended {
        loop {
            let (event, span) = match parser.next_event() {
                None => return Ended::Stream,
                Some(Err(error)) => {
                    self.syntax(&error);
                    return Ended::Broken;
                }
                Some(Ok(next)) => next,
            };
            let range = span
                .byte_range()
                .map_or_else(TextRange::default, |bytes| TextRange::new(bytes.start, bytes.end));
            if let Some(tag) = event.tag()
                && tag.core_suffix().is_none()
                && tag.original() != "!"
            {
                self.report(
                    range,
                    format!("tag `{}` means nothing here", tag.original()),
                    "leave it out; only YAML's own tags such as `!!str` are read",
                );
            }
            match event {
                Event::StreamEnd => return Ended::Stream,
                Event::DocumentEnd => return Ended::Document(self.root.take()),
                other => {
                    if !self.event(other, range) {
                        return Ended::Budget;
                    }
                }
            }
        }
    }

    /// False when a budget is used up.
    fn event(&mut self, event: Event<'_>, range: TextRange) -> bool {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let as_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !as_text;
                let text = Rc::from(text.as_ref());
                let node = Node { range, value: Value::Scalar(Scalar { text, plain }), size: 1, height: 0 };
                return self.spend(1, range) && self.add(node, anchor);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.stack.push(Open::new(range, anchor, None));
                return self.spend(1, range);
            }
            Event::MappingStart(_, anchor, _) => {
                self.stack.push(Open::new(range, anchor, Some(None)));
                return self.spend(1, range);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.stack.pop() {
                    let anchor = open.anchor;
                    let node = self.close(open, range);
                    return self.add(node, anchor);
                }
            }
            Event::Alias(anchor) => return self.alias(anchor, range),
            Event::UnresolvedAlias(name) => {
                self.report(range, format!("no anchor `&{name}` stands before this alias"), "");
                return self.add(Node::null(range), 0);
            }
            _ => {}
        }
        true
    }

    fn alias(&mut self, anchor: usize, range: TextRange) -> bool {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            let name = self.source.slice(range).to_owned();
            self.report(
                range,
                format!("alias `{name}` stands inside what it names"),
                "a file cannot contain itself",
            );
            return self.add(Node::null(range), 0);
        };
        if self.stack.len() + usize::from(node.height) >= DEPTH_MAX {
            self.report(range, format!("nested deeper than {DEPTH_MAX} levels"), "");
            return false;
        }
        self.spend(node.size as usize, range) && self.add(node, 0)
    }

    fn spend(&mut self, nodes: usize, range: TextRange) -> bool {
        match self.nodes_left.checked_sub(nodes) {
            Some(left) => {
                self.nodes_left = left;
                true
            }
            None => {
                self.nodes_left = 0;
                self.report(
                    range,
                    format!("more than {NODES_MAX} values in one file, aliases counted with what they bring"),
                    "split the file, or use fewer aliases of aliases",
                );
                false
            }
        }
    }

    /// Puts a finished node where it belongs. False when a budget is used up.
    fn add(&mut self, node: Node, anchor: usize) -> bool {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return true;
        };
        match &mut open.key {
            None => open.items.push(node),
            Some(slot) => match slot.take() {
                None => {
                    let key = match &node.value {
                        Value::Scalar(scalar) => Key { range: node.range, text: scalar.text.clone() },
                        _ => {
                            let (range, kind) = (node.range, node.kind());
                            *slot = Some(Key { range, text: Rc::from(KEY_REFUSED) });
                            self.report(range, format!("a key must be text, this is {kind}"), "");
                            return true;
                        }
                    };
                    *slot = Some(key);
                }
                Some(key) => self.entry(key, node),
            },
        }
        true
    }

    fn entry(&mut self, key: Key, node: Node) {
        let source = self.source;
        let Some(open) = self.stack.last_mut() else { return };
        if &*key.text == KEY_REFUSED {
            return;
        }
        if &*key.text == "<<" {
            match &node.value {
                Value::Map(_) => return open.merges.push(node),
                Value::List(maps) if maps.iter().all(|map| map.map().is_some()) => {
                    return open.merges.extend(maps.iter().cloned());
                }
                _ => {
                    let kind = node.kind();
                    self.report(node.range, format!("`<<` merges maps, this is {kind}"), "");
                    return;
                }
            }
        }
        if let Some(first) = open.first(&key.text) {
            let text = key.text.clone();
            self.found.push(
                Diagnostic::new(format!("key `{text}` is given twice"))
                    .at(source, key.range)
                    .related("the first time here", source, first)
                    .hint("keep one of them"),
            );
            return;
        }
        open.push(key, node);
    }

    fn close(&mut self, mut open: Open, end: TextRange) -> Node {
        let range = TextRange { start: open.range.start, end: end.end.max(open.range.end) };
        for merged in std::mem::take(&mut open.merges) {
            for (key, node) in merged.map().into_iter().flat_map(|entries| entries.iter()) {
                if open.first(&key.text).is_none() {
                    open.push(key.clone(), node.clone());
                }
            }
        }
        let below = || open.items.iter().chain(open.entries.iter().map(|(_, node)| node));
        let size = below().map(|node| node.size).fold(1, u32::saturating_add)
            + u32::try_from(open.entries.len()).unwrap_or(u32::MAX);
        let height = below().map(|node| node.height + 1).max().unwrap_or(0);
        let value = match open.key {
            None => Value::List(Rc::new(open.items)),
            Some(_) => Value::Map(Rc::new(open.entries)),
        };
        Node { range, value, size, height }
    }

    fn report(&mut self, range: TextRange, message: String, hint: &str) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.found.push(Diagnostic::new(message).at(self.source, range).hint_if(hint));
    }

    fn syntax(&mut self, error: &ScanError) {
        let mut at = error.marker().byte_offset().unwrap_or(0);
        if self.source.text().get(..at).is_some_and(|before| before.ends_with('\t')) {
            at -= 1;
        }
        let width =
            self.source.text().get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let range = TextRange::new(at, at + width);
        let (message, hint) = explain(error.kind());
        self.report(range, message, hint);
    }
}

/// A syntax error in the reader's words.
fn explain(kind: &ErrorKind) -> (String, &'static str) {
    match kind {
        ErrorKind::TabInIndentation
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => {
            ("a tab stands where YAML allows only spaces".into(), "indent with two spaces")
        }
        ErrorKind::RecursionLimitExceeded => {
            (format!("nested deeper than {DEPTH_MAX} levels"), "a service file needs no more than ten")
        }
        ErrorKind::UnclosedQuotedScalar => {
            ("this quote is never closed".into(), "close it, or leave the quotes out")
        }
        ErrorKind::InvalidQuotedScalarIndent => (
            "a text in quotes goes on further left than it began".into(),
            "close its quote, or indent the lines it goes on over",
        ),
        ErrorKind::UnclosedFlowCollection { open } => (
            format!("this `{open}` is never closed"),
            "a value that starts with `{` or `[` and means text needs quotes",
        ),
        ErrorKind::MappingValueNotAllowed => (
            "a `:` stands where no key can be".into(),
            "put text that contains `: ` in quotes, or check the indentation",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::ExpectedBlockMappingKey => {
            (format!("not valid YAML: {kind}"), "each line of a map is `key: value`; check the indentation")
        }
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("`{character}` cannot start a value in YAML"), "put the value in quotes")
        }
        other => (format!("not valid YAML: {other}"), ""),
    }
}

impl Node {
    pub fn empty_map() -> Self {
        Self { range: TextRange::default(), value: Value::Map(Rc::new(Vec::new())), size: 1, height: 0 }
    }

    fn null(range: TextRange) -> Self {
        let value = Value::Scalar(Scalar { text: Rc::from(""), plain: true });
        Self { range, value, size: 1, height: 0 }
    }
}

impl Open {
    const LOOKED_THROUGH_MAX: usize = 16;

    /// Where a key stands already.
    fn first(&self, key: &str) -> Option<TextRange> {
        if self.seen.is_empty() {
            return self.entries.iter().find(|(other, _)| &*other.text == key).map(|(other, _)| other.range);
        }
        self.seen.get(key).copied()
    }

    fn push(&mut self, key: Key, node: Node) {
        if self.entries.len() == Self::LOOKED_THROUGH_MAX {
            self.seen = self.entries.iter().map(|(key, _)| (key.text.clone(), key.range)).collect();
        }
        if !self.seen.is_empty() {
            self.seen.insert(key.text.clone(), key.range);
        }
        self.entries.push((key, node));
    }

    fn new(range: TextRange, anchor: usize, key: Option<Option<Key>>) -> Self {
        Self {
            range,
            anchor,
            key,
            items: Vec::new(),
            entries: Vec::new(),
            seen: HashMap::new(),
            merges: Vec::new(),
        }
    }
}
