//! The tree as JSON, as `/api/v1/parse_query` of upstream answers it for views of the tree.

use metrics_api::Matcher;
use serde_json::{Value, json};

use crate::{
    ast::{At, DurationExpr, Expr, Extended, UnaryOp, VectorSelector},
    function::{Function, Variadic},
    literal::format_number,
};

/// The tree of `expr`. Durations are milliseconds; those that depend on the query stand as 0, as
/// upstream's, and as text under `rangeExpr`, `offsetExpr` and `stepExpr`.
#[must_use]
pub fn to_json(expr: &Expr) -> Value {
    match expr {
        Expr::Number(node) => json!({"type": "numberLiteral", "val": format_number(node.value)}),
        Expr::String(node) => json!({"type": "stringLiteral", "val": node.value}),
        Expr::Vector(node) => selector("vectorSelector", node),
        Expr::Matrix(node) => {
            let mut value = selector("matrixSelector", &node.selector);
            set_duration(&mut value, "range", Some(&node.range));
            value
        }
        Expr::Subquery(node) => {
            let mut value = json!({
                "type": "subquery",
                "expr": to_json(&node.expr),
                "timestamp": timestamp(node.at),
                "startOrEnd": start_or_end(node.at),
                "alignEvalTime": node.aligned,
            });
            set_duration(&mut value, "range", Some(&node.range));
            set_duration(&mut value, "step", node.step.as_ref());
            set_duration(&mut value, "offset", node.offset.as_ref());
            value
        }
        Expr::Call(node) => json!({
            "type": "call",
            "func": function(node.function),
            "args": node.args.iter().map(to_json).collect::<Vec<_>>(),
        }),
        Expr::Unary(node) => {
            let op = if node.op == UnaryOp::Minus { "-" } else { "+" };
            json!({"type": "unaryExpr", "op": op, "expr": to_json(&node.expr)})
        }
        Expr::Binary(node) => {
            let matching = node.matching.as_ref().map(|matching| {
                json!({
                    "card": matching.cardinality.as_str(),
                    "labels": matching.labels,
                    "on": matching.on,
                    "include": matching.include,
                    "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
                })
            });
            json!({
                "type": "binaryExpr",
                "op": node.op.as_str(),
                "lhs": to_json(&node.left),
                "rhs": to_json(&node.right),
                "matching": matching,
                "bool": node.return_bool,
            })
        }
        Expr::Aggregate(node) => json!({
            "type": "aggregation",
            "op": node.op.as_str(),
            "expr": to_json(&node.expr),
            "param": node.param.as_deref().map(to_json),
            "grouping": node.grouping,
            "without": node.without,
        }),
        Expr::Paren(node) => json!({"type": "parenExpr", "expr": to_json(&node.expr)}),
    }
}

fn function(function: &Function) -> Value {
    let variadic = match function.variadic {
        Variadic::No => 0,
        Variadic::UpTo(count) => i64::try_from(count).unwrap_or(i64::MAX),
        Variadic::Any => -1,
    };
    json!({
        "name": function.name,
        "argTypes": function.args.iter().map(|arg| arg.as_str()).collect::<Vec<_>>(),
        "variadic": variadic,
        "returnType": function.returns.as_str(),
    })
}

fn selector(kind: &str, node: &VectorSelector) -> Value {
    let mut value = json!({
        "type": kind,
        "name": node.name,
        "matchers": node.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "timestamp": timestamp(node.at),
        "startOrEnd": start_or_end(node.at),
        "anchored": node.extended == Some(Extended::Anchored),
        "smoothed": node.extended == Some(Extended::Smoothed),
    });
    set_duration(&mut value, "offset", node.offset.as_ref());
    value
}

fn matcher(matcher: &Matcher) -> Value {
    json!({"name": matcher.name, "value": matcher.value, "type": matcher.op.to_string()})
}

fn timestamp(at: Option<At>) -> Option<i64> {
    match at {
        Some(At::Time(milliseconds)) => Some(milliseconds),
        _ => None,
    }
}

fn start_or_end(at: Option<At>) -> Option<&'static str> {
    match at {
        Some(At::Start) => Some("start"),
        Some(At::End) => Some("end"),
        _ => None,
    }
}

/// A duration under `name`, and its text under `<name>Expr` when it is more than a literal.
fn set_duration(value: &mut Value, name: &str, duration: Option<&DurationExpr>) {
    let seconds = duration.and_then(DurationExpr::constant).unwrap_or(0.0);
    value[name] = json!((seconds * 1000.0) as i64);
    if let Some(duration) = duration.filter(|duration| !matches!(duration, DurationExpr::Literal(_))) {
        value[format!("{name}Expr")] = json!(duration.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn a_tree_has_upstreams_fields() {
        let expr = parse("sum by (a) (rate(b{c!=\"d\"}[5m] offset 1m)) / on (a) group_left 2").unwrap_err();
        assert!(expr.to_string().contains("vector matching"), "{expr}");
        let value = to_json(&parse("topk(3, rate(b{c!=\"d\"}[5m] @ 2 offset -1m)) > bool 2").unwrap());
        assert_eq!(value["type"], "binaryExpr");
        assert_eq!(value["bool"], true);
        assert_eq!(value["matching"], Value::Null);
        assert_eq!(value["rhs"], json!({"type": "numberLiteral", "val": "2"}));
        let aggregation = &value["lhs"];
        assert_eq!(aggregation["op"], "topk");
        assert_eq!(aggregation["grouping"], json!([]));
        let call = &aggregation["expr"];
        assert_eq!(call["func"]["argTypes"], json!(["matrix"]));
        assert_eq!(
            call["args"][0],
            json!({
                "type": "matrixSelector", "name": "b",
                "matchers": [
                    {"name": "c", "value": "d", "type": "!="},
                    {"name": "__name__", "value": "b", "type": "="},
                ],
                "timestamp": 2000, "startOrEnd": null, "anchored": false, "smoothed": false,
                "offset": -60000, "range": 300_000,
            })
        );
    }

    #[test]
    fn durations_of_the_query_stand_as_text() {
        let value = to_json(&parse("a[step() * 2:1m] @ end()").unwrap());
        assert_eq!((&value["range"], &value["rangeExpr"]), (&json!(0), &json!("step() * 2")));
        assert_eq!((&value["step"], &value["startOrEnd"]), (&json!(60_000), &json!("end")));
    }
}
