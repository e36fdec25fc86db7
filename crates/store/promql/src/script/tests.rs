use proptest::prelude::*;

use super::*;

fn values(text: &str) -> Vec<Option<f64>> {
    let values = parse_series(text).unwrap_or_else(|why| panic!("{text}: {why}")).1;
    let float = |value| match value {
        Value::Float(value) => value,
        Value::Histogram { histogram, .. } => histogram.sum,
    };
    values.into_iter().map(|value| value.map(float)).collect()
}

#[test]
fn values_of_every_form() {
    for (text, expected) in [
        ("a 1 2.5 -3e2", vec![Some(1.0), Some(2.5), Some(-300.0)]),
        ("a 1+2x2", vec![Some(1.0), Some(3.0), Some(5.0)]),
        ("a 1-2x1 7", vec![Some(1.0), Some(-1.0), Some(7.0)]),
        ("a 1x2", vec![Some(1.0); 3]),
        ("a -1x0", vec![Some(-1.0)]),
        ("a _ _x2 1", vec![None, None, None, Some(1.0)]),
        (
            "a{b='c d} {', \"e f\"=`\\`}  Inf\t-Inf +inf",
            vec![Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(f64::INFINITY)],
        ),
        ("{}", vec![]),
        ("{a='b'} {{sum:1}}x1 {{}}", vec![Some(1.0), Some(1.0), Some(0.0)]),
        ("a {{sum:1 count:1}}+{{sum:2}}x2", vec![Some(1.0), Some(3.0), Some(5.0)]),
        ("a {{sum:1}}-{{sum:2}}x1", vec![Some(1.0), Some(-1.0)]),
    ] {
        assert_eq!(values(text), expected, "{text}");
    }
    assert!(metrics_api::is_stale(values("a stale")[0].unwrap()));
    assert!(values("a NaN")[0].unwrap().is_nan());
    let (labels, _) = parse_series("{\"my.metric\", a=\"b\"} 1").unwrap();
    assert_eq!(labels.to_string(), "{\"my.metric\", a=\"b\"}");
}

#[test]
fn histograms_of_every_form() {
    let text = "a {{schema:-1 sum:-5 count:4 z_bucket:1 z_bucket_w:0.001 buckets:[1 2 0 1] offset:-3 n_buckets:[3 ] n_offset:2 counter_reset_hint:gauge}}";
    let (_, values) = parse_series(text).unwrap();
    let Some(Value::Histogram { histogram, reset_is_given }) = &values[0] else { panic!() };
    assert!(reset_is_given);
    assert_eq!(histogram.counter_reset, metrics_api::CounterReset::Gauge);
    assert_eq!((histogram.schema, histogram.sum, histogram.zero_threshold), (-1, -5.0, 0.001));
    assert_eq!(histogram.positive_spans, [metrics_api::Span { offset: -3, length: 4 }]);
    assert_eq!(histogram.negative_spans, [metrics_api::Span { offset: 2, length: 1 }]);
    assert_eq!(histogram.check(), Ok(()));

    // The step has four times the resolution and meets the base in its buckets.
    let (_, values) =
        parse_series("a {{count:1 sum:1 buckets:[1] offset:1}}+{{schema:1 count:3 sum:1 buckets:[1 1 1]}}x1")
            .unwrap();
    let Some(Value::Histogram { histogram, .. }) = &values[1] else { panic!() };
    assert_eq!(histogram.positive_spans, [metrics_api::Span { offset: 0, length: 2 }]);
    assert_eq!(histogram.positive_buckets, [1.0, 3.0]);
}

#[test]
fn series_that_are_none_say_why() {
    for (text, why) in [
        ("a b", "expected a number"),
        ("{{sum:1}}", "unexpected left brace"),
        ("a 1+2", "expected x"),
        ("a 1y", "expected a number"),
        ("a 1x", "invalid repetition"),
        ("a 1x99999999", "invalid repetition"),
        ("a 1x600000 1x600000", "more than"),
        ("a _2", "unexpected"),
        ("a{b=1} 1", "parse error"),
        ("a{b=~'c'} 1", "expected \"=\""),
        ("a {{what:1}}", "bad histogram descriptor"),
        ("a {{sum:1 sum:2}}", "duplicate key"),
        ("a {{sum}}", "missing"),
        ("a {{sum:1", "incomplete"),
        ("a {{buckets:[1 2}}", "expected a number"),
        ("a {{schema:900}}", "invalid schema"),
        ("a {{schema:1}}+{{schema:0}}x2", "cannot merge"),
        ("a {{counter_reset_hint:maybe}}", "unknown counter_reset_hint"),
    ] {
        let found = parse_series(text).unwrap_err();
        assert!(found.contains(why), "{text}: {found}");
    }
}

const SCRIPT: &str = r#"
# A comment.
clear

load 30s
  a{b="c"} 1 _ 3
  a{b="d"} 4
  a{b="c"} 5+1x1

load_with_nhcb 1m
  h_bucket{le="1"} 1

eval instant at 1m30s sum by (b) (a)
  expect warn msg: PromQL warning: careful (1:1)
  expect info regex: ^some.*
  expect ordered
  {b="d"} 4
  {b="c"} 6

eval range from 0 to 1m step 30s a
  expect no_warn
  expect no_info
  a{b="c"} 5 6 _

eval instant at 0 a[1m]
  expect range vector from 10s to 1m step 10s
  a{b="c"} 1 2 3

eval instant at 0 -1
  -1

eval instant at 0 "x"
  expect string "x\n"

eval_fail instant at 0 a + a
  expected_fail_regexp many.to.many

eval instant at 0 a
  expect fail msg: no

nonsense
"#;

