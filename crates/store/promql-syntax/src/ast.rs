//! The tree of an expression.
//!
//! Every node knows its [`Place`], a range of bytes of the text it was read from. Durations stand as
//! small trees of their own ([`DurationExpr`]), because `step()` and `range()` are known only when
//! the query runs; [`DurationExpr::resolve_ms`] computes them. A tree that [`crate::parse`] returned
//! is type checked and at most [`crate::parse::NESTING_DEPTH_MAX`] nodes high, so that code that
//! walks it may recurse.

use std::fmt;

use metrics_api::Matcher;

pub use crate::ast::duration::{DurationError, DurationExpr, DurationOp};
use crate::function::Function;

pub(crate) mod duration;
mod same;

/// A range of bytes of the expression's text, the end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    pub start: usize,
    pub end: usize,
}

impl Place {
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
    /// Line and column of the start, both from 1, the column in bytes, as upstream counts.
    #[must_use]
    pub fn line_column(self, text: &str) -> (usize, usize) {
        let before = &text.as_bytes()[..self.start.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        (line, before.len() - line_start + 1)
    }
    /// From the start of this to the end of `last`.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
    String,
}

impl ValueType {
    /// As upstream's API writes it: `scalar`, `vector`, `matrix`, `string`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// As it is written in messages for people.
    #[must_use]
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An expression. Equality is that of what is written, places aside.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Number(Number),
    String(StringLiteral),
    /// `name{label="value"}`
    Vector(VectorSelector),
    /// `selector[5m]`
    Matrix(MatrixSelector),
    /// `expr[1h:5m]`
    Subquery(Subquery),
    /// `rate(…)`
    Call(Call),
    /// `-expr`, `+expr` of anything but a number, which takes its sign in
    Unary(Unary),
    Binary(Binary),
    /// `sum by (job) (…)`
    Aggregate(Aggregate),
    /// `(expr)`
    Paren(Paren),
}

/// A number, also written as a duration: `5m` is 300.
#[derive(Debug, Clone)]
pub struct Number {
    pub value: f64,
    /// Written as a duration, and printed as one.
    pub is_duration: bool,
    pub place: Place,
}

#[derive(Debug, Clone)]
pub struct StringLiteral {
    /// Without quotes and escapes.
    pub value: String,
    /// The bytes, when escapes such as `\xff` make them no UTF-8; `value` then has replacement
    /// characters for them.
    pub not_utf8: Option<Vec<u8>>,
    pub place: Place,
}

/// When a selector or subquery is evaluated, whatever the time of the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// The start of the whole query.
    Start,
    /// The end of the whole query.
    End,
}

/// How samples at the edges of a range count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extended {
    /// The last sample before an edge stands for the edge.
    Anchored,
    /// The value at an edge is interpolated between the samples around it.
    Smoothed,
}

#[derive(Debug, Clone)]
pub struct VectorSelector {
    /// The name before the braces, empty when there is none. It is among the matchers too, as a name
    /// in quotes within the braces is.
    pub name: String,
    /// All conditions as they were written, that of a name before the braces last.
    pub matchers: Vec<Matcher>,
    /// What `offset` says; not applied to anything yet.
    pub offset: Option<DurationExpr>,
    pub at: Option<At>,
    pub extended: Option<Extended>,
    /// With `offset`, `@` and the like.
    pub place: Place,
}

/// A selector over a range; `offset`, `@` and `anchored` stand at its selector.
#[derive(Debug, Clone)]
pub struct MatrixSelector {
    pub selector: VectorSelector,
    pub range: DurationExpr,
    pub place: Place,
}

#[derive(Debug, Clone)]
pub struct Subquery {
    /// An instant vector or a scalar.
    pub expr: Box<Expr>,
    pub range: DurationExpr,
    /// The default of the evaluation when it is left out.
    pub step: Option<DurationExpr>,
    /// `::` instead of `:`: steps are counted back from the time of evaluation, not multiples of the
    /// step. Proposed upstream.
    pub aligned: bool,
    pub offset: Option<DurationExpr>,
    pub at: Option<At>,
    pub place: Place,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Plus,
    Minus,
}

