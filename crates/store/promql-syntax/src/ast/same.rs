//! Equality of trees: of what is written, places aside.

use metrics_api::Matcher;

use super::{
    Aggregate, Binary, Call, Matching, MatrixSelector, Number, Paren, StringLiteral, Subquery, Unary,
    VectorSelector,
};

/// Conditions in an order of their own: it does not matter how they were written.
fn sorted(matchers: &[Matcher]) -> Vec<&Matcher> {
    let mut sorted: Vec<&Matcher> = matchers.iter().collect();
    sorted.sort_by_cached_key(|matcher| (&matcher.name, matcher.op.to_string(), &matcher.value));
    sorted
}

/// Equality of floats that a round trip through text keeps: NaN is NaN.
fn same(left: f64, right: f64) -> bool {
    left == right || (left.is_nan() && right.is_nan())
}

impl PartialEq for Matching {
    fn eq(&self, other: &Self) -> bool {
        let same = |left: Option<f64>, right: Option<f64>| match (left, right) {
            (Some(left), Some(right)) => same(left, right),
            _ => left.is_none() && right.is_none(),
        };
        self.cardinality == other.cardinality
            && self.labels == other.labels
            && self.on == other.on
            && self.include == other.include
            && same(self.fill_left, other.fill_left)
            && same(self.fill_right, other.fill_right)
    }
}
impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        same(self.value, other.value) && self.is_duration == other.is_duration
    }
}
impl PartialEq for StringLiteral {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value && self.not_utf8 == other.not_utf8
    }
}
impl PartialEq for VectorSelector {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && sorted(&self.matchers) == sorted(&other.matchers)
            && self.offset == other.offset
            && self.at == other.at
            && self.extended == other.extended
    }
}
impl PartialEq for MatrixSelector {
    fn eq(&self, other: &Self) -> bool {
        self.selector == other.selector && self.range == other.range
    }
}
impl PartialEq for Subquery {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr
            && self.range == other.range
            && self.step == other.step
            && self.aligned == other.aligned
            && self.offset == other.offset
            && self.at == other.at
    }
}
impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && self.args == other.args
    }
}
impl PartialEq for Unary {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.expr == other.expr
    }
}
impl PartialEq for Binary {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op
            && self.return_bool == other.return_bool
            && self.matching == other.matching
            && self.left == other.left
            && self.right == other.right
    }
}
impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op
            && self.without == other.without
            && self.grouping == other.grouping
            && self.param == other.param
            && self.expr == other.expr
    }
}
impl PartialEq for Paren {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr
    }
}
