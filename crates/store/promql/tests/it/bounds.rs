//! Every bound of a query is hit, and is an error of its own kind.

use std::{sync::Arc, time::Duration};

use base::{Class, Fault, Tenant};
use futures_util::FutureExt;
use metrics_api::{Budget, Labels, Limits, Reader, WriteBatch, memory::MemoryStore};
use promql::eval::{Answer, Engine, Error, Options, Query, Sample, Value, When};

const WHEN: When = When::Range { start_ms: 0, end_ms: 600_000, step_ms: 1_000 };

fn store(series: usize) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    let mut batch = WriteBatch::default();
    for number in 0..series {
        batch.row(&Labels::from_pairs([("__name__", "up"), ("instance", &number.to_string())]));
        for at in 0..100 {
            batch.float(at * 6_000, at as f64);
        }
    }
    store.write_now(&Tenant::parse("default").unwrap(), &batch).unwrap();
    Arc::new(store)
}

fn ask_within(text: &str, when: When, budget: &Arc<Budget>) -> Result<Answer, Error> {
    let reader: Arc<dyn Reader> = store(20);
    let engine = Engine::new(reader, Options::default());
    let tenant = Tenant::parse("default").unwrap();
    let prepared = engine.prepare(&tenant, Query::parse(text, when)?, Arc::clone(budget));
    prepared.now_or_never().unwrap()?.run()
}

fn ask(text: &str, when: When, limits: Limits) -> Result<Answer, Error> {
    ask_within(text, when, &Budget::new(limits))
}

fn assert_limit(text: &str, limits: Limits) {
    let error = ask(text, WHEN, limits).unwrap_err();
    assert!(matches!(error, Error::Limit(_)), "{text}: {error}");
    assert_eq!((error.class(), error.api_type(), error.api_status()), (Class::Limit, "execution", 422));
}

#[test]
fn samples_series_and_bytes_are_bounded() {
    let limits = Limits::default();
    assert_limit("up", Limits { samples_max: 500, ..limits });
    assert_limit("max_over_time(up[5m:1s])", Limits { samples_max: 5_000, ..limits });
    assert_limit("up", Limits { series_max: 10, ..limits });
    for text in [
        "up",
        "rate(up[1m])",
        "sum by (instance) (up)",
        "avg by (instance) (up)",
        "quantile(0.5, up)",
        "stddev by (instance) (up)",
        "topk(5, up)",
        "count_values(\"v\", up)",
        "up + on (instance) up",
        "up or up",
        "label_replace(up, \"a\", \"b\", \"\", \"\")",
        "histogram_quantile(0.5, label_replace(up, \"le\", \"$1\", \"instance\", \"(.*)\"))",
    ] {
        assert_limit(text, Limits { memory_bytes_max: 20_000, ..limits });
    }
}

#[test]
fn an_aggregation_holds_its_groups_and_not_the_series() {
    let budget = Budget::new(Limits::default());
    ask_within("sum(rate(up[1m]))", WHEN, &budget).unwrap();
    let one_group = budget.memory_bytes_peak();
    let budget = Budget::new(Limits::default());
    ask_within("rate(up[1m])", WHEN, &budget).unwrap();
    assert!(one_group * 5 < budget.memory_bytes_peak(), "{one_group} of {}", budget.memory_bytes_peak());
}

#[test]
fn time_and_giving_up_end_a_query() {
    let late = ask("up", WHEN, Limits { time_max: Duration::ZERO, ..Limits::default() }).unwrap_err();
    assert!(matches!(late, Error::Timeout), "{late}");
    assert_eq!((late.api_type(), late.api_status()), ("timeout", 503));
    let budget = Budget::new(Limits::default());
    budget.cancel();
    let gone = ask_within("up", WHEN, &budget).unwrap_err();
    assert!(matches!(gone, Error::Cancelled), "{gone}");
    assert_eq!((gone.api_type(), gone.api_status()), ("canceled", 503));
}

#[test]
fn what_is_no_query_is_bad_data() {
    let limits = Limits { points_max: 100, ..Limits::default() };
    for (text, when) in [
        ("up", WHEN),
        ("up", When::Range { start_ms: 10, end_ms: 0, step_ms: 1 }),
        ("up", When::Range { start_ms: 0, end_ms: 10, step_ms: 0 }),
        ("up[5m]", When::Range { start_ms: 0, end_ms: 10, step_ms: 1 }),
        ("up[step()]", When::Instant(0)),
        ("up{", When::Instant(0)),
        ("up", When::Instant(i64::MAX)),
        ("up", When::Range { start_ms: i64::MIN, end_ms: i64::MAX, step_ms: 1 }),
    ] {
        let error = ask(text, when, limits).unwrap_err();
        assert_eq!((error.api_type(), error.api_status()), ("bad_data", 400), "{text}: {error}");
        assert_eq!(error.class(), Class::Invalid);
    }
}

#[test]
fn an_expression_that_does_not_fit_the_series_is_an_execution_error() {
    let error = ask("up * on () up", When::Instant(60_000), Limits::default()).unwrap_err();
    assert_eq!((error.api_type(), error.api_status()), ("execution", 422));
    assert!(error.to_string().contains("many-to-many matching not allowed"), "{error}");
}

#[test]
fn answers_are_ordered_and_counted() {
    let answer = ask("count(up) + 0 * sum(up)", When::Instant(60_000), Limits::default()).unwrap();
    let Value::Vector(vector) = &answer.value else { panic!("{:?}", answer.value) };
    assert_eq!(vector[0].value, Sample::Float(20.0));
    // The selector that stands twice is read twice and selected once.
    assert_eq!(answer.stats.series, 20);
    let answer = ask("up", WHEN, Limits::default()).unwrap();
    let Value::Matrix(matrix) = answer.value else { panic!("no matrix") };
    assert!(matrix.is_sorted_by(|a, b| a.labels < b.labels));
    assert_eq!(matrix.len(), 20);
}

#[test]
fn far_times_and_long_ranges_are_no_trouble() {
    for text in [
        "up @ 9e9",
        "rate(up[100y] @ -9e9 offset -200y)",
        "max_over_time(up[290y:100y] offset 290y)",
        "info(up @ 9e9 offset 200y)",
        "timestamp(up offset -290y)",
        "day_of_year(vector(1e300)) + year(vector(-1e300))",
    ] {
        let answer = ask(text, When::Instant(60_000), Limits::default());
        assert!(answer.is_ok(), "{text}: {answer:?}");
    }
    let limited = ask("sum_over_time(up[290y:1ms])", When::Instant(0), Limits::default()).unwrap_err();
    assert!(matches!(limited, Error::Limit(_)), "{limited}");
}

#[test]
fn the_deepest_trees_are_walked() {
    let deepest = promql::parse::NESTING_DEPTH_MAX - 5;
    let calls = format!("{}up{}", "abs(".repeat(deepest), ")".repeat(deepest));
    let sums = format!("{}up{}", "sum by (instance) (".repeat(deepest / 2), ")".repeat(deepest / 2));
    let chain = format!("up{}", " * on (instance) up".repeat(deepest / 2));
    for text in [calls, sums, chain] {
        let answer = ask(&text, When::Instant(60_000), Limits::default());
        assert!(answer.is_ok(), "{}: {answer:?}", &text[..40]);
    }
}
