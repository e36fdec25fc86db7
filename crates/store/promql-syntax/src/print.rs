//! Tree to text, as upstream writes it; what is printed reads back as the same tree.

use std::fmt;

use metrics_api::{METRIC_NAME, MatchOp, Matcher};

use crate::{
    ast::{
        Aggregate, At, Binary, BinaryOp, Cardinality, DurationExpr, DurationOp, Expr, Extended,
        MatrixSelector, Number, StringLiteral, Subquery, UnaryOp, VectorSelector,
    },
    literal::{format_duration_ms, format_number, is_plain_label, quote},
};

/// How long a line of [`pretty`] may be.
const LINE_BYTES_MAX: usize = 100;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(node) => node.fmt(f),
            Self::String(node) => node.fmt(f),
            Self::Vector(node) => node.fmt(f),
            Self::Matrix(node) => node.fmt(f),
            Self::Subquery(node) => write!(f, "{}{}", node.expr, SubqueryEnd(node)),
            Self::Call(node) => {
                write!(f, "{}(", node.function.name)?;
                write_joined(f, &node.args)?;
                f.write_str(")")
            }
            Self::Unary(node) => write!(f, "{}{}", sign(node.op), node.expr),
            Self::Binary(node) => match &*node.left {
                // With its plus, as numbers print else, the sign would be of the whole power.
                Self::Number(left) if node.op == BinaryOp::Pow && left.value == f64::INFINITY => {
                    write!(f, "Inf {} {}", Operator(node), node.right)
                }
                left => write!(f, "{left} {} {}", Operator(node), node.right),
            },
            Self::Aggregate(node) => {
                write!(f, "{}(", AggregateStart(node))?;
                if let Some(param) = &node.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", node.expr)
            }
            Self::Paren(node) => write!(f, "({})", node.expr),
        }
    }
}

fn sign(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Plus => "+",
        UnaryOp::Minus => "-",
    }
}

fn write_joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        let lead = if index == 0 { "" } else { ", " };
        write!(f, "{lead}{item}")?;
    }
    Ok(())
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            let minus = if self.value < 0.0 { "-" } else { "" };
            let milliseconds = (self.value.abs() * 1000.0).round() as u64;
            return write!(f, "{minus}{}", format_duration_ms(milliseconds));
        }
        f.write_str(&format_number(self.value))
    }
}

impl fmt::Display for StringLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quote(self.not_utf8.as_deref().unwrap_or(self.value.as_bytes())))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(milliseconds) => {
                let minus = if *milliseconds < 0 { "-" } else { "" };
                let magnitude = milliseconds.unsigned_abs();
                write!(f, "{minus}{}.{:03}", magnitude / 1000, magnitude % 1000)
            }
            Self::Start => f.write_str("start()"),
            Self::End => f.write_str("end()"),
        }
    }
}

impl fmt::Display for Extended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        })
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(number) => number.fmt(f),
            Self::Step(_) => f.write_str("step()"),
            Self::Range(_) => f.write_str("range()"),
            Self::Negated { of, .. } => write!(f, "-{of}"),
            Self::Paren { of, .. } => write!(f, "({of})"),
            Self::Binary { op, left, right, .. } => match op {
                DurationOp::Min | DurationOp::Max => write!(f, "{}({left}, {right})", op.as_str()),
                _ => write!(f, "{left} {} {right}", op.as_str()),
            },
        }
    }
}

/// A condition, its name in quotes where it has to be.
struct Condition<'a>(&'a Matcher);

impl fmt::Display for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matcher = self.0;
        write!(f, "{}{}{}", Label(&matcher.name), matcher.op, quote(matcher.value.as_bytes()))
    }
}

struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_plain_label(self.0) { f.write_str(self.0) } else { f.write_str(&quote(self.0.as_bytes())) }
    }
}

struct Labels<'a>(&'a [String]);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<Label<'_>> = self.0.iter().map(|label| Label(label)).collect();
        f.write_str("(")?;
        write_joined(f, &labels)?;
        f.write_str(")")
    }
}

/// Name and conditions, in order of their text.
fn write_series(f: &mut fmt::Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    let is_name = |matcher: &&Matcher| {
        let named = matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal;
        named && matcher.value == selector.name && !matcher.value.is_empty()
    };
    let others = selector.matchers.iter().filter(|matcher| !is_name(matcher));
    let mut conditions: Vec<String> = others.map(|matcher| Condition(matcher).to_string()).collect();
    conditions.sort_unstable();
    f.write_str(&selector.name)?;
    if !conditions.is_empty() || selector.name.is_empty() {
        write!(f, "{{{}}}", conditions.join(","))?;
    }
    Ok(())
}

