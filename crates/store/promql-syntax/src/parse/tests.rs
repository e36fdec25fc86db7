use proptest::prelude::*;

use super::*;
use crate::print::pretty;

/// Pairs of an expression and its printed form; a printed form reads back as the same tree.
fn prints(text: &str, printed: &str) {
    let expr = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    assert_eq!(expr.to_string(), printed, "{text}");
    let again = parse(printed).unwrap_or_else(|why| panic!("{printed}: {why}"));
    assert_eq!(again, expr, "{text}");
    let split = pretty(&expr);
    assert_eq!(parse(&split).unwrap_or_else(|why| panic!("{split}: {why}")), expr, "{split}");
}

fn same(text: &str) {
    prints(text, text);
}

#[test]
fn operators_bind_as_upstream() {
    for (text, printed) in [
        ("1+2*3", "1 + 2 * 3"),
        ("(1+2)*3", "(1 + 2) * 3"),
        ("2^3^2", "2 ^ 3 ^ 2"),
        ("-2^2", "-2 ^ 2"),
        ("-a^2", "-a ^ 2"),
        ("-  -1", "1"),
        ("+a", "+a"),
        ("a atAN2 b % c", "a atan2 b % c"),
        ("a AND b oR c unless d", "a and b or c unless d"),
        ("a</1 >/ 2", "a </ 1 >/ 2"),
        ("1 > BOOL 2", "1 > bool 2"),
        ("a == bool on() group_left b", "a == bool on () group_left () b"),
        ("a+ignoring(x)b", "a + ignoring (x) b"),
        ("a+on(x,'y z',)group_right(z,)b", "a + on (x, \"y z\") group_right (z) b"),
        ("a + ignoring() b", "a + b"),
        ("a + fill(-1) b", "a + fill (-1) b"),
        (
            "a + on(x) group_left fill_right(Inf) fill_left(5m) b",
            "a + on (x) group_left () fill_left (300) fill_right (+Inf) b",
        ),
        ("fill + fill_left", "fill + fill_left"),
        ("sum * bool_ / offset", "sum * bool_ / offset"),
    ] {
        prints(text, printed);
    }
    let Expr::Binary(sub) = parse("1 - 2 - 3").unwrap() else { panic!() };
    assert_eq!(sub.left.to_string(), "1 - 2");
    let Expr::Binary(pow) = parse("2 ^ 3 ^ 2").unwrap() else { panic!() };
    assert_eq!(pow.right.to_string(), "3 ^ 2");
    assert!(matches!(parse("-1 ^ 2").unwrap(), Expr::Unary(_)));
}

#[test]
fn selectors_of_every_form() {
    for (text, printed) in [
        ("a", "a"),
        ("a{}", "a"),
        ("{a='b',}", "{a=\"b\"}"),
        ("a:b:c{d=~\"e.+\",f!~`\\d`}", "a:b:c{d=~\"e.+\",f!~\"\\\\d\"}"),
        ("{\"my.metric\", \"label name\"=\"x\"}", "{\"label name\"=\"x\",__name__=\"my.metric\"}"),
        ("{__name__=~'a|b', on='x', sum='y'}", "{__name__=~\"a|b\",on=\"x\",sum=\"y\"}"),
        ("by{by='by'}", "by{by=\"by\"}"),
        ("start", "start"),
        ("a @ start()", "a @ start()"),
        ("a @ -1.0005 offset -1h", "a @ -1.001 offset -1h"),
        ("a offset 1d@end()", "a @ end() offset 1d"),
        ("a[5M:] # comment", ""),
        ("a[300]", "a[5m]"),
        ("a[1s1ms:1.001]", "a[1s1ms:1s1ms]"),
        ("a @ 3999999999999.999", "a @ 3999999999999.999"),
        ("a[5m] smoothed offset 5 @ 7", "a[5m] smoothed @ 7.000 offset 5s"),
        ("a anchored", "a anchored"),
        ("a offset 0s", "a"),
        ("rate(a[5m])[1h:] offset 3m", "rate(a[5m])[1h:] offset 3m"),
        ("a[1h::5m]", "a[1h::5m]"),
        ("sum(a)[1h:5m] @ 3", "sum(a)[1h:5m] @ 3.000"),
        ("a # one\n + # two\n b", "a + b"),
    ] {
        if printed.is_empty() {
            assert!(parse(text).is_err(), "{text}");
        } else {
            prints(text, printed);
        }
    }
}