#[test]
fn a_script_of_every_command() {
    let refused = parse_script(SCRIPT).unwrap_err();
    assert_eq!(refused.line, 41, "{refused}");
    let script = parse_script(SCRIPT.trim_end().trim_end_matches("nonsense")).unwrap();
    assert_eq!(script.commands.len(), 10);
    assert_eq!(script.commands[0], Command::Clear { line: 3 });
    let Command::Load(load) = &script.commands[1] else { panic!() };
    assert_eq!((load.line, load.interval_ms, load.with_nhcb, load.series.len()), (5, 30_000, false, 2));
    assert_eq!(load.series[0].samples, [(0, Value::Float(5.0)), (30_000, Value::Float(6.0))]);
    let Command::Load(load) = &script.commands[2] else { panic!() };
    assert!(load.with_nhcb);
    let Command::Eval(eval) = &script.commands[3] else { panic!() };
    assert_eq!(eval.when, When::Instant { at_ms: 90_000 });
    assert_eq!(eval.query, "sum by (b) (a)");
    assert!(eval.expect.ordered && eval.expect.fail.is_none());
    assert!(eval.expect.warnings[0].matches("PromQL warning: careful (1:1)"));
    assert!(eval.expect.infos[0].matches("something") && !eval.expect.infos[0].matches("no something"));
    let Expected::Series(series) = &eval.expect.result else { panic!() };
    assert_eq!(series[0].labels.to_string(), "{b=\"d\"}");
    let Command::Eval(eval) = &script.commands[4] else { panic!() };
    assert_eq!(eval.when, When::Range { start_ms: 0, end_ms: 60_000, step_ms: 30_000 });
    assert!(eval.expect.no_warnings && eval.expect.no_infos);
    let Command::Eval(eval) = &script.commands[5] else { panic!() };
    let times = PointTimes { start_ms: 10_000, end_ms: 60_000, step_ms: 10_000 };
    assert_eq!(eval.expect.range_vector, Some(times));
    let Command::Eval(eval) = &script.commands[6] else { panic!() };
    assert_eq!(eval.expect.result, Expected::Scalar(-1.0));
    let Command::Eval(eval) = &script.commands[7] else { panic!() };
    assert_eq!(eval.expect.result, Expected::String("x\n".to_owned()));
    let Command::Eval(eval) = &script.commands[8] else { panic!() };
    assert!(eval.expect.fail.as_ref().unwrap().matches("it is many-to-many"));
    let Command::Eval(eval) = &script.commands[9] else { panic!() };
    assert_eq!(eval.expect.fail, Some(Match::Exact("no".to_owned())));
}

#[test]
fn scripts_that_are_none_say_the_line() {
    for (text, line, why) in [
        ("\nfoo", 2, "invalid command"),
        ("load", 1, "invalid load"),
        ("load 5", 1, "invalid step"),
        ("load_x 5m", 1, "invalid load"),
        ("load 5m\n a b", 2, "expected a number"),
        ("load 5m\n a@st 1m", 2, "not supported"),
        ("eval instant at x a", 1, "invalid timestamp"),
        ("eval instant a", 1, "invalid evaluation"),
        ("eval_ordered range from 0 to 1 step 1 a", 1, "invalid evaluation"),
        ("eval range from 1m to 0 step 1m a", 1, "before the start"),
        ("eval instant at 0 a +", 1, "unexpected end of input"),
        ("eval instant at 0 a\n a 1 2", 2, "range vector"),
        ("eval instant at 0 a\n expect maybe", 2, "invalid expect"),
        ("eval instant at 0 a\n expect warn x", 2, "invalid expect"),
        ("eval instant at 0 a\n expect fail\n expect fail", 3, "multiple"),
        ("eval instant at 0 a\n expect info\n expect no_info", 3, "together"),
        ("eval instant at 0 a\n expect string x", 2, "not quoted"),
        ("eval instant at 0 a\n expect warn regex:(", 2, "invalid regex"),
        ("eval instant at 0 a\n expect range vector from 0", 2, "range vector definition"),
    ] {
        let found = parse_script(text).unwrap_err();
        assert!(found.line == line && found.why.contains(why), "{text}: {found}");
    }
}

proptest! {
    #[test]
    fn any_series_is_read_or_refused(text in "[a-c0-9{}\\[\\]\":=x+_ .,-]{0,60}") {
        let _ = parse_series(&text);
        let _ = parse_series(&format!("a {{{{{text}}}}}"));
    }

    #[test]
    fn any_script_is_read_or_refused(text in "(load 1m|eval instant at 0 a|expect |clear|a 1x2|\n|[a-z\"{}\u{80}-\u{90}]){0,20}") {
        let _ = parse_script(&text);
    }
}

/// The scripts that upstream's engine is tested with, when they are at hand.
#[test]
fn conformance_scripts_are_read_whole() {
    let Some(folder) = std::env::var_os("STEAD_CONFORMANCE") else {
        eprintln!("left out: STEAD_CONFORMANCE does not name the conformance folder");
        return;
    };
    let folder = std::path::Path::new(&folder).join("promqltest");
    let mut queries = 0;
    let files = std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "test") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let script = parse_script(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        for command in &script.commands {
            let Command::Eval(eval) = command else { continue };
            queries += 1;
            let expr = crate::parse(&eval.query).unwrap();
            let printed = expr.to_string();
            assert_eq!(crate::parse(&printed).as_ref(), Ok(&expr), "{} -> {printed}", eval.query);
            assert_eq!(crate::parse(&crate::pretty(&expr)).as_ref(), Ok(&expr), "{}", eval.query);
        }
    }
    assert!(queries > 0, "no scripts in {}", folder.display());
}
