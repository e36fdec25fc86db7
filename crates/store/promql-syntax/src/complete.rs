//! What may be typed at a place of an expression that is not finished yet.
//!
//! [`complete`] looks at the tokens before the cursor alone (and, for lists of labels, at the series
//! named behind it); it needs no tree, so that half an expression will do. It names kinds of things;
//! the caller looks up metrics, labels and values, within what [`Want`] says of the series.

use metrics_api::{METRIC_NAME, MatchOp, Matcher};

use crate::{
    ast::{AggregateOp, BinaryOp, Place, ValueType},
    function::{FUNCTIONS, Function, function},
    lex::{self, Keyword, Kind, Token, is_alpha},
    literal::unquote,
};

mod scope;

use scope::{Scope, Scopes};

/// What is expected at the cursor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Completion {
    /// What a suggestion takes the place of: the word around the cursor.
    pub replaces: Place,
    /// That word up to the cursor; suggestions begin with it.
    pub prefix: String,
    /// Kinds of things that may stand here, the likeliest first.
    pub wants: Vec<Want>,
    /// The type that the function around the cursor takes here.
    pub value_type: Option<ValueType>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    /// The name of a metric.
    Metric,
    /// One of [`FUNCTIONS`].
    Function,
    /// One of [`AggregateOp::ALL`].
    Aggregation,
    /// A label of the series that meet all of `series`.
    LabelName { series: Vec<Matcher>, in_quotes: bool },
    /// A value of `label` among the series that meet all of `series`; without quotes it needs them.
    LabelValue { label: String, series: Vec<Matcher>, in_quotes: bool },
    /// A duration such as `5m`.
    Duration,
    /// Keywords and operators.
    Words(&'static [&'static str]),
}

const MATCH_OPS: &[&str] = &["=", "!=", "=~", "!~"];
const AFTER_MATCHER: &[&str] = &[",", "}"];
const AFTER_OPERAND: &[&str] = &["and", "or", "unless", "atan2", "offset", "anchored", "smoothed"];
const GROUPING: &[&str] = &["by", "without"];
const MATCHING: &[&str] = &["on", "ignoring", "fill", "fill_left", "fill_right"];
const COMPARED: &[&str] = &["bool", "on", "ignoring", "fill", "fill_left", "fill_right"];
const MATCHING_SETS: &[&str] = &["on", "ignoring"];
const AFTER_ON: &[&str] = &["group_left", "group_right", "fill", "fill_left", "fill_right"];
const AT: &[&str] = &["start()", "end()"];
const DURATION_CALLS: &[&str] = &["step()", "range()", "min_of(", "max_of("];

/// What may stand at byte `cursor` of `text`; nothing in comments and behind what is no token.
#[must_use]
pub fn complete(text: &str, cursor: usize) -> Completion {
    let cursor = floor_char_boundary(text, cursor);
    let before = &text[..cursor];
    let lexed = lex::lex(before);
    let open_string = lexed
        .tokens
        .last()
        .filter(|last| last.kind == Kind::Error && before[last.place.start..].starts_with(['"', '\'', '`']))
        .map(|last| last.place.start + 1);
    let start = open_string.unwrap_or_else(|| {
        before.trim_end_matches(|letter| is_alpha(letter) || letter.is_ascii_digit() || letter == ':').len()
    });
    let end = match open_string {
        Some(start) => cursor + string_rest(&text[cursor..], &text[start - 1..start]),
        None => cursor + word_rest(&text[cursor..]),
    };
    let mut completion = Completion {
        replaces: Place::new(start, end),
        prefix: before[start..].to_owned(),
        ..Completion::default()
    };
    // An unfinished expression ends with a mistake at its end; one before is another matter.
    let broken = lexed.tokens.last().is_some_and(|last| last.kind == Kind::Error && last.place.start < start);
    let tokens: Vec<Token> = lexed
        .tokens
        .into_iter()
        .filter(|token| !matches!(token.kind, Kind::Eof | Kind::Error) && token.place.end <= start)
        .collect();
    let read = tokens.last().map_or(0, |last| last.place.end);
    let quote_len = usize::from(open_string.is_some());
    let in_comment =
        before[read..start - quote_len].rsplit('\n').next().is_some_and(|line| line.contains('#'));
    if in_comment || (broken && open_string.is_none()) {
        return completion;
    }
    let place = Cursor { text, tokens: &tokens, at: cursor, in_quotes: open_string.is_some() };
    completion.wants = place.wants(&completion.prefix);
    completion.value_type = place.value_type();
    completion
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn word_rest(rest: &str) -> usize {
    rest.find(|letter| !(is_alpha(letter) || char::is_ascii_digit(&letter) || letter == ':'))
        .unwrap_or(rest.len())
}

/// Up to the end of the string that the cursor is in, when it ends on the same line.
fn string_rest(rest: &str, quote: &str) -> usize {
    let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
    line.find(quote).unwrap_or(0)
}

struct Cursor<'a> {
    text: &'a str,
    /// Before the word at the cursor.
    tokens: &'a [Token],
    at: usize,
    in_quotes: bool,
}

