//! What follows an expression: brackets, `offset`, `@`, `anchored`, `smoothed`.

use super::{Parsed, Parser, Tall};
use crate::{
    ast::{At, DurationExpr, Expr, Extended, MatrixSelector, Place, Subquery, VectorSelector},
    lex::{Keyword, Kind, Token},
    literal::format_number,
};

const DURATION: &str = "number, duration, step(), or range()";

/// Beyond it seconds in a float do not hold every millisecond. Upstream goes on to 64 bits, where there is
/// no sample either.
const TIMESTAMP_MS_MAX: f64 = 4e15;

/// What of an expression `offset` and `@` set.
struct Modified<'a> {
    offset: &'a mut Option<DurationExpr>,
    at: &'a mut Option<At>,
    place: &'a mut Place,
}

fn modified(expr: &mut Expr) -> Option<Modified<'_>> {
    match expr {
        Expr::Vector(node) => {
            Some(Modified { offset: &mut node.offset, at: &mut node.at, place: &mut node.place })
        }
        Expr::Matrix(node) => Some(Modified {
            offset: &mut node.selector.offset,
            at: &mut node.selector.at,
            place: &mut node.place,
        }),
        Expr::Subquery(node) => {
            Some(Modified { offset: &mut node.offset, at: &mut node.at, place: &mut node.place })
        }
        _ => None,
    }
}

impl Parser<'_> {
    /// A primary expression with all that follows it.
    pub(super) fn with_postfixes(&mut self) -> Parsed<Tall<Box<Expr>>> {
        let mut expr = self.primary()?;
        loop {
            match self.kind() {
                Kind::LeftBracket => expr = self.bracket(expr)?,
                Kind::Keyword(Keyword::Offset) => self.offset(&mut expr.node)?,
                Kind::At => self.at_modifier(&mut expr.node)?,
                Kind::Keyword(word @ (Keyword::Anchored | Keyword::Smoothed)) => {
                    self.take();
                    self.extend(&mut expr.node, word);
                }
                _ => return Ok(expr),
            }
        }
    }

    fn bracket(&mut self, expr: Tall<Box<Expr>>) -> Parsed<Tall<Box<Expr>>> {
        let open = self.take();
        let range = self.within("subquery or range selector", DURATION, Self::positive_duration)?;
        let colon = self.kind();
        if !matches!(colon, Kind::Colon | Kind::DoubleColon) {
            let Some(close) = self.accept(Kind::RightBracket) else {
                return Err(self.unexpected_in("subquery or range", "\":\" or \"]\""));
            };
            return self.matrix(expr, range, open, close);
        }
        self.take();
        let mut step = None;
        if self.kind() != Kind::RightBracket {
            let expected = "number, duration, step(), range(), or \"]\"";
            step = Some(self.within("subquery selector", expected, Self::positive_duration)?);
        }
        let Some(close) = self.accept(Kind::RightBracket) else {
            return Err(self.unexpected_in("subquery selector", "\"]\""));
        };
        let height = self.above([expr.height])?;
        let place = expr.node.place().to(close.place);
        let aligned = colon == Kind::DoubleColon;
        let expr = expr.node;
        let subquery = Subquery { expr, range, step, aligned, offset: None, at: None, place };
        Ok(Tall { node: Box::new(Expr::Subquery(subquery)), height })
    }

    fn matrix(
        &mut self,
        expr: Tall<Box<Expr>>,
        range: DurationExpr,
        open: Token,
        close: Token,
    ) -> Parsed<Tall<Box<Expr>>> {
        let place = expr.node.place().to(close.place);
        let message = match &*expr.node {
            Expr::Vector(selector) if selector.offset.is_some() => "no offset modifiers allowed before range",
            Expr::Vector(selector) if selector.at.is_some() => "no @ modifiers allowed before range",
            Expr::Vector(_) => "",
            _ => "ranges only allowed for vector selectors",
        };
        if !message.is_empty() {
            self.error(open.place.to(close.place), message);
        }
        let height = expr.height;
        let node = match *expr.node {
            Expr::Vector(selector) => Expr::Matrix(MatrixSelector { selector, range, place }),
            // The mistake is noted; goes on with what there is.
            other => other,
        };
        Ok(Tall { node: Box::new(node), height })
    }

    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.take();
        let offset = self.within("offset", DURATION, Self::offset_duration)?;
        let end = self.taken_end();
        let place = expr.place();
        match modified(expr) {
            None => self.error(
                place,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(found) if found.offset.is_some() => {
                self.error(place, "offset may not be set multiple times");
            }
            Some(found) => {
                *found.offset = offset;
                found.place.end = end;
            }
        }
        Ok(())
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Parsed<()> {
        self.take();
        let place = expr.place();
        let at = self.within("@", "timestamp", |parser| {
            let word = match parser.kind() {
                Kind::Keyword(Keyword::Start) => At::Start,
                Kind::Keyword(Keyword::End) => At::End,
                _ => {
                    let seconds = parser.signed_number()?.0;
                    return Ok(parser.timestamp(seconds, place));
                }
            };
            parser.take();
            parser.expect(Kind::LeftParen)?;
            parser.expect(Kind::RightParen)?;
            Ok(word)
        })?;
        let end = self.taken_end();
        match modified(expr) {
            None => self.error(
                place,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(found) if found.at.is_some() => {
                self.error(place, "@ <timestamp> may not be set multiple times");
            }
            Some(found) => {
                *found.at = Some(at);
                found.place.end = end;
            }
        }
        Ok(())
    }

    fn timestamp(&mut self, seconds: f64, place: Place) -> At {
        let milliseconds = (seconds * 1000.0).round();
        if milliseconds.is_nan() || milliseconds.abs() > TIMESTAMP_MS_MAX {
            let seconds = if seconds.is_finite() { format!("{seconds:.6}") } else { format_number(seconds) };
            self.error(place, format!("timestamp out of bounds for @ modifier: {seconds}"));
        }
        At::Time(milliseconds as i64)
    }

    fn extend(&mut self, expr: &mut Expr, word: Keyword) {
        let (extended, name) = if word == Keyword::Anchored {
            (Extended::Anchored, "anchored")
        } else {
            (Extended::Smoothed, "smoothed")
        };
        let end = self.taken_end();
        let (selector, place): (&mut VectorSelector, Option<&mut Place>) = match expr {
            Expr::Vector(selector) => (selector, None),
            Expr::Matrix(matrix) => (&mut matrix.selector, Some(&mut matrix.place)),
            Expr::Subquery(_) => {
                let place = expr.place();
                return self.error(place, format!("{name} modifier is not supported for subqueries"));
            }
            other => {
                let place = other.place();
                return self.error(place, format!("{name} modifier not implemented"));
            }
        };
        if selector.extended.is_some_and(|before| before != extended) {
            let place = selector.place;
            return self.error(place, "anchored and smoothed modifiers cannot be used together");
        }
        selector.extended = Some(extended);
        place.unwrap_or(&mut selector.place).end = end;
    }
}
