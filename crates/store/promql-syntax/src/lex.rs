//! Text to tokens.
//!
//! Three modes, as upstream: expressions, inside `{}` where words are label names, and inside `[]`
//! where only durations stand. All tokens are made at once; at the first thing that is no token they
//! end with [`Kind::Error`].

use crate::{
    ast::{AggregateOp, BinaryOp, Place},
    literal::quote,
};

pub(crate) mod word;

pub(crate) use word::Keyword;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Eof,
    /// What is wrong is in [`Lexed::error`].
    Error,
    Identifier,
    /// A name with colons, which no label has.
    MetricIdentifier,
    Keyword(Keyword),
    Aggregate(AggregateOp),
    Number,
    Duration,
    String,
    Operator(BinaryOp),
    /// `=`
    Equal,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    At,
    Comma,
    Colon,
    DoubleColon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub place: Place,
}

#[derive(Debug)]
pub(crate) struct Lexed {
    /// The last is [`Kind::Eof`] or [`Kind::Error`].
    pub tokens: Vec<Token>,
    pub error: Option<String>,
}

/// All tokens of `text`, comments left out.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut lexer =
        Lexer { text, at: 0, start: 0, tokens: Vec::new(), parens: 0, brace: false, bracket: Bracket::No };
    let error = loop {
        match lexer.step() {
            Ok(true) => {}
            Ok(false) => break None,
            Err(why) => break Some(why),
        }
    };
    let kind = if error.is_some() { Kind::Error } else { Kind::Eof };
    let start = if error.is_some() { lexer.start } else { text.len() };
    lexer.tokens.push(Token { kind, place: Place::new(start, text.len()) });
    Lexed { tokens: lexer.tokens, error }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    No,
    Open,
    /// After `:`.
    Step,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Of the token being read.
    start: usize,
    tokens: Vec<Token>,
    parens: usize,
    brace: bool,
    bracket: Bracket,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn peek_is(&self, wanted: char) -> bool {
        self.peek() == Some(wanted)
    }

    fn take(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&fits) {
            self.take();
        }
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek_is(wanted);
        if found {
            self.take();
        }
        found
    }

    fn emit(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, place: Place::new(self.start, self.at) });
    }

    /// Reads one token or skips what is none; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        self.take_while(is_space);
        self.start = self.at;
        if self.accept('#') {
            self.take_while(|letter| letter != '\n' && letter != '\r');
            return Ok(true);
        }
        let Some(letter) = self.take() else {
            return self.finish();
        };
        let kind = if self.brace {
            self.in_braces(letter)?
        } else if self.bracket != Bracket::No {
            self.in_brackets(letter)?
        } else {
            self.outside(letter)?
        };
        self.emit(kind);
        Ok(true)
    }

    fn finish(&self) -> Result<bool, String> {
        let why = if self.brace {
            "unexpected end of input inside braces"
        } else if self.bracket != Bracket::No && !self.bracket_has_number() {
            "unexpected end of input in duration expression"
        } else if self.parens > 0 {
            "unclosed left parenthesis"
        } else if self.bracket != Bracket::No {
            "unclosed left bracket"
        } else {
            return Ok(false);
        };
        Err(why.to_owned())
    }

    /// Upstream words mistakes in brackets otherwise after the first number.
    fn bracket_has_number(&self) -> bool {
        let inner = self.tokens.iter().rev().take_while(|token| token.kind != Kind::LeftBracket);
        inner.into_iter().any(|token| matches!(token.kind, Kind::Number | Kind::Duration))
    }

    fn outside(&mut self, letter: char) -> Result<Kind, String> {
        Ok(match letter {
            '{' => {
                self.brace = true;
                Kind::LeftBrace
            }
            '[' => {
                self.bracket = Bracket::Open;
                Kind::LeftBracket
            }
            ']' => return Err(format!("unexpected right bracket {}", quote_char(letter))),
            '}' => return Err(format!("unexpected character: {}", quote_char(letter))),
            '@' => Kind::At,
            '=' if self.accept('=') => Kind::Operator(BinaryOp::Equal),
            '=' if self.peek_is('~') => {
                return Err("unexpected character after '=': '~'".to_owned());
            }
            '=' => Kind::Equal,
            '!' if self.accept('=') => Kind::Operator(BinaryOp::NotEqual),
            '!' => {
                let next = self.peek().map_or_else(|| "end of input".to_owned(), quote_char);
                return Err(format!("unexpected character after '!': {next}"));
            }
            '<' if self.accept('=') => Kind::Operator(BinaryOp::LessOrEqual),
            '<' if self.accept('/') => Kind::Operator(BinaryOp::TrimUpper),
            '<' => Kind::Operator(BinaryOp::Less),
            '>' if self.accept('=') => Kind::Operator(BinaryOp::GreaterOrEqual),
            '>' if self.accept('/') => Kind::Operator(BinaryOp::TrimLower),
            '>' => Kind::Operator(BinaryOp::Greater),
            '"' | '\'' | '`' => self.string(letter)?,
            _ if is_alpha(letter) || letter == ':' => self.word(),
            _ => match self.shared(letter)? {
                Some(kind) => kind,
                None => return Err(format!("unexpected character: {}", quote_char(letter))),
            },
        })
    }

    /// What stands in expressions and in brackets alike.
    fn shared(&mut self, letter: char) -> Result<Option<Kind>, String> {
        Ok(Some(match letter {
            ',' => Kind::Comma,
            '*' => Kind::Operator(BinaryOp::Mul),
            '/' => Kind::Operator(BinaryOp::Div),
            '%' => Kind::Operator(BinaryOp::Mod),
            '+' => Kind::Operator(BinaryOp::Add),
            '-' => Kind::Operator(BinaryOp::Sub),
            '^' => Kind::Operator(BinaryOp::Pow),
            '(' => {
                self.parens += 1;
                Kind::LeftParen
            }
            ')' => {
                let Some(parens) = self.parens.checked_sub(1) else {
                    // Upstream says it behind the parenthesis.
                    self.start = self.at;
                    return Err(format!("unexpected right parenthesis {}", quote_char(letter)));
                };
                self.parens = parens;
                Kind::RightParen
            }
            _ if letter.is_ascii_digit() => self.number()?,
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => self.number()?,
            _ => return Ok(None),
        }))
    }

    fn in_braces(&mut self, letter: char) -> Result<Kind, String> {
        Ok(match letter {
            ',' => Kind::Comma,
            '"' | '\'' | '`' => self.string(letter)?,
            '=' if self.accept('~') => Kind::Matches,
            '=' => Kind::Equal,
            '!' if self.accept('~') => Kind::MatchesNot,
            '!' if self.accept('=') => Kind::Operator(BinaryOp::NotEqual),
            '!' => {
                let next = self.peek().map_or_else(|| "end of input".to_owned(), quote_char);
                return Err(format!("unexpected character after '!' inside braces: {next}"));
            }
            '{' => return Err(format!("unexpected left brace {}", quote_char(letter))),
            '}' => {
                self.brace = false;
                Kind::RightBrace
            }
            _ if is_alpha(letter) => {
                self.take_while(|next| is_alpha(next) || next.is_ascii_digit());
                Kind::Identifier
            }
            _ => return Err(format!("unexpected character inside braces: {}", quote_char(letter))),
        })
    }

    fn in_brackets(&mut self, letter: char) -> Result<Kind, String> {
        Ok(match letter {
            ']' => {
                self.bracket = Bracket::No;
                Kind::RightBracket
            }
            '[' => return Err(format!("unexpected left bracket {}", quote_char(letter))),
            ':' => {
                if self.bracket == Bracket::Step {
                    return Err("unexpected repeated colon in duration expression".to_owned());
                }
                if self.tokens.last().is_some_and(|last| last.kind == Kind::LeftBracket) {
                    return Err("unexpected colon before duration in duration expression".to_owned());
                }
                self.bracket = Bracket::Step;
                if self.accept(':') { Kind::DoubleColon } else { Kind::Colon }
            }
            _ if is_alpha(letter) => {
                self.take_while(|next| is_alpha(next) || next.is_ascii_digit());
                match Keyword::find(&self.text[self.start..self.at]) {
                    Some(word) if word.is_duration_function() => Kind::Keyword(word),
                    _ if self.bracket_has_number() => {
                        return Err(format!("unexpected character: {}, expected ':'", quote_char(letter)));
                    }
                    _ => return Err(in_duration(letter)),
                }
            }
            _ => self.shared(letter)?.ok_or_else(|| in_duration(letter))?,
        })
    }

    fn word(&mut self) -> Kind {
        self.take_while(|next| is_alpha(next) || next.is_ascii_digit() || next == ':');
        let word = &self.text[self.start..self.at];
        match word::find(word) {
            // A metric may be called so; it is the modifier only before a parenthesis.
            Some(Kind::Keyword(fill)) if fill.is_fill() && !self.paren_follows() => Kind::Identifier,
            Some(kind) => kind,
            None if word.contains(':') => Kind::MetricIdentifier,
            None => Kind::Identifier,
        }
    }

    fn paren_follows(&self) -> bool {
        self.text[self.at..].trim_start_matches(is_space).starts_with('(')
    }

    /// A number or a duration; the first letter is taken.
    fn number(&mut self) -> Result<Kind, String> {
        let found = scan_number(&self.text[self.start..], false);
        if let Some(len) = found.len {
            self.at = self.start + len;
            return Ok(Kind::Number);
        }
        let rest = &self.text[self.start..];
        let read = match scan_duration(rest, found.read) {
            Ok(len) => {
                self.at = self.start + len;
                return Ok(Kind::Duration);
            }
            Err(read) => rest.get(..read).unwrap_or(rest),
        };
        Err(format!("bad number or duration syntax: {}", quote(read.as_bytes())))
    }

    /// A string whose opening quote is taken. Escapes are looked at later.
    fn string(&mut self, open: char) -> Result<Kind, String> {
        let raw = open == '`';
        loop {
            match self.take() {
                None if raw => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some('\n') if !raw => return Err("unterminated quoted string".to_owned()),
                Some('\\') if !raw => match self.take() {
                    None => return Err("escape sequence not terminated".to_owned()),
                    Some(letter) if "abfnrtv\\".contains(letter) || letter == open => {}
                    Some(letter) if "xuU01234567".contains(letter) => self.escaped_digits(letter)?,
                    Some(letter) => {
                        return Err(format!("unknown escape sequence {}", with_code(letter)));
                    }
                },
                Some(letter) if letter == open => return Ok(Kind::String),
                Some(_) => {}
            }
        }
    }
}