fn write_modifiers(f: &mut fmt::Formatter<'_>, at: Option<At>, offset: Option<&DurationExpr>) -> fmt::Result {
    if let Some(at) = at {
        write!(f, " @ {at}")?;
    }
    offset.map_or(Ok(()), |offset| write!(f, " offset {offset}"))
}

impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_series(f, self)?;
        write_modifiers(f, self.at, None)?;
        if let Some(extended) = self.extended {
            write!(f, " {extended}")?;
        }
        write_modifiers(f, None, self.offset.as_ref())
    }
}

impl fmt::Display for MatrixSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_series(f, &self.selector)?;
        write!(f, "[{}]", self.range)?;
        if let Some(extended) = self.selector.extended {
            write!(f, " {extended}")?;
        }
        write_modifiers(f, self.selector.at, self.selector.offset.as_ref())
    }
}

/// What stands after the expression of a subquery.
struct SubqueryEnd<'a>(&'a Subquery);

impl fmt::Display for SubqueryEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.0;
        write!(f, "[{}{}", node.range, if node.aligned { "::" } else { ":" })?;
        if let Some(step) = &node.step {
            write!(f, "{step}")?;
        }
        f.write_str("]")?;
        write_modifiers(f, node.at, node.offset.as_ref())
    }
}

/// An operator with all that stands between the sides.
struct Operator<'a>(&'a Binary);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        let Some(matching) = &self.0.matching else {
            return Ok(());
        };
        let group = match matching.cardinality {
            Cardinality::ManyToOne => "group_left",
            Cardinality::OneToMany => "group_right",
            _ => "",
        };
        if !matching.labels.is_empty() || matching.on || !group.is_empty() {
            let word = if matching.on { "on" } else { "ignoring" };
            write!(f, " {word} {}", Labels(&matching.labels))?;
        }
        if !group.is_empty() {
            write!(f, " {group} {}", Labels(&matching.include))?;
        }
        match (matching.fill_left, matching.fill_right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
                write!(f, " fill ({})", format_number(left))
            }
            (left, right) => {
                if let Some(left) = left {
                    write!(f, " fill_left ({})", format_number(left))?;
                }
                right.map_or(Ok(()), |right| write!(f, " fill_right ({})", format_number(right)))
            }
        }
    }
}

/// An aggregation up to its parenthesis.
struct AggregateStart<'a>(&'a Aggregate);

impl fmt::Display for AggregateStart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.0;
        f.write_str(node.op.as_str())?;
        if node.without || !node.grouping.is_empty() {
            let word = if node.without { "without" } else { "by" };
            write!(f, " {word} {} ", Labels(&node.grouping))?;
        }
        Ok(())
    }
}

/// The expression on several lines where one would be long, as upstream's `format_query` answers.
#[must_use]
pub fn pretty(expr: &Expr) -> String {
    pretty_at(expr, 0)
}

fn pretty_at(expr: &Expr, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = expr.to_string();
    let fits = line.len() <= LINE_BYTES_MAX;
    match expr {
        Expr::Unary(node) => {
            let inner = pretty_at(&node.expr, level);
            format!("{indent}{}{}", sign(node.op), inner.trim())
        }
        // Without an indent of its own when it fits; upstream the same.
        Expr::Subquery(_) if fits => line,
        Expr::Subquery(node) => format!("{}{}", pretty_at(&node.expr, level), SubqueryEnd(node)),
        _ if fits => format!("{indent}{line}"),
        Expr::Binary(node) => {
            let (left, right) = (pretty_at(&node.left, level + 1), pretty_at(&node.right, level + 1));
            format!("{left}\n{indent}{}\n{right}", Operator(node))
        }
        Expr::Aggregate(node) => {
            let param = node.param.as_ref().map(|param| pretty_at(param, level + 1) + ",\n");
            let inner = pretty_at(&node.expr, level + 1);
            format!("{indent}{}(\n{}{inner}\n{indent})", AggregateStart(node), param.unwrap_or_default())
        }
        Expr::Call(node) => {
            let args: Vec<String> = node.args.iter().map(|arg| pretty_at(arg, level + 1)).collect();
            format!("{indent}{}(\n{}\n{indent})", node.function.name, args.join(",\n"))
        }
        Expr::Paren(node) => format!("{indent}(\n{}\n{indent})", pretty_at(&node.expr, level + 1)),
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => format!("{indent}{line}"),
    }
}
