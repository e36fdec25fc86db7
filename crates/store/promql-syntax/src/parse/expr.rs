//! Expressions: operators by precedence, calls, aggregations, literals.

use super::{Abort, Parsed, Parser, Tall};
use crate::{
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, Matching, Number, Paren,
        StringLiteral, Unary, UnaryOp,
    },
    function::{Function, Variadic, function},
    lex::{Keyword, Kind, Token},
    literal,
};

/// Stands in for a function that does not exist, after its mistake is noted.
static UNKNOWN: Function = Function {
    name: "",
    args: &[],
    variadic: Variadic::Any,
    returns: crate::ast::ValueType::Vector,
    experimental: false,
};

/// How tightly an operator binds; `^` alone binds to the right.
pub(super) fn power(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::LessOrEqual
        | BinaryOp::Less
        | BinaryOp::GreaterOrEqual
        | BinaryOp::Greater
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 6,
    }
}

/// What the right operand has to bind at least.
pub(super) fn right_power(op: BinaryOp) -> u8 {
    if op == BinaryOp::Pow { power(op) } else { power(op) + 1 }
}

/// A sign binds as `*` does: only `^` is tighter, `-1^2` is -(1^2).
pub(super) const POWER_WITHIN_SIGN: u8 = 6;

fn boxed(expr: Expr) -> Tall<Box<Expr>> {
    Tall::leaf(Box::new(expr))
}

