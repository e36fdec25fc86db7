//! Durations: in brackets, and after `offset`.

use super::{
    Abort, Parsed, Parser, Tall,
    expr::{POWER_WITHIN_SIGN, power, right_power},
};
use crate::{
    ast::{BinaryOp, DurationExpr, DurationOp, Number, Place, duration::whole_milliseconds},
    lex::{Keyword, Kind, Token},
    literal::DURATION_MS_MAX,
};

fn operator(op: BinaryOp) -> Option<DurationOp> {
    Some(match op {
        BinaryOp::Add => DurationOp::Add,
        BinaryOp::Sub => DurationOp::Sub,
        BinaryOp::Mul => DurationOp::Mul,
        BinaryOp::Div => DurationOp::Div,
        BinaryOp::Mod => DurationOp::Mod,
        BinaryOp::Pow => DurationOp::Pow,
        _ => return None,
    })
}

/// Whether seconds fit into a duration.
fn fits(seconds: f64) -> bool {
    seconds.abs() * 1000.0 <= DURATION_MS_MAX as f64
}

impl Parser<'_> {
    /// A range or step: a literal has to be above zero. Without arithmetic it is kept in whole
    /// milliseconds and printed as a duration, however it was written.
    pub(super) fn positive_duration(&mut self) -> Parsed<DurationExpr> {
        let duration = *self.duration(0)?.node;
        let DurationExpr::Literal(number) = duration else {
            return Ok(duration);
        };
        let number = self.whole_milliseconds(number);
        if number.value <= 0.0 || number.value.is_nan() {
            self.error(number.place, "duration must be greater than 0");
        }
        Ok(DurationExpr::Literal(number))
    }

    fn whole_milliseconds(&mut self, number: Number) -> Number {
        if !fits(number.value) {
            self.error(number.place, "duration out of range");
        }
        let value = whole_milliseconds(number.value) / 1000.0;
        Number { value, is_duration: true, place: number.place }
    }

    /// What follows `offset`; `None` is no offset, written as 0. A literal or a call ends it, with or
    /// without sign; arithmetic needs parentheses.
    pub(super) fn offset_duration(&mut self) -> Parsed<Option<DurationExpr>> {
        let sign = match self.kind() {
            Kind::Operator(BinaryOp::Add | BinaryOp::Sub) => Some(self.take()),
            _ => None,
        };
        let duration = if sign.is_none() && self.kind() == Kind::LeftParen {
            let paren = self.duration_primary()?;
            self.duration_operators(paren, 0, true)?
        } else {
            self.duration_primary()?
        };
        let duration = *self.with_sign(sign, duration)?.node;
        let DurationExpr::Literal(number) = duration else {
            return Ok(Some(duration));
        };
        let number = self.whole_milliseconds(number);
        Ok((number.value != 0.0).then_some(DurationExpr::Literal(number)))
    }

    fn duration(&mut self, power_min: u8) -> Parsed<Tall<Box<DurationExpr>>> {
        self.deeper(|parser| {
            let first = parser.signed_duration()?;
            parser.duration_operators(first, power_min, false)
        })
    }

    /// `left` with the operators that follow; `literals` alone when only those go on a duration after
    /// `offset (…)`.
    fn duration_operators(
        &mut self,
        mut left: Tall<Box<DurationExpr>>,
        power_min: u8,
        literals: bool,
    ) -> Parsed<Tall<Box<DurationExpr>>> {
        while let Kind::Operator(written) = self.kind()
            && let Some(op) = operator(written)
            && power(written) >= power_min
            && (!literals || matches!(self.next_kind(), Kind::Number | Kind::Duration))
        {
            let sign = self.take();
            let right = self.duration(right_power(written))?;
            let is_zero = matches!(&*right.node, DurationExpr::Literal(number) if number.value == 0.0);
            match op {
                DurationOp::Div if is_zero => self.error(sign.place, "division by zero"),
                DurationOp::Mod if is_zero => self.error(sign.place, "modulo by zero"),
                _ => {}
            }
            let place = left.node.place().to(right.node.place());
            let height = self.above([left.height, right.height])?;
            let node = DurationExpr::Binary { op, left: left.node, right: right.node, place };
            left = Tall { node: Box::new(node), height };
        }
        Ok(left)
    }

    fn signed_duration(&mut self) -> Parsed<Tall<Box<DurationExpr>>> {
        let Kind::Operator(BinaryOp::Add | BinaryOp::Sub) = self.kind() else {
            return self.duration_primary();
        };
        let sign = self.take();
        let inner = self.duration(POWER_WITHIN_SIGN)?;
        self.with_sign(Some(sign), inner)
    }

    /// A literal takes the sign in; a plus changes nothing.
    fn with_sign(
        &mut self,
        sign: Option<Token>,
        inner: Tall<Box<DurationExpr>>,
    ) -> Parsed<Tall<Box<DurationExpr>>> {
        let Some(sign) = sign else {
            return Ok(inner);
        };
        let minus = sign.kind == Kind::Operator(BinaryOp::Sub);
        let place = sign.place.to(inner.node.place());
        match *inner.node {
            DurationExpr::Literal(number) => {
                let value = if minus { -number.value } else { number.value };
                Ok(Tall::leaf(Box::new(DurationExpr::Literal(Number { value, place, ..number }))))
            }
            node if minus => {
                let height = self.above([inner.height])?;
                Ok(Tall { node: Box::new(DurationExpr::Negated { of: Box::new(node), place }), height })
            }
            node => Ok(Tall { node: Box::new(node), height: inner.height }),
        }
    }

    fn duration_primary(&mut self) -> Parsed<Tall<Box<DurationExpr>>> {
        let first = self.token();
        match first.kind {
            Kind::Number | Kind::Duration => Ok(Tall::leaf(Box::new(DurationExpr::Literal(self.number())))),
            Kind::LeftParen => {
                self.take();
                let inner = self.duration(0)?;
                let place = first.place.to(self.expect(Kind::RightParen)?.place);
                let height = self.above([inner.height])?;
                Ok(Tall { node: Box::new(DurationExpr::Paren { of: inner.node, place }), height })
            }
            Kind::Keyword(word) if word.is_duration_function() => self.duration_call(word),
            _ => Err(self.unexpected()),
        }
    }

    fn duration_call(&mut self, word: Keyword) -> Parsed<Tall<Box<DurationExpr>>> {
        let name = self.take();
        self.expect(Kind::LeftParen)?;
        let op = match word {
            Keyword::MinOf => DurationOp::Min,
            Keyword::MaxOf => DurationOp::Max,
            _ => {
                let place = name.place.to(self.expect(Kind::RightParen)?.place);
                let step = word == Keyword::Step;
                let node = if step { DurationExpr::Step(place) } else { DurationExpr::Range(place) };
                return Ok(Tall::leaf(Box::new(node)));
            }
        };
        let left = self.duration(0)?;
        self.expect(Kind::Comma)?;
        let right = self.duration(0)?;
        let close: Result<Token, Abort> = self.expect(Kind::RightParen);
        let place: Place = name.place.to(close?.place);
        let height = self.above([left.height, right.height])?;
        let (left, right) = (left.node, right.node);
        Ok(Tall { node: Box::new(DurationExpr::Binary { op, left, right, place }), height })
    }
}