#[derive(Debug, Clone)]
pub struct Unary {
    pub op: UnaryOp,
    /// A scalar or an instant vector.
    pub expr: Box<Expr>,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<=`
    LessOrEqual,
    /// `<`
    Less,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    And,
    Or,
    Unless,
    /// `</`: of a histogram, the observations at or below
    TrimUpper,
    /// `>/`: of a histogram, the observations above
    TrimLower,
}

impl BinaryOp {
    /// `==`, `!=`, `<`, `<=`, `>`, `>=`: those that filter, or compare with `bool`.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::NotEqual
                | Self::LessOrEqual
                | Self::Less
                | Self::GreaterOrEqual
                | Self::Greater
        )
    }

    /// `and`, `or`, `unless`.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::LessOrEqual => "<=",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Binary {
    pub op: BinaryOp,
    pub left: Box<Expr>,
    pub right: Box<Expr>,
    /// There exactly when both sides are instant vectors.
    pub matching: Option<Matching>,
    /// `bool`: 0 or 1 instead of filtering.
    pub return_bool: bool,
    pub place: Place,
}

/// How many series of one side meet how many of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cardinality {
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
    /// Of set operations.
    ManyToMany,
}

impl Cardinality {
    /// As upstream's API writes it, such as `many-to-one`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// Which series of two vectors belong together.
#[derive(Debug, Clone)]
pub struct Matching {
    pub cardinality: Cardinality,
    /// Of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// `on` (only these labels count) rather than `ignoring` (all others do).
    pub on: bool,
    /// Labels that `group_left` or `group_right` takes over from the side of one.
    pub include: Vec<String>,
    /// Stands in for a series that the left side lacks.
    pub fill_left: Option<f64>,
    /// Stands in for a series that the right side lacks.
    pub fill_right: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    LimitRatio,
    Limitk,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

impl AggregateOp {
    pub const ALL: [Self; 14] = [
        Self::Avg,
        Self::Bottomk,
        Self::Count,
        Self::CountValues,
        Self::Group,
        Self::LimitRatio,
        Self::Limitk,
        Self::Max,
        Self::Min,
        Self::Quantile,
        Self::Stddev,
        Self::Stdvar,
        Self::Sum,
        Self::Topk,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Bottomk => "bottomk",
            Self::Count => "count",
            Self::CountValues => "count_values",
            Self::Group => "group",
            Self::LimitRatio => "limit_ratio",
            Self::Limitk => "limitk",
            Self::Max => "max",
            Self::Min => "min",
            Self::Quantile => "quantile",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Sum => "sum",
            Self::Topk => "topk",
        }
    }

    /// The type of the parameter before the vector, of those that take one.
    #[must_use]
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            Self::CountValues => Some(ValueType::String),
            Self::Bottomk | Self::Topk | Self::Limitk | Self::LimitRatio | Self::Quantile => {
                Some(ValueType::Scalar)
            }
            _ => None,
        }
    }

    /// Upstream has it behind a feature flag.
    #[must_use]
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

#[derive(Debug, Clone)]
pub struct Aggregate {
    pub op: AggregateOp,
    /// An instant vector.
    pub expr: Box<Expr>,
    /// There exactly when [`AggregateOp::param_type`] asks for it.
    pub param: Option<Box<Expr>>,
    pub grouping: Vec<String>,
    /// `without` rather than `by`. Neither is the same as `by ()`.
    pub without: bool,
    pub place: Place,
}

#[derive(Debug, Clone)]
pub struct Paren {
    pub expr: Box<Expr>,
    pub place: Place,
}

impl Expr {
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Number(node) => node.place,
            Self::String(node) => node.place,
            Self::Vector(node) => node.place,
            Self::Matrix(node) => node.place,
            Self::Subquery(node) => node.place,
            Self::Call(node) => node.place,
            Self::Unary(node) => node.place,
            Self::Binary(node) => node.place,
            Self::Aggregate(node) => node.place,
            Self::Paren(node) => node.place,
        }
    }

    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Call(call) => call.function.returns,
            Self::Unary(unary) => unary.expr.value_type(),
            Self::Paren(paren) => paren.expr.value_type(),
            Self::Binary(binary) => {
                let sides = [binary.left.value_type(), binary.right.value_type()];
                if sides == [ValueType::Scalar; 2] { ValueType::Scalar } else { ValueType::Vector }
            }
        }
    }

    /// The expressions directly within this one, in order of the text.
    #[must_use]
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => Vec::new(),
            Self::Subquery(node) => vec![&node.expr],
            Self::Call(node) => node.args.iter().collect(),
            Self::Unary(node) => vec![&node.expr],
            Self::Binary(node) => vec![&node.left, &node.right],
            Self::Aggregate(node) => {
                node.param.as_deref().into_iter().chain(std::iter::once(&*node.expr)).collect()
            }
            Self::Paren(node) => vec![&node.expr],
        }
    }

    /// Calls `visit` with this expression and all within it, outer ones first.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// All selectors of series, in order of the text.
    #[must_use]
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        let mut found = Vec::new();
        self.walk(&mut |expr| match expr {
            Self::Vector(selector) => found.push(selector),
            Self::Matrix(matrix) => found.push(&matrix.selector),
            _ => {}
        });
        found
    }

    /// This expression without parentheses around it.
    #[must_use]
    pub fn unwrapped(&self) -> &Expr {
        let mut inner = self;
        while let Self::Paren(paren) = inner {
            inner = &paren.expr;
        }
        inner
    }
}