impl Cursor<'_> {
    fn wants(&self, prefix: &str) -> Vec<Want> {
        let scopes = Scopes::of(self.tokens, self.text);
        match scopes.innermost() {
            Scope::Braces { open } => self.in_braces(open),
            Scope::Brackets if self.in_quotes => Vec::new(),
            Scope::Brackets => self.in_brackets(),
            Scope::Labels { keyword } => vec![self.label_name(self.series_of_list(keyword))],
            Scope::Call { open, argument, .. } if self.in_quotes => self.in_string(open, argument),
            _ if self.in_quotes => Vec::new(),
            _ => self.in_expression(prefix),
        }
    }

    fn value_type(&self) -> Option<ValueType> {
        let Scope::Call { function, argument, .. } = Scopes::of(self.tokens, self.text).innermost() else {
            return None;
        };
        let within = function.args_max().is_none_or(|max| argument < max);
        function.arg_type(argument).filter(|_| within)
    }

    fn last(&self) -> Option<Kind> {
        self.tokens.last().map(|token| token.kind)
    }

    fn label_name(&self, series: Vec<Matcher>) -> Want {
        Want::LabelName { series, in_quotes: self.in_quotes }
    }

    fn in_braces(&self, open: usize) -> Vec<Want> {
        let series = self.series_at(self.tokens, open);
        match self.last() {
            Some(Kind::LeftBrace | Kind::Comma) => vec![self.label_name(series)],
            Some(Kind::Equal | Kind::Matches | Kind::MatchesNot | Kind::Operator(BinaryOp::NotEqual)) => {
                let name = self.tokens.len().checked_sub(2).and_then(|at| self.name_of(self.tokens[at]));
                name.map(|label| vec![Want::LabelValue { label, series, in_quotes: self.in_quotes }])
                    .unwrap_or_default()
            }
            Some(Kind::Identifier) => vec![Want::Words(MATCH_OPS)],
            Some(Kind::String) => vec![Want::Words(AFTER_MATCHER)],
            _ => Vec::new(),
        }
    }

    fn in_brackets(&self) -> Vec<Want> {
        match self.last() {
            Some(Kind::Number | Kind::Duration | Kind::RightParen) => vec![Want::Words(&[":", "]"])],
            _ => vec![Want::Duration, Want::Words(DURATION_CALLS)],
        }
    }

    /// A string that names a label.
    fn in_string(&self, open: usize, argument: usize) -> Vec<Want> {
        let name = open.checked_sub(1).map_or("", |at| self.text_of(self.tokens[at]));
        let names_label = match name {
            "label_replace" => argument == 1 || argument == 3,
            "label_join" => argument == 1 || argument >= 3,
            "sort_by_label" | "sort_by_label_desc" => argument >= 1,
            _ => false,
        };
        if names_label { vec![self.label_name(self.first_series(&self.tokens[open..]))] } else { Vec::new() }
    }

    fn in_expression(&self, prefix: &str) -> Vec<Want> {
        let operand = [Want::Metric, Want::Function, Want::Aggregation];
        let begins_number = prefix.starts_with(|first: char| first.is_ascii_digit());
        let Some(last) = self.last() else {
            return if begins_number { Vec::new() } else { operand.to_vec() };
        };
        match last {
            Kind::Keyword(Keyword::Offset) => return vec![Want::Duration, Want::Words(DURATION_CALLS)],
            Kind::At => return vec![Want::Words(AT)],
            _ if begins_number => return Vec::new(),
            _ => {}
        }
        let words = match last {
            Kind::Operator(op) if op.is_comparison() => COMPARED,
            Kind::Operator(op) if op.is_set() => MATCHING_SETS,
            Kind::Operator(_) | Kind::Keyword(Keyword::Bool) => MATCHING,
            Kind::LeftParen | Kind::Comma => return operand.to_vec(),
            Kind::Keyword(Keyword::GroupLeft | Keyword::GroupRight) => &[],
            Kind::Aggregate(_) => return vec![Want::Words(GROUPING)],
            Kind::RightParen => return self.after_paren(operand),
            _ => return vec![Want::Words(AFTER_OPERAND)],
        };
        let mut wants = operand.to_vec();
        wants.push(Want::Words(words));
        wants
    }

    /// What a parenthesis that is closed was decides what comes.
    fn after_paren(&self, operand: [Want; 3]) -> Vec<Want> {
        match Scopes::closed_last(self.tokens, self.text) {
            Some(Scope::Labels { keyword: Keyword::On | Keyword::Ignoring }) => {
                let mut wants = operand.to_vec();
                wants.push(Want::Words(AFTER_ON));
                wants
            }
            Some(Scope::Labels { keyword: Keyword::GroupLeft | Keyword::GroupRight }) => operand.to_vec(),
            Some(Scope::Labels { .. }) => vec![Want::Words(AFTER_OPERAND)],
            Some(Scope::Aggregate) => vec![Want::Words(GROUPING), Want::Words(AFTER_OPERAND)],
            _ => vec![Want::Words(AFTER_OPERAND)],
        }
    }

    /// The series that a list of labels is about.
    fn series_of_list(&self, keyword: Keyword) -> Vec<Matcher> {
        let aggregated = matches!(keyword, Keyword::By | Keyword::Without);
        // `sum(a) by (` names its series before, `sum by (` behind.
        let opens = self.tokens.iter().rposition(|token| token.kind == Kind::LeftParen);
        let closed = opens
            .and_then(|open| open.checked_sub(2))
            .is_some_and(|at| self.tokens[at].kind == Kind::RightParen);
        if aggregated && !closed {
            let behind = &self.text[self.at..];
            let text = &behind[behind.find(')').map_or(behind.len(), |close| close + 1)..];
            let tokens = lex::lex(text).tokens;
            let rest = Cursor { text, tokens: &tokens, at: 0, in_quotes: false };
            return rest.first_series(&tokens);
        }
        self.last_series()
    }

    fn first_series(&self, tokens: &[Token]) -> Vec<Matcher> {
        let named = |at: &usize| self.is_metric(tokens, *at) || tokens[*at].kind == Kind::LeftBrace;
        let Some(at) = (0..tokens.len()).find(named) else {
            return Vec::new();
        };
        let open = if tokens[at].kind == Kind::LeftBrace { at } else { at + 1 };
        self.series_at(tokens, open)
    }

    fn last_series(&self) -> Vec<Matcher> {
        let tokens = self.tokens;
        // Names of labels in the list itself are no metrics.
        let end = tokens.iter().rposition(|token| token.kind == Kind::LeftParen).unwrap_or(0);
        match (0..end).rev().find(|at| self.is_metric(tokens, *at)) {
            Some(at) => self.series_at(tokens, at + 1),
            None => Vec::new(),
        }
    }

    /// A name outside of braces that is not called.
    fn is_metric(&self, tokens: &[Token], at: usize) -> bool {
        let names = matches!(tokens[at].kind, Kind::Identifier | Kind::MetricIdentifier);
        let called = tokens.get(at + 1).is_some_and(|next| next.kind == Kind::LeftParen);
        let in_braces = tokens[..at]
            .iter()
            .rev()
            .find(|token| matches!(token.kind, Kind::LeftBrace | Kind::RightBrace))
            .is_some_and(|token| token.kind == Kind::LeftBrace);
        let in_list = tokens[..at]
            .iter()
            .rposition(|token| token.kind == Kind::LeftParen)
            .and_then(|open| open.checked_sub(1))
            .is_some_and(|before| {
                let closed = tokens[before..at].iter().any(|token| token.kind == Kind::RightParen);
                !closed && Scope::is_list(tokens[before].kind)
            });
        names && !called && !in_braces && !in_list
    }

    /// The conditions of the selector whose brace is at `open`, those that are complete.
    fn series_at(&self, tokens: &[Token], open: usize) -> Vec<Matcher> {
        let mut series = Vec::new();
        let before = open.checked_sub(1).map(|at| tokens[at]);
        if let Some(name) = before
            && matches!(name.kind, Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_))
        {
            series.push(Matcher::equal(METRIC_NAME, self.text_of(name)));
        }
        if tokens.get(open).is_none_or(|token| token.kind != Kind::LeftBrace) {
            return series;
        }
        let inner =
            tokens[open + 1..].split(|token| token.kind == Kind::RightBrace).next().unwrap_or_default();
        for condition in inner.split(|token| token.kind == Kind::Comma) {
            match condition {
                [name, op, value] if value.kind == Kind::String => {
                    let op = match op.kind {
                        Kind::Equal => MatchOp::Equal,
                        Kind::Matches => MatchOp::Regex,
                        Kind::MatchesNot => MatchOp::NotRegex,
                        _ => MatchOp::NotEqual,
                    };
                    let named = self.name_of(*name).zip(self.name_of(*value));
                    series.extend(named.and_then(|(name, value)| Matcher::new(name, op, value).ok()));
                }
                [name] if name.kind == Kind::String => {
                    series.extend(self.name_of(*name).map(|name| Matcher::equal(METRIC_NAME, name)));
                }
                _ => {}
            }
        }
        series
    }

    fn text_of(&self, token: Token) -> &str {
        self.text.get(token.place.start..token.place.end).unwrap_or_default()
    }

    /// What a word or a string stands for.
    fn name_of(&self, token: Token) -> Option<String> {
        let text = self.text_of(token);
        if token.kind == Kind::String {
            return String::from_utf8(unquote(text).ok()?).ok();
        }
        Some(text.to_owned())
    }
}

/// Functions and aggregations that begin with `prefix`, whatever its case, in order of name.
#[must_use]
pub fn functions_with_prefix(prefix: &str) -> (Vec<&'static Function>, Vec<AggregateOp>) {
    let begins =
        |name: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let functions = FUNCTIONS.iter().filter(|function| begins(function.name)).collect();
    (functions, AggregateOp::ALL.into_iter().filter(|op| begins(op.as_str())).collect())
}

#[cfg(test)]
mod tests;
