//! Selectors of series, and lists of labels.

use metrics_api::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use super::{Parsed, Parser};
use crate::{
    ast::{BinaryOp, Place, VectorSelector},
    lex::{Kind, Token},
    literal::quote,
};

const MATCHING: &str = "label matching";
const GROUPING: &str = "grouping opts";

fn is_metric_name(kind: Kind) -> bool {
    match kind {
        Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) => true,
        Kind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => true,
        Kind::Keyword(word) => word.may_name_metric(),
        _ => false,
    }
}

fn is_label(kind: Kind) -> bool {
    is_metric_name(kind) || matches!(kind, Kind::Keyword(_) | Kind::Operator(BinaryOp::Atan2))
}

impl Parser<'_> {
    pub(super) fn vector_selector(&mut self) -> Parsed<VectorSelector> {
        let first = self.token();
        let mut selector = VectorSelector {
            name: String::new(),
            matchers: Vec::new(),
            offset: None,
            at: None,
            extended: None,
            place: first.place,
        };
        if is_metric_name(first.kind) {
            self.take();
            self.text_of(first).clone_into(&mut selector.name);
        } else if first.kind != Kind::LeftBrace {
            return Err(self.unexpected());
        }
        if self.kind() == Kind::LeftBrace {
            selector.matchers = self.matchers()?;
            selector.place.end = self.taken_end();
        }
        if !selector.name.is_empty() {
            selector.matchers.push(Matcher::equal(METRIC_NAME, selector.name.clone()));
        }
        Ok(selector)
    }

    /// A selector in which every label has one value.
    pub(super) fn labels(&mut self) -> Parsed<Labels> {
        let selector = self.vector_selector()?;
        let mut labels = LabelsBuilder::default();
        for matcher in &selector.matchers {
            if matcher.op != MatchOp::Equal {
                self.error(selector.place, format!("unexpected {} in label set, expected \"=\"", matcher.op));
            }
            labels.set(&matcher.name, &matcher.value);
        }
        Ok(labels.build())
    }

    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        self.take();
        let mut matchers = Vec::new();
        while self.accept(Kind::RightBrace).is_none() {
            matchers.extend(self.matcher()?);
            if self.accept(Kind::Comma).is_none() && self.kind() != Kind::RightBrace {
                return Err(self.unexpected_in(MATCHING, "\",\" or \"}\""));
            }
        }
        Ok(matchers)
    }

    /// One condition; `None` when it is wrong and the mistake is noted.
    fn matcher(&mut self) -> Parsed<Option<Matcher>> {
        let name = self.token();
        let label = match name.kind {
            Kind::Identifier => {
                self.take();
                self.text_of(name).to_owned()
            }
            Kind::String => {
                self.take();
                let label = self.unquote_text(name);
                if matches!(self.kind(), Kind::Comma | Kind::RightBrace) {
                    return Ok(Some(Matcher::equal(METRIC_NAME, label)));
                }
                label
            }
            _ => return Err(self.unexpected_in(MATCHING, "identifier or \"}\"")),
        };
        let op = match self.kind() {
            Kind::Equal => MatchOp::Equal,
            Kind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::Matches => MatchOp::Regex,
            Kind::MatchesNot => MatchOp::NotRegex,
            _ if name.kind == Kind::String => {
                return Err(self.unexpected_in(MATCHING, "\",\" or \"}\""));
            }
            _ => return Err(self.unexpected_in(MATCHING, "label matching operator")),
        };
        self.take();
        let Some(value) = self.accept(Kind::String) else {
            return Err(self.unexpected_in(MATCHING, "string"));
        };
        let text = self.unquote_text(value);
        Ok(self.new_matcher(label, op, text, name.place.to(value.place)))
    }

    fn new_matcher(&mut self, label: String, op: MatchOp, value: String, place: Place) -> Option<Matcher> {
        match Matcher::new(label, op, value) {
            Ok(matcher) => Some(matcher),
            Err(why) => {
                self.error(place, why.to_string());
                None
            }
        }
    }

    /// `(a, b, "c d",)`
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        if self.accept(Kind::LeftParen).is_none() {
            return Err(self.unexpected_in(GROUPING, "\"(\""));
        }
        let mut labels = Vec::new();
        while self.accept(Kind::RightParen).is_none() {
            let token: Token = self.token();
            let label = if token.kind == Kind::String {
                self.take();
                let label = self.unquote_text(token);
                if label.is_empty() {
                    let quoted = quote(label.as_bytes());
                    self.error(token.place, format!("invalid label name for grouping: {quoted}"));
                }
                label
            } else if is_label(token.kind) {
                self.take();
                self.text_of(token).to_owned()
            } else {
                return Err(self.unexpected_in(GROUPING, "label"));
            };
            labels.push(label);
            if self.accept(Kind::Comma).is_none() && self.kind() != Kind::RightParen {
                return Err(self.unexpected_in(GROUPING, "\",\" or \")\""));
            }
        }
        Ok(labels)
    }
}