#[test]
fn durations_of_every_form() {
    for (text, printed) in [
        ("a[5m*2]", "a[5m * 2]"),
        ("a[-5m+35m]", "a[-5m + 35m]"),
        ("a[1+(STep()-5)*2]", "a[1 + (step() - 5) * 2]"),
        ("a[max_of(min_of(step()+1,1h),1ms)]", "a[max_of(min_of(step() + 1, 1h), 1ms)]"),
        ("a[(30m)]", "a[(30m)]"),
        ("a[-2^2+1h]", "a[-2 ^ 2 + 1h]"),
        ("a[range():step()]", "a[range():step()]"),
        ("a offset -step()", "a offset -step()"),
        ("a offset +min_of(1m,2m)", "a offset min_of(1m, 2m)"),
        ("a offset -(1m+2)", "a offset -(1m + 2)"),
        ("a offset (1m+2)", "a offset (1m + 2)"),
    ] {
        prints(text, printed);
    }
    // A literal, a call or a signed parenthesis ends the offset.
    for text in ["a offset 100 + 2", "a offset -2 ^ 2", "a offset step()*0", "a offset -(1m)+8000"] {
        assert!(matches!(parse(text).unwrap(), Expr::Binary(_)), "{text}");
    }
    assert!(matches!(parse("a offset (1m) + 8000").unwrap(), Expr::Vector(_)));
    assert!(matches!(parse("a offset (1m) / b").unwrap(), Expr::Binary(_)));
}

#[test]
fn calls_and_aggregations() {
    for (text, printed) in [
        ("SUM(a)", "sum(a)"),
        ("sum by() (a)", "sum(a)"),
        ("sum(a) without(b,)", "sum without (b) (a)"),
        ("topk by (\"x y\", on, by) (3, a)", "topk by (\"x y\", on, by) (3, a)"),
        ("count_values('v',a)", "count_values(\"v\", a)"),
        ("limitk(2,a)", "limitk(2, a)"),
        ("time()", "time()"),
        ("step()+range()", "step() + range()"),
        ("max_of(1, start())", "max_of(1, start())"),
        ("info(a, {b=~'.*'})", "info(a, {b=~\".*\"})"),
        ("label_join(a,'b','c','d','e','f')", "label_join(a, \"b\", \"c\", \"d\", \"e\", \"f\")"),
        ("round(a, 5m)", "round(a, 5m)"),
        ("5m == bool 300", "5m == bool 300"),
        ("0x1f + 0755 + 1_000 + NaN + .5e-2", "31 + 493 + 1000 + NaN + 0.005"),
        ("'a\\xffb'", "\"a\\xffb\""),
    ] {
        prints(text, printed);
    }
}

