//! In what the cursor stands: parentheses of calls, aggregations and lists, braces, brackets.

use super::function;
use crate::{
    function::Function,
    lex::{Keyword, Kind, Token},
};

/// What is open around a place. `open` is the index of its token.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// Nothing.
    Text,
    /// Parentheses around an expression.
    Paren,
    /// The arguments of a function, counted from 0.
    Call {
        function: &'static Function,
        open: usize,
        argument: usize,
    },
    /// The arguments of an aggregation.
    Aggregate,
    /// A list of labels after `by`, `on` and the like.
    Labels {
        keyword: Keyword,
    },
    Braces {
        open: usize,
    },
    Brackets,
}

impl Scope {
    pub(super) fn is_list(kind: Kind) -> bool {
        matches!(
            kind,
            Kind::Keyword(
                Keyword::By
                    | Keyword::Without
                    | Keyword::On
                    | Keyword::Ignoring
                    | Keyword::GroupLeft
                    | Keyword::GroupRight
            )
        )
    }
}

pub(super) struct Scopes {
    stack: Vec<Scope>,
    /// What the last token closed.
    closed: Option<Scope>,
}

impl Scopes {
    pub(super) fn of(tokens: &[Token], text: &str) -> Self {
        let mut scopes = Self { stack: Vec::new(), closed: None };
        for (at, token) in tokens.iter().enumerate() {
            scopes.closed = None;
            match token.kind {
                Kind::LeftParen => scopes.stack.push(opened(tokens, at, text)),
                Kind::LeftBrace => scopes.stack.push(Scope::Braces { open: at }),
                Kind::LeftBracket => scopes.stack.push(Scope::Brackets),
                Kind::RightParen | Kind::RightBrace | Kind::RightBracket => {
                    scopes.closed = scopes.stack.pop()
                }
                Kind::Comma => {
                    if let Some(Scope::Call { argument, .. }) = scopes.stack.last_mut() {
                        *argument += 1;
                    }
                }
                _ => {}
            }
        }
        scopes
    }

    pub(super) fn innermost(&self) -> Scope {
        // Parentheses in brackets hold durations too.
        if self.stack.iter().any(|scope| matches!(scope, Scope::Brackets)) {
            return Scope::Brackets;
        }
        self.stack.last().copied().unwrap_or(Scope::Text)
    }

    pub(super) fn closed_last(tokens: &[Token], text: &str) -> Option<Scope> {
        Self::of(tokens, text).closed
    }
}

/// What the parenthesis at `open` begins.
fn opened(tokens: &[Token], open: usize, text: &str) -> Scope {
    let Some(before) = open.checked_sub(1) else {
        return Scope::Paren;
    };
    let token = tokens[before];
    match token.kind {
        Kind::Keyword(keyword) if Scope::is_list(token.kind) => Scope::Labels { keyword },
        Kind::Aggregate(_) => Scope::Aggregate,
        Kind::Identifier | Kind::Keyword(_) => {
            match text.get(token.place.start..token.place.end).and_then(function) {
                Some(function) => Scope::Call { function, open, argument: 0 },
                None => Scope::Paren,
            }
        }
        // `sum by (a) (`
        Kind::RightParen if follows_grouping(tokens, before) => Scope::Aggregate,
        _ => Scope::Paren,
    }
}

/// Whether the parenthesis closed at `close` is that of `by` or `without`.
fn follows_grouping(tokens: &[Token], close: usize) -> bool {
    let open = tokens[..close].iter().rposition(|token| token.kind == Kind::LeftParen);
    open.and_then(|open| open.checked_sub(1))
        .is_some_and(|at| matches!(tokens[at].kind, Kind::Keyword(Keyword::By | Keyword::Without)))
}