impl Parser<'_> {
    /// An expression of operators that bind at least `power_min`.
    pub(super) fn expression(&mut self, power_min: u8) -> Parsed<Tall<Box<Expr>>> {
        self.deeper(|parser| {
            let mut left = parser.signed()?;
            while let Kind::Operator(op) = parser.kind()
                && power(op) >= power_min
            {
                parser.take();
                let (matching, return_bool) = parser.binary_modifiers()?;
                let right = parser.expression(right_power(op))?;
                let height = parser.above([left.height, right.height])?;
                let place = left.node.place().to(right.node.place());
                let node = Expr::Binary(Binary {
                    op,
                    left: left.node,
                    right: right.node,
                    matching: Some(matching),
                    return_bool,
                    place,
                });
                left = Tall { node: Box::new(node), height };
            }
            Ok(left)
        })
    }

    fn signed(&mut self) -> Parsed<Tall<Box<Expr>>> {
        let op = match self.kind() {
            Kind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            Kind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return self.with_postfixes(),
        };
        let sign = self.take();
        let inner = self.expression(POWER_WITHIN_SIGN)?;
        let place = sign.place.to(inner.node.place());
        // A number takes its sign in.
        if let Expr::Number(number) = *inner.node {
            let value = if op == UnaryOp::Minus { -number.value } else { number.value };
            return Ok(boxed(Expr::Number(Number { value, place, ..number })));
        }
        let height = self.above([inner.height])?;
        Ok(Tall { node: Box::new(Expr::Unary(Unary { op, expr: inner.node, place })), height })
    }

    pub(super) fn primary(&mut self) -> Parsed<Tall<Box<Expr>>> {
        let follows_paren = self.next_kind() == Kind::LeftParen;
        match self.kind() {
            Kind::LeftParen => self.paren(),
            Kind::String => Ok(self.string()),
            Kind::Number | Kind::Duration => Ok(boxed(Expr::Number(self.number()))),
            Kind::Aggregate(op) if follows_paren || self.grouping_follows() => self.aggregate(op),
            Kind::Identifier => {
                if follows_paren {
                    self.call()
                } else {
                    Ok(boxed(Expr::Vector(self.vector_selector()?)))
                }
            }
            Kind::Keyword(word) if follows_paren && word.may_name_function() => self.call(),
            _ => Ok(boxed(Expr::Vector(self.vector_selector()?))),
        }
    }

    fn string(&mut self) -> Tall<Box<Expr>> {
        let token = self.take();
        let (value, not_utf8) = match String::from_utf8(self.unquote(token)) {
            Ok(value) => (value, None),
            Err(why) => {
                let bytes = why.into_bytes();
                (String::from_utf8_lossy(&bytes).into_owned(), Some(bytes))
            }
        };
        boxed(Expr::String(StringLiteral { value, not_utf8, place: token.place }))
    }

    fn grouping_follows(&self) -> bool {
        matches!(self.next_kind(), Kind::Keyword(Keyword::By | Keyword::Without))
    }

    fn paren(&mut self) -> Parsed<Tall<Box<Expr>>> {
        let open = self.take();
        let inner = self.expression(0)?;
        let close = self.expect(Kind::RightParen)?;
        let height = self.above([inner.height])?;
        let place = open.place.to(close.place);
        Ok(Tall { node: Box::new(Expr::Paren(Paren { expr: inner.node, place })), height })
    }

    /// The current token, which is a number or a duration.
    pub(super) fn number(&mut self) -> Number {
        let token = self.take();
        let is_duration = token.kind == Kind::Duration;
        let text = self.text_of(token);
        let parsed = if is_duration {
            literal::parse_duration_ms(text).map(|milliseconds| milliseconds as f64 / 1000.0)
        } else {
            literal::parse_number(text)
        };
        let value = parsed.unwrap_or_else(|why| {
            self.error(token.place, why);
            0.0
        });
        Number { value, is_duration, place: token.place }
    }

    fn call(&mut self) -> Parsed<Tall<Box<Expr>>> {
        let name = self.take();
        let text = self.text_of(name);
        // Words with a meaning are found whatever their case, functions are not; upstream the same.
        let found = function(text);
        if found.is_none() {
            let quoted = literal::quote(text.as_bytes());
            self.error(name.place, format!("unknown function with name {quoted}"));
        }
        let args = self.arguments()?;
        let height = self.above([args.height])?;
        let place = crate::ast::Place::new(name.place.start, self.taken_end());
        let node = Expr::Call(Call { function: found.unwrap_or(&UNKNOWN), args: args.node, place });
        Ok(Tall { node: Box::new(node), height })
    }

    fn arguments(&mut self) -> Parsed<Tall<Vec<Expr>>> {
        self.expect(Kind::LeftParen)?;
        let mut args = Vec::new();
        let mut height = 0;
        if self.accept(Kind::RightParen).is_some() {
            return Ok(Tall { node: args, height });
        }
        loop {
            let arg = self.expression(0)?;
            height = height.max(arg.height);
            args.push(*arg.node);
            let Some(comma) = self.accept(Kind::Comma) else {
                self.expect(Kind::RightParen)?;
                return Ok(Tall { node: args, height });
            };
            if self.accept(Kind::RightParen).is_some() {
                self.error(comma.place, "trailing commas not allowed in function call args");
                return Ok(Tall { node: args, height });
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Tall<Box<Expr>>> {
        let name = self.take();
        let (grouping, args) = self.within("aggregation", "", |parser| {
            let before = parser.grouping()?;
            let args = parser.arguments()?;
            let grouping = if before.is_some() { before } else { parser.grouping()? };
            Ok((grouping, args))
        })?;
        let place = crate::ast::Place::new(name.place.start, self.taken_end());
        let (without, grouping) = grouping.unwrap_or_default();
        let height = self.above([args.height])?;
        let wanted = 1 + usize::from(op.param_type().is_some());
        let count = args.node.len();
        let mut args = args.node.into_iter();
        let param = if wanted == 2 { args.next().map(Box::new) } else { None };
        let message = match (args.next(), count) {
            (_, 0) => "no arguments for aggregate expression provided".to_owned(),
            (Some(expr), _) if count == wanted => {
                let expr = Box::new(expr);
                let node = Expr::Aggregate(Aggregate { op, expr, param, grouping, without, place });
                return Ok(Tall { node: Box::new(node), height });
            }
            _ => format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {count}"
            ),
        };
        self.error(place, message);
        Err(Abort)
    }

    /// `by (…)` or `without (…)`, of which the flag is true.
    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = self.is_keyword(Keyword::Without);
        if !without && !self.is_keyword(Keyword::By) {
            return Ok(None);
        }
        self.take();
        Ok(Some((without, self.grouping_labels()?)))
    }

    /// What stands between an operator and its right side: `bool`, `on`, `group_left`, `fill`.
    fn binary_modifiers(&mut self) -> Parsed<(Matching, bool)> {
        let mut matching = Matching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let return_bool = self.accept_keyword(Keyword::Bool);
        matching.on = self.is_keyword(Keyword::On);
        if matching.on || self.is_keyword(Keyword::Ignoring) {
            self.take();
            matching.labels = self.grouping_labels()?;
            let cardinality = match self.kind() {
                Kind::Keyword(Keyword::GroupLeft) => Some(Cardinality::ManyToOne),
                Kind::Keyword(Keyword::GroupRight) => Some(Cardinality::OneToMany),
                _ => None,
            };
            if let Some(cardinality) = cardinality {
                self.take();
                matching.cardinality = cardinality;
                if self.kind() == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill(&mut matching)?;
        Ok((matching, return_bool))
    }

    fn fill(&mut self, matching: &mut Matching) -> Parsed<()> {
        if self.accept_keyword(Keyword::Fill) {
            let value = self.fill_value()?;
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            return Ok(());
        }
        // Each once, in any order.
        for _ in 0..2 {
            if matching.fill_left.is_none() && self.accept_keyword(Keyword::FillLeft) {
                matching.fill_left = Some(self.fill_value()?);
            } else if matching.fill_right.is_none() && self.accept_keyword(Keyword::FillRight) {
                matching.fill_right = Some(self.fill_value()?);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Kind::LeftParen)?;
        let value = self.signed_number()?.0;
        self.expect(Kind::RightParen)?;
        Ok(value)
    }

    /// A number or duration with an optional sign, and its first token.
    pub(super) fn signed_number(&mut self) -> Parsed<(f64, Token)> {
        let first = self.token();
        let minus = self.accept(Kind::Operator(BinaryOp::Sub)).is_some();
        if !minus {
            self.accept(Kind::Operator(BinaryOp::Add));
        }
        if !matches!(self.kind(), Kind::Number | Kind::Duration) {
            return Err(self.unexpected());
        }
        let value = self.number().value;
        Ok((if minus { -value } else { value }, first))
    }
}
