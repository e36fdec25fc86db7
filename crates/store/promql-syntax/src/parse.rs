//! Text to tree: a hand-written descent over the tokens of [`crate::lex`], then the check of types.
//!
//! Upstream's parser is generated from a grammar; where that grammar has conflicts, what their
//! resolution accepts is part of the language (`a offset 1m + 2` adds 2 to the vector) and is done
//! here on purpose.

use std::fmt;

use base::{Class, Fault};
use metrics_api::{Labels, Matcher};

use crate::{
    ast::{Expr, Place},
    check,
    lex::{self, Keyword, Kind, Token},
    literal,
};

mod duration;
mod expr;
mod postfix;
mod selector;

/// How high a tree may be. Code that walks trees may recurse: this keeps it off the end of its stack.
pub const NESTING_DEPTH_MAX: usize = 200;
/// Length of an expression's text.
pub const EXPRESSION_BYTES_MAX: usize = 256 << 10;
/// How many mistakes are told of one expression.
pub const ERRORS_MAX: usize = 20;

/// One mistake in the text of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub place: Place,
    /// As upstream says it, without place.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1, as upstream counts.
    pub column: usize,
}

/// `1:5: parse error: …`, as upstream's API answers.
impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.message)
    }
}

/// All mistakes found, at least one, in the order in which they were found; shows itself as the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseErrors(Vec<ParseError>);

impl ParseErrors {
    /// All of them, at most [`ERRORS_MAX`].
    #[must_use]
    pub fn errors(&self) -> &[ParseError] {
        &self.0
    }
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.first().map_or(Ok(()), |first| fmt::Display::fmt(first, f))
    }
}
impl std::error::Error for ParseErrors {}

impl Fault for ParseErrors {
    fn code(&self) -> &'static str {
        "promql.parse"
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
}

/// Reads an expression and checks its types.
///
/// # Errors
/// Every mistake found; text over [`EXPRESSION_BYTES_MAX`], trees over [`NESTING_DEPTH_MAX`].
pub fn parse(text: &str) -> Result<Expr, ParseErrors> {
    let mut parser = Parser::new(text)?;
    if parser.kind() == Kind::Eof {
        parser.error(Place::default(), "no expression found in input");
        return Err(parser.errors());
    }
    let parsed = parser.expression(0).and_then(|tall| parser.end().map(|()| *tall.node));
    match parsed {
        Ok(mut expr) if parser.errors.is_empty() => {
            check::check(&mut expr, &mut parser);
            if parser.errors.is_empty() { Ok(expr) } else { Err(parser.errors()) }
        }
        _ => Err(parser.errors()),
    }
}

/// Reads one selector without range, as `match[]` of the HTTP API takes it, and gives its conditions.
/// Unlike in an expression, conditions that every series meets are allowed.
///
/// # Errors
/// As [`parse`].
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseErrors> {
    let mut parser = Parser::new(text)?;
    let parsed = parser.vector_selector().and_then(|selector| parser.end().map(|()| selector.matchers));
    match parsed {
        Ok(matchers) if parser.errors.is_empty() => Ok(matchers),
        _ => Err(parser.errors()),
    }
}

/// Reads the labels of one series, `name{label="value"}`, as upstream writes them.
///
/// # Errors
/// As [`parse`].
pub fn parse_metric(text: &str) -> Result<Labels, ParseErrors> {
    let mut parser = Parser::new(text)?;
    let parsed = parser.labels().and_then(|labels| parser.end().map(|()| labels));
    match parsed {
        Ok(labels) if parser.errors.is_empty() => Ok(labels),
        _ => Err(parser.errors()),
    }
}

/// Ends the descent; what is wrong has been noted.
#[derive(Debug)]
struct Abort;
type Parsed<T> = Result<T, Abort>;

/// A node, and how many nodes are on the longest way down from it.
struct Tall<T> {
    node: T,
    height: usize,
}

impl<T> Tall<T> {
    fn leaf(node: T) -> Self {
        Self { node, height: 1 }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    lex_error: Option<String>,
    errors: Vec<ParseError>,
    depth: usize,
    /// Productions around the current place that have a message of their own for what is unexpected:
    /// its context, and what was expected.
    contexts: Vec<(&'static str, &'static str)>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, ParseErrors> {
        if text.len() > EXPRESSION_BYTES_MAX {
            let message = format!("expression is longer than {EXPRESSION_BYTES_MAX} bytes");
            let place = Place::new(0, text.len());
            return Err(ParseErrors(vec![ParseError { place, message, line: 1, column: 1 }]));
        }
        let lexed = lex::lex(text);
        Ok(Self {
            text,
            tokens: lexed.tokens,
            at: 0,
            lex_error: lexed.error,
            errors: Vec::new(),
            depth: 0,
            contexts: Vec::new(),
        })
    }

    /// What is wrong; said of the text as a whole when nothing was noted.
    fn errors(mut self) -> ParseErrors {
        self.note_lex_error();
        if self.errors.is_empty() {
            self.error(Place::default(), "unexpected error");
        }
        ParseErrors(self.errors)
    }

    fn error(&mut self, place: Place, message: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            let (line, column) = place.line_column(self.text);
            self.errors.push(ParseError { place, message: message.into(), line, column });
        }
    }

