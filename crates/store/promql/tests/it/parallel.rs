//! How many threads a query has changes nothing of its answer.

use std::sync::Arc;

use base::Tenant;
use futures_util::FutureExt;
use metrics_api::{Budget, Histogram, Labels, Limits, Reader, Span, WriteBatch, memory::MemoryStore};
use promql::eval::{Answer, Engine, Error, Options, Query, Value, When};

const STEPS: i64 = 300;
const SERIES: usize = 150;

fn store() -> Arc<dyn Reader> {
    let store = MemoryStore::new();
    let mut batch = WriteBatch::default();
    for number in 0..SERIES {
        let job = format!("job-{}", number % 7);
        batch.row(&Labels::from_pairs([
            ("__name__", "load"),
            ("instance", &number.to_string()),
            ("job", &job),
        ]));
        for at in 0..STEPS {
            let value = ((at * 7919 + number as i64 * 104_729) % 1000) as f64 / 7.0;
            match number % 10 {
                9 => batch.histogram(at * 10_000, histogram(value)),
                _ => batch.float(at * 10_000, if at % 50 == 49 { metrics_api::stale_nan() } else { value }),
            };
        }
    }
    store.write_now(&Tenant::parse("default").unwrap(), &batch).unwrap();
    Arc::new(store)
}

fn histogram(count: f64) -> Histogram {
    Histogram {
        count,
        sum: count * 2.0,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_buckets: vec![count],
        ..Histogram::default()
    }
}

fn ask(reader: &Arc<dyn Reader>, text: &str, parallel_max: usize, limits: Limits) -> Result<Answer, Error> {
    let engine = Engine::new(Arc::clone(reader), Options { parallel_max, ..Options::default() });
    let when = When::Range { start_ms: 0, end_ms: (STEPS - 1) * 10_000, step_ms: 10_000 };
    let query = Query::parse(text, when)?;
    let tenant = Tenant::parse("default").unwrap();
    let prepared = engine.prepare(&tenant, query, Budget::new(limits));
    prepared.now_or_never().unwrap()?.run()
}

/// Equal by bits, so that NaN is NaN and no sum was made in another order.
fn shown(answer: &Answer) -> String {
    let Value::Matrix(matrix) = &answer.value else { panic!("no matrix") };
    let floats = |points: &promql::eval::Points| {
        points.floats.iter().map(|(time, value)| (*time, value.to_bits())).collect::<Vec<_>>()
    };
    let all: Vec<_> =
        matrix.iter().map(|points| (points.labels.clone(), floats(points), &points.histograms)).collect();
    format!("{all:?} {:?} {:?}", answer.warnings, answer.infos)
}

#[test]
fn answers_are_the_same_with_any_number_of_threads() {
    let reader = store();
    for text in [
        "load",
        "rate(load[1m])",
        "sum by (job) (rate(load[1m]))",
        "avg by (job) (load)",
        "topk(3, load)",
        "limitk by (job) (2, load)",
        "quantile_over_time(0.7, load[1m])",
        "sum(sum_over_time(load[1m]))",
        "histogram_count(sum(load))",
        "max_over_time(rate(load[1m])[2m:30s])",
        "load / on (instance) load",
    ] {
        let alone = shown(&ask(&reader, text, 1, Limits::default()).unwrap());
        for threads in [2, 3, 64] {
            let together = shown(&ask(&reader, text, threads, Limits::default()).unwrap());
            assert!(alone == together, "{text} with {threads} threads");
        }
    }
}

#[test]
fn an_error_in_any_thread_ends_the_query() {
    let reader = store();
    for samples_max in [100, 5_000, 20_000] {
        let limits = Limits { samples_max, ..Limits::default() };
        let error = ask(&reader, "load", 4, limits).unwrap_err();
        assert!(matches!(error, Error::Limit(_)), "{error}");
    }
    let limits = Limits { memory_bytes_max: 100_000, ..Limits::default() };
    assert!(matches!(ask(&reader, "load", 4, limits).unwrap_err(), Error::Limit(_)));
}
