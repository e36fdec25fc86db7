//! Types: what may stand where. It also settles how vectors match, which depends on types.

use metrics_api::METRIC_NAME;

use crate::{
    ast::{Aggregate, Binary, Call, Cardinality, Expr, Place, ValueType, VectorSelector},
    literal::quote,
};

/// Takes a mistake: its place, and how it is said.
pub(crate) trait Report {
    fn mistake(&mut self, place: Place, message: String);
    /// The place between two sides, without the space around it.
    fn between(&self, left: Place, right: Place) -> Place;
}

type To<'r> = &'r mut dyn Report;

/// Checks `expr` and all within it; reports every mistake.
pub(crate) fn check(expr: &mut Expr, report: To<'_>) {
    match expr {
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Vector(selector) => check_selector(selector, false, report),
        Expr::Matrix(matrix) => check_selector(&matrix.selector, false, report),
        Expr::Paren(paren) => check(&mut paren.expr, report),
        Expr::Subquery(subquery) => {
            check(&mut subquery.expr, report);
            let found = subquery.expr.value_type();
            if found != ValueType::Vector {
                let found = found.as_str();
                let message = format!("subquery is only allowed on instant vector, got {found} instead");
                report.mistake(subquery.place, message);
            }
        }
        Expr::Unary(unary) => {
            check(&mut unary.expr, report);
            let found = unary.expr.value_type();
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let found = quote(found.documented().as_bytes());
                report.mistake(
                    unary.place,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {found}"
                    ),
                );
            }
        }
        Expr::Aggregate(node) => aggregate(node, report),
        Expr::Binary(node) => binary(node, report),
        Expr::Call(node) => call(node, report),
    }
}

fn expect(expr: &mut Expr, wanted: ValueType, context: &str, report: To<'_>) {
    check(expr, report);
    expect_type(expr, wanted, context, report);
}

fn expect_type(expr: &Expr, wanted: ValueType, context: &str, report: To<'_>) {
    let found = expr.value_type();
    if found != wanted {
        let (wanted, found) = (wanted.documented(), found.documented());
        report.mistake(expr.place(), format!("expected type {wanted} in {context}, got {found}"));
    }
}

fn check_selector(selector: &VectorSelector, may_be_empty: bool, report: To<'_>) {
    if !selector.name.is_empty() {
        let others = selector.matchers.len().saturating_sub(1);
        for matcher in selector.matchers[..others].iter().filter(|matcher| matcher.name == METRIC_NAME) {
            let (first, second) = (quote(selector.name.as_bytes()), quote(matcher.value.as_bytes()));
            report.mistake(selector.place, format!("metric name must not be set twice: {first} or {second}"));
        }
    } else if !may_be_empty && selector.matchers.iter().all(metrics_api::Matcher::matches_empty) {
        let message = "vector selector must contain at least one non-empty matcher";
        report.mistake(selector.place, message.to_owned());
    }
}

fn aggregate(node: &mut Aggregate, report: To<'_>) {
    expect(&mut node.expr, ValueType::Vector, "aggregation expression", report);
    if let (Some(param), Some(wanted)) = (node.param.as_deref_mut(), node.op.param_type()) {
        expect(param, wanted, "aggregation parameter", report);
    }
}

fn binary(node: &mut Binary, report: To<'_>) {
    check(&mut node.left, report);
    check(&mut node.right, report);
    let (left, right) = (node.left.value_type(), node.right.value_type());
    let op_place = report.between(node.left.place(), node.right.place());
    let name = quote(node.op.as_str().as_bytes());

    if node.return_bool && !node.op.is_comparison() {
        report.mistake(op_place, "bool modifier can only be used on comparison operators".to_owned());
    }
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    if node.op.is_comparison() && !node.return_bool && scalars {
        report.mistake(op_place, "comparisons between scalars must use BOOL modifier".to_owned());
    }
    for side in [&node.left, &node.right] {
        if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            report.mistake(side.place(), message.to_owned());
        }
    }
    matching(node, op_place, report);
    if (left == ValueType::Scalar || right == ValueType::Scalar) && node.op.is_set() {
        report.mistake(node.place, format!("set operator {name} not allowed in binary scalar expression"));
    }
}

fn matching(node: &mut Binary, op_place: Place, report: To<'_>) {
    let vectors = [&node.left, &node.right].iter().all(|side| side.value_type() == ValueType::Vector);
    let Some(matching) = &mut node.matching else {
        return;
    };
    if matching.on {
        for label in matching.labels.iter().filter(|label| matching.include.contains(label)) {
            let label = quote(label.as_bytes());
            report.mistake(op_place, format!("label {label} must not occur in ON and GROUP clause at once"));
        }
    }
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if !vectors {
        if !matching.labels.is_empty() {
            report.mistake(node.place, "vector matching only allowed between instant vectors".to_owned());
        }
        if fills {
            let message = "filling in missing series only allowed between instant vectors";
            report.mistake(node.place, message.to_owned());
        }
        node.matching = None;
    } else if node.op.is_set() {
        if matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        } else {
            let name = quote(node.op.as_str().as_bytes());
            report.mistake(node.place, format!("no grouping allowed for {name} operation"));
            report.mistake(node.place, "set operations must always be many-to-many".to_owned());
        }
        if fills {
            report.mistake(node.place, "filling in missing series not allowed for set operators".to_owned());
        }
    }
}

fn call(node: &mut Call, report: To<'_>) {
    let function = node.function;
    let (name, count) = (quote(function.name.as_bytes()), node.args.len());
    let (min, max) = (function.args_min(), function.args_max());
    if max == Some(min) && count != min {
        report.mistake(node.place, format!("expected {min} argument(s) in call to {name}, got {count}"));
    } else if count < min {
        report.mistake(
            node.place,
            format!("expected at least {min} argument(s) in call to {name}, got {count}"),
        );
    } else if let Some(max) = max.filter(|max| count > *max) {
        report.mistake(
            node.place,
            format!("expected at most {max} argument(s) in call to {name}, got {count}"),
        );
    }
    let is_info = function.name == "info";
    let context = format!("call to function {name}");
    for (index, arg) in node.args.iter_mut().enumerate() {
        if is_info && index == 1 {
            info_labels(arg, report);
        } else {
            check(arg, report);
        }
        if index < max.unwrap_or(usize::MAX)
            && let Some(wanted) = function.arg_type(index)
        {
            expect_type(arg, wanted, &context, report);
        }
    }
}

/// The second argument of `info` looks like a selector and only names labels.
fn info_labels(arg: &mut Expr, report: To<'_>) {
    match arg {
        Expr::Vector(selector) if selector.name.is_empty() => check_selector(selector, true, report),
        Expr::Vector(selector) => {
            let message = "expected label selectors only, got vector selector instead";
            report.mistake(selector.place, message.to_owned());
        }
        other => {
            check(other, report);
            report.mistake(other.place(), "expected label selectors only".to_owned());
        }
    }
}