/// First mistake of an expression, as upstream says it.
#[test]
fn mistakes_are_said_with_their_place() {
    for (text, message) in [
        ("", "1:1: parse error: no expression found in input"),
        ("# only", "1:1: parse error: no expression found in input"),
        ("1+", "1:3: parse error: unexpected end of input"),
        ("a b", "1:3: parse error: unexpected identifier \"b\""),
        ("(a", "1:3: parse error: unclosed left parenthesis"),
        ("a)", "1:3: parse error: unexpected right parenthesis ')'"),
        ("a{", "1:3: parse error: unexpected end of input inside braces"),
        ("a{b}", "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("a{b=c}", "1:5: parse error: unexpected identifier \"c\" in label matching, expected string"),
        (
            "a{b='c' d='e'}",
            "1:9: parse error: unexpected identifier \"d\" in label matching, expected \",\" or \"}\"",
        ),
        ("a{,}", "1:3: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{a=~'.*'}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("a{__name__='b'}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""),
        ("a{'b'}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""),
        ("foo(a)", "1:1: parse error: unknown function with name \"foo\""),
        (
            "\n rate(a)",
            "2:7: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("rate()", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 0"),
        ("round(a,1,2)", "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3"),
        (
            "label_join(a)",
            "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 1",
        ),
        ("rate(a[5m],)", "1:11: parse error: trailing commas not allowed in function call args"),
        ("sum()", "1:1: parse error: no arguments for aggregate expression provided"),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        (
            "topk(a)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        ("sum by a (b)", "1:8: parse error: unexpected identifier \"a\" in grouping opts, expected \"(\""),
        ("sum by (1) (b)", "1:9: parse error: unexpected number \"1\" in grouping opts, expected label"),
        ("1 > 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("1 and 2", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("a and on(x) group_left b", "1:1: parse error: no grouping allowed for \"and\" operation"),
        (
            "a + on(x) group_left(x) b",
            "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once",
        ),
        ("a or fill(1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("1 + fill(1) b", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        (
            "-'a'",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        (
            "a[5m] + 1",
            "1:1: parse error: binary expression must contain only scalar and instant vector types",
        ),
        ("1[5m]", "1:2: parse error: ranges only allowed for vector selectors"),
        ("a offset 5m[5m]", "1:12: parse error: no offset modifiers allowed before range"),
        ("a @ 1[5m]", "1:6: parse error: no @ modifiers allowed before range"),
        ("a[5m][5m]", "1:6: parse error: ranges only allowed for vector selectors"),
        ("1[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"),
        ("a offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
        ("a @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("a[0.0001]", "1:3: parse error: duration must be greater than 0"),
        ("a @ 1e13", "1:1: parse error: timestamp out of bounds for @ modifier: 10000000000000.000000"),
        ("a @ NaN", "1:1: parse error: timestamp out of bounds for @ modifier: NaN"),
        ("a @ b", "1:5: parse error: unexpected identifier \"b\" in @, expected timestamp"),
        (
            "sum(a) offset 5m",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "a offset b",
            "1:10: parse error: unexpected identifier \"b\" in offset, expected number, duration, step(), or range()",
        ),
        ("a[0]", "1:3: parse error: duration must be greater than 0"),
        ("a[5mx]", "1:3: parse error: bad number or duration syntax: \"5mx\""),
        ("a[5m", "1:5: parse error: unclosed left bracket"),
        (
            "a[5m 6m]",
            "1:6: parse error: unexpected duration \"6m\" in subquery or range, expected \":\" or \"]\"",
        ),
        ("a[1m1h]", "1:3: parse error: not a valid duration string: \"1m1h\""),
        ("a[:5m]", "1:3: parse error: unexpected colon before duration in duration expression"),
        ("a[b]", "1:3: parse error: unexpected character in duration expression: 'b'"),
        ("a[99999y]", "1:3: parse error: duration out of range"),
        (
            "a[5m] anchored smoothed",
            "1:1: parse error: anchored and smoothed modifiers cannot be used together",
        ),
        ("a[5m:] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"),
        ("'a", "1:1: parse error: unterminated quoted string"),
        ("'\\q'", "1:1: parse error: unknown escape sequence U+0071 'q'"),
        ("'\\x.'", "1:1: parse error: illegal character U+002E '.' in escape sequence"),
        ("'\\ud800'", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("'\\", "1:1: parse error: escape sequence not terminated"),
        ("sum a by (b)", "1:5: parse error: unexpected identifier \"a\""),
        ("a - on(b) ignoring(c) d", "1:11: parse error: unexpected <ignoring>"),
        ("sum (a) without (b) by (c)", "1:21: parse error: unexpected <by>"),
        ("sum without(b,,)(a)", "1:15: parse error: unexpected \",\" in grouping opts, expected label"),
        ("-=", "1:2: parse error: unexpected \"=\""),
        ("a =~ 1", "1:3: parse error: unexpected character after '=': '~'"),
        ("topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got instant vector"),
        ("a{b='\\xff'}", "1:5: parse error: invalid UTF-8 in string \"\\xff\""),
        ("1..2", "1:1: parse error: bad number or duration syntax: \"1..\""),
        ("0b1", "1:1: parse error: bad number or duration syntax: \"0\""),
        ("a $ b", "1:3: parse error: unexpected character: '$'"),
        ("a = b", "1:3: parse error: unexpected \"=\""),
        ("info(a, b)", "1:9: parse error: expected label selectors only, got vector selector instead"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let errors = parse("foo(a) + bar(b{c=~'('})").unwrap_err();
    let messages: Vec<&str> = errors.errors().iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[2].contains("regular expression"), "{messages:?}");
    let errors = parse("rate(a) + sum(1) + delta(b)").unwrap_err();
    assert_eq!(errors.errors().len(), 3);
    let many = vec!["f()"; ERRORS_MAX + 5].join("+");
    assert_eq!(parse(&many).unwrap_err().errors().len(), ERRORS_MAX);
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    let opens = |count: usize| format!("{}1{}", "(".repeat(count), ")".repeat(count));
    parse(&opens(NESTING_DEPTH_MAX - 1)).unwrap();
    for text in [
        opens(NESTING_DEPTH_MAX),
        opens(20_000),
        "-".repeat(20_000) + "a",
        vec!["1"; NESTING_DEPTH_MAX + 1].join("+"),
        vec!["a"; 20_000].join("^"),
        format!("a[{}1{}]", "(".repeat(20_000), ")".repeat(20_000)),
        format!("a[{}]", vec!["1"; 20_000].join("+")),
        format!("a[{}1]", "-(".repeat(20_000)),
        format!("a{}", "[1:1]".repeat(20_000)),
        "sum(".repeat(20_000),
    ] {
        let errors = parse(&text).unwrap_err();
        let found = errors.errors().iter().any(|error| error.message.contains("nested more than"));
        assert!(found || errors.to_string().contains("unclosed"), "{errors}");
    }
    parse(&vec!["1"; NESTING_DEPTH_MAX].join("+")).unwrap();
    let long = " ".repeat(EXPRESSION_BYTES_MAX) + "1";
    assert!(parse(&long).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn a_selector_alone_may_meet_every_series() {
    assert_eq!(parse_selector("{a=~\".*\"}").unwrap().len(), 1);
    assert_eq!(parse_selector("up{a='b'}").unwrap().len(), 2);
    assert!(parse_selector("{}").unwrap().is_empty());
    for text in ["a[5m]", "a + b", "1", "", "rate(a[1m])"] {
        assert!(parse_selector(text).is_err(), "{text}");
    }
}

#[test]
fn long_expressions_are_split_as_upstream_does() {
    let text = "label_replace(sum by (job, instance) (rate(http_requests_total{job=\"api-server\",group=\"canary\"}[5m])), \"a\", \"b\", \"c\", \"d\") / on (job) quantile(0.9, b)";
    let expected = "  label_replace(
    sum by (job, instance) (rate(http_requests_total{group=\"canary\",job=\"api-server\"}[5m])),
    \"a\",
    \"b\",
    \"c\",
    \"d\"
  )
/ on (job)
  quantile(0.9, b)";
    assert_eq!(pretty(&parse(text).unwrap()), expected);
    same("a + b");
}

/// Pieces of the language, from which texts are made that are nearly right.
const PIECES: [&str; 62] = [
    "a",
    "b:c",
    "sum",
    "by",
    "(",
    ")",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ":",
    "::",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    "!=",
    "<",
    ">",
    "<=",
    ">=",
    "=~",
    "!~",
    "=",
    "\"x\"",
    "'y'",
    "`z`",
    "5m",
    "1h30m",
    "300",
    "0x1f",
    "Inf",
    "NaN",
    "offset",
    "@",
    "start()",
    "end()",
    "step()",
    "range()",
    "min_of(",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "fill(",
    "rate(",
    "topk(",
    "and",
    "or",
    "unless",
    "atan2",
    "anchored",
    "smoothed",
    "# c\n",
    "\\",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        check_text(&text)?;
    }

    #[test]
    fn any_pieces_are_read_or_refused(pieces in proptest::collection::vec(0..PIECES.len(), 0..30)) {
        let text: Vec<&str> = pieces.iter().map(|index| PIECES[*index]).collect();
        check_text(&text.join(" "))?;
        check_text(&text.concat())?;
    }

    /// Good expressions with some bytes changed, taken out or doubled.
    #[test]
    fn changed_expressions_are_read_or_refused(
        pick in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let mut bytes = SEEDS[pick.index(SEEDS.len())].as_bytes().to_vec();
        for (place, byte, kind) in changes {
            let at = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                0 if !bytes.is_empty() => bytes[at] = byte & 0x7f,
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => {
                    let end = bytes.len().min(at + usize::from(byte % 16));
                    let copy = bytes[at.min(end)..end].to_vec();
                    bytes.extend(copy);
                }
            }
        }
        check_text(&String::from_utf8_lossy(&bytes))?;
    }
}

const SEEDS: [&str; 8] = [
    "sum by (a, \"b c\") (rate(foo{x=~\"y.*\",\"q r\"!='z'}[5m] offset 1m)) / on(a) group_left(c) bar",
    "histogram_quantile(0.9, sum(rate({\"my.metric\", le!=\"\"}[step()*2:min_of(1m, range())] @ end())) by (le))",
    "-a ^ 2 ^ -b offset -(1m+2s) and bool or unless fill(1) c",
    "a + fill_left(-1) fill_right(NaN) b > bool 0x1F",
    "quantile_over_time(.5, a[1h::5m] @ 1609746000.123) atan2 time() # end",
    "label_replace(up, 'a', \"$1\\x41\\u00e9\", `b`, '(.*)') == 1e-3",
    "rate(a[5m] anchored) - increase(b[1d1ms] smoothed)",
    "topk without(x) (3, a) </ 5 >/ 1_000",
];

/// Whatever reads prints, and reads back as the same; nothing panics; places are within the text.
fn check_text(text: &str) -> Result<(), TestCaseError> {
    match parse(text) {
        Ok(expr) => {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert!(again.as_ref() == Ok(&expr), "{} -> {}: {:?}", text, printed, again);
            prop_assert_eq!(&parse(&pretty(&expr)).map(|expr| expr.to_string()), &Ok(printed));
            expr.walk(&mut |node| {
                let place = node.place();
                assert!(place.start <= place.end && text.get(place.start..place.end).is_some(), "{text}");
            });
            assert!(crate::json::to_json(&expr).is_object());
        }
        Err(errors) => prop_assert!(!errors.errors().is_empty()),
    }
    Ok(())
}