    fn note_lex_error(&mut self) {
        if let (Some(message), Some(last)) = (self.lex_error.take(), self.tokens.last()) {
            self.error(last.place, message);
        }
    }

    fn token(&self) -> Token {
        let end = Token { kind: Kind::Eof, place: Place::new(self.text.len(), self.text.len()) };
        self.tokens.get(self.at).or(self.tokens.last()).copied().unwrap_or(end)
    }

    fn kind(&self) -> Kind {
        self.token().kind
    }

    fn next_kind(&self) -> Kind {
        self.tokens.get(self.at + 1).map_or(Kind::Eof, |token| token.kind)
    }

    fn is_keyword(&self, word: Keyword) -> bool {
        self.kind() == Kind::Keyword(word)
    }

    /// Takes the current token; the last one stays.
    fn take(&mut self) -> Token {
        let token = self.token();
        if !matches!(token.kind, Kind::Eof | Kind::Error) {
            self.at += 1;
        }
        token
    }

    fn accept(&mut self, kind: Kind) -> Option<Token> {
        (self.kind() == kind).then(|| self.take())
    }

    fn accept_keyword(&mut self, word: Keyword) -> bool {
        self.accept(Kind::Keyword(word)).is_some()
    }

    fn expect(&mut self, kind: Kind) -> Parsed<Token> {
        match self.accept(kind) {
            Some(token) => Ok(token),
            None => Err(self.unexpected()),
        }
    }

    fn text_of(&self, token: Token) -> &'a str {
        &self.text[token.place.start..token.place.end]
    }

    /// The end of what was taken last.
    fn taken_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(0, |token| token.place.end)
    }

    fn end(&mut self) -> Parsed<()> {
        if self.kind() == Kind::Eof { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Notes the current token as unexpected, in the words of the innermost context.
    fn unexpected(&mut self) -> Abort {
        let (context, expected) = self.contexts.last().copied().unwrap_or(("", ""));
        self.unexpected_in(context, expected)
    }

    fn unexpected_in(&mut self, context: &str, expected: &str) -> Abort {
        if self.kind() == Kind::Error {
            self.note_lex_error();
            return Abort;
        }
        let token = self.token();
        let mut message = format!("unexpected {}", lex::word::describe(&token, self.text));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.error(token.place, message);
        Abort
    }

    /// Runs `body` with a context for what is unexpected in it.
    fn within<T>(
        &mut self,
        context: &'static str,
        expected: &'static str,
        body: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        self.contexts.push((context, expected));
        let result = body(self);
        self.contexts.pop();
        result
    }

    /// Runs `body` one level deeper.
    fn deeper<T>(&mut self, body: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= NESTING_DEPTH_MAX {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    fn too_deep(&mut self) -> Abort {
        let place = self.token().place;
        self.error(place, format!("expression is nested more than {NESTING_DEPTH_MAX} deep"));
        Abort
    }

    /// The height of a node above others of `heights`.
    fn above(&mut self, heights: impl IntoIterator<Item = usize>) -> Parsed<usize> {
        let height = heights.into_iter().max().unwrap_or(0) + 1;
        if height > NESTING_DEPTH_MAX { Err(self.too_deep()) } else { Ok(height) }
    }

    /// The bytes of a string token.
    fn unquote(&mut self, token: Token) -> Vec<u8> {
        let text = self.text_of(token);
        literal::unquote(text).unwrap_or_else(|why| {
            let quoted = literal::quote(text.as_bytes());
            self.error(token.place, format!("error unquoting string {quoted}: {why}"));
            Vec::new()
        })
    }

    /// The text of a string token that names something or is compared with labels, which are UTF-8.
    fn unquote_text(&mut self, token: Token) -> String {
        String::from_utf8(self.unquote(token)).unwrap_or_else(|why| {
            let quoted = literal::quote(why.as_bytes());
            self.error(token.place, format!("invalid UTF-8 in string {quoted}"));
            String::new()
        })
    }
}

impl check::Report for Parser<'_> {
    fn mistake(&mut self, place: Place, message: String) {
        self.error(place, message);
    }

    fn between(&self, left: Place, right: Place) -> Place {
        let between = self.text.get(left.end..right.start).unwrap_or_default();
        let start = left.end + (between.len() - between.trim_start().len());
        Place::new(start, start + between.trim().len())
    }
}

#[cfg(test)]
mod tests;
