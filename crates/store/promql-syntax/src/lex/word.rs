//! Words with a meaning, found whatever their case, and how tokens are called in messages.

use super::{Kind, Token};
use crate::{
    ast::{AggregateOp, BinaryOp},
    literal::quote,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

const KEYWORDS: [(&str, Keyword); 19] = [
    ("offset", Keyword::Offset),
    ("smoothed", Keyword::Smoothed),
    ("anchored", Keyword::Anchored),
    ("by", Keyword::By),
    ("without", Keyword::Without),
    ("on", Keyword::On),
    ("ignoring", Keyword::Ignoring),
    ("group_left", Keyword::GroupLeft),
    ("group_right", Keyword::GroupRight),
    ("fill", Keyword::Fill),
    ("fill_left", Keyword::FillLeft),
    ("fill_right", Keyword::FillRight),
    ("bool", Keyword::Bool),
    ("start", Keyword::Start),
    ("end", Keyword::End),
    ("step", Keyword::Step),
    ("range", Keyword::Range),
    ("min_of", Keyword::MinOf),
    ("max_of", Keyword::MaxOf),
];

const OPERATORS: [BinaryOp; 4] = [BinaryOp::And, BinaryOp::Or, BinaryOp::Unless, BinaryOp::Atan2];

impl Keyword {
    pub(crate) fn find(word: &str) -> Option<Self> {
        KEYWORDS.iter().find(|known| known.0.eq_ignore_ascii_case(word)).map(|known| known.1)
    }

    /// What may be called in a duration, and also as a function.
    pub(crate) fn is_duration_function(self) -> bool {
        matches!(self, Self::Step | Self::Range | Self::MinOf | Self::MaxOf)
    }

    pub(crate) fn is_fill(self) -> bool {
        matches!(self, Self::Fill | Self::FillLeft | Self::FillRight)
    }

    /// Whether a metric may be called so without quotes.
    pub(crate) fn may_name_metric(self) -> bool {
        matches!(
            self,
            Self::Offset
                | Self::Smoothed
                | Self::Anchored
                | Self::By
                | Self::Without
                | Self::Start
                | Self::End
        ) || self.is_duration_function()
    }

    /// Called like a function outside of durations: `start()`.
    pub(crate) fn may_name_function(self) -> bool {
        matches!(self, Self::Start | Self::End) || self.is_duration_function()
    }
}

/// What `word` means, unless it is just a name.
pub(super) fn find(word: &str) -> Option<Kind> {
    if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") {
        return Some(Kind::Number);
    }
    let operator = OPERATORS.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(word));
    let aggregate = || AggregateOp::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(word));
    operator
        .map(Kind::Operator)
        .or_else(|| aggregate().map(Kind::Aggregate))
        .or_else(|| Keyword::find(word).map(Kind::Keyword))
}

/// How a token is called in a message.
pub(crate) fn describe(token: &Token, text: &str) -> String {
    let value = &text[token.place.start..token.place.end];
    match token.kind {
        Kind::Eof => "end of input".to_owned(),
        Kind::Error => "error".to_owned(),
        Kind::Operator(_) | Kind::Matches | Kind::MatchesNot | Kind::At => format!("<op:{value}>"),
        Kind::Aggregate(_) => format!("<aggr:{value}>"),
        Kind::Keyword(word) if word.may_name_function() => quote(value.as_bytes()),
        Kind::Keyword(_) => format!("<{value}>"),
        Kind::Identifier => format!("identifier {}", quote(value.as_bytes())),
        Kind::MetricIdentifier => format!("metric identifier {}", quote(value.as_bytes())),
        Kind::String => format!("string {}", shortened(value)),
        Kind::Number => format!("number {}", shortened(value)),
        Kind::Duration => format!("duration {}", shortened(value)),
        _ => quote(value.as_bytes()),
    }
}

fn shortened(value: &str) -> String {
    const LETTERS_MAX: usize = 10;
    match value.char_indices().nth(LETTERS_MAX) {
        Some((at, _)) if value.len() > LETTERS_MAX => format!("{}...", quote(&value.as_bytes()[..at])),
        _ => quote(value.as_bytes()),
    }
}