impl Lexer<'_> {
    /// The digits of an escape whose letter is taken.
    fn escaped_digits(&mut self, letter: char) -> Result<(), String> {
        let (mut value, count, radix, max) = match letter {
            'x' => (0, 2, 16, 0xff),
            'u' => (0, 4, 16, 0x0010_ffff),
            'U' => (0, 8, 16, 0x0010_ffff),
            _ => (letter.to_digit(8).unwrap_or(0), 2, 8, 0xff),
        };
        for _ in 0..count {
            let next = self.peek().ok_or("escape sequence not terminated")?;
            let Some(digit) = next.to_digit(radix) else {
                return Err(format!("illegal character {} in escape sequence", with_code(next)));
            };
            value = u32::saturating_add(u32::saturating_mul(value, radix), digit);
            self.take();
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }
}

/// A letter with its code, as Go's `%#U` writes it.
fn with_code(letter: char) -> String {
    format!("U+{:04X} '{letter}'", letter as u32)
}

fn in_duration(letter: char) -> String {
    format!("unexpected character in duration expression: {}", quote_char(letter))
}

/// A letter in single quotes, escaped as in a string.
pub(crate) fn quote_char(letter: char) -> String {
    let mut buffer = [0; 4];
    match letter {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        _ => {
            let quoted = quote(letter.encode_utf8(&mut buffer).as_bytes());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

pub(crate) fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

/// A letter that a name may begin with.
#[must_use]
pub fn is_alpha(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphabetic()
}

/// How much of a text is a number.
#[derive(Debug, Clone, Copy)]
pub struct Scanned {
    /// Of the number, when it is one.
    pub len: Option<usize>,
    /// How far was read, for messages.
    pub read: usize,
}

/// The number at the start of `text`. In the series of a script (`series`) there are no hexadecimal
/// numbers and an `x` may follow.
#[must_use]
pub fn scan_number(text: &str, series: bool) -> Scanned {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut at = 0;
    let hex = !series && byte(0) == b'0' && byte(1) | 0x20 == b'x';
    if hex {
        at = 2;
        while byte(at).is_ascii_hexdigit() || (byte(at) == b'_' && byte(at + 1).is_ascii_hexdigit()) {
            at += 1;
        }
    } else {
        let digits = |mut at: usize| {
            let first = at;
            while byte(at).is_ascii_digit()
                || (byte(at) == b'_' && at > first && byte(at - 1) != b'_' && byte(at + 1).is_ascii_digit())
            {
                at += 1;
            }
            at
        };
        at = digits(at);
        if byte(at) == b'.' {
            at = digits(at + 1);
        }
        if byte(at) | 0x20 == b'e' {
            let sign = usize::from(matches!(byte(at + 1), b'+' | b'-'));
            if byte(at + 1 + sign).is_ascii_digit() {
                at = digits(at + 1 + sign);
            }
        }
    }
    let next = byte(at);
    let ends = !(next.is_ascii_alphanumeric() || next == b'_' || next == b'.') || (series && next == b'x');
    let some = at > if hex { 2 } else { 0 } && bytes.get(..at).is_some_and(|read| read != b".");
    let read = at + usize::from(next == b'.');
    Scanned { len: (ends && some).then_some(at), read }
}

/// The duration at the start of `text`: digits and units in turn. Whether the units are good is looked
/// at later.
///
/// # Errors
/// How far was read, for messages; at least `read`.
fn scan_duration(text: &str, read: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut at = 0;
    while byte(at).is_ascii_digit() {
        while byte(at).is_ascii_digit() {
            at += 1;
        }
        if !b"smhdwy".contains(&byte(at)) {
            return Err(at.max(read));
        }
        at += 1;
        if byte(at) == b's' {
            at += 1;
        }
    }
    let next = byte(at);
    let ends = !next.is_ascii_alphanumeric() && next != b'_';
    if at > 0 && ends { Ok(at) } else { Err(read.max(at + usize::from(!ends))) }
}
