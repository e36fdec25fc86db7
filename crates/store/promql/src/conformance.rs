//! Runs test scripts of upstream's form against the evaluator over a store in memory.
//!
//! Beside what a script says, each instant query is asked once more as a range query around its
//! time, and has to give the same there. Numbers may differ in the last digits, as upstream's runner
//! allows.

use std::{collections::BTreeMap, sync::Arc};

use base::Tenant;
use futures_util::FutureExt;
use metrics_api::{
    Budget, CounterReset, Histogram, Labels, Limits, METRIC_NAME, NHCB_SCHEMA, Span, WriteBatch,
    memory::MemoryStore,
};

use crate::{
    eval::{self, Answer, Engine, Options, Query, Sample},
    histogram::{classic::almost_equal, compact, detect_reset},
    script::{self, Command, Eval, Expected, ExpectedSeries, Load, When},
};

/// How far numbers may differ, relatively.
const EPSILON: f64 = 0.000_001;
/// How far around an instant the range query reaches, and its step.
const AROUND_MS: i64 = 60_000;

/// What became of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub passed: usize,
    pub failed: usize,
    /// Case, `script:line`, and why it failed.
    pub failures: Vec<(String, String)>,
}

impl Report {
    pub fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }

    fn fail(&mut self, case: String, why: String) {
        self.failed += 1;
        self.failures.push((case, why));
    }
}

/// Runs one script; `name` stands in the names of its cases.
#[must_use]
pub fn run_script(text: &str, name: &str) -> Report {
    let mut report = Report::default();
    let script = match script::parse_script(text) {
        Ok(script) => script,
        Err(error) => {
            report.fail(name.to_owned(), error.to_string());
            return report;
        }
    };
    let mut store = Arc::new(MemoryStore::new());
    for command in &script.commands {
        match command {
            Command::Clear { .. } => store = Arc::new(MemoryStore::new()),
            Command::Load(load) => {
                if let Err(why) = fill(&store, load) {
                    report.fail(format!("{name}:{}", load.line), why);
                }
            }
            Command::Eval(eval) => match check(&store, eval) {
                Ok(()) => report.passed += 1,
                Err(why) => {
                    report.fail(format!("{name}:{}", eval.line), format!("{why}\n    {}", eval.query))
                }
            },
        }
    }
    report
}

fn tenant() -> Result<Tenant, String> {
    Tenant::parse("default").map_err(|error| error.to_string())
}

fn fill(store: &MemoryStore, load: &Load) -> Result<(), String> {
    let mut batch = WriteBatch::default();
    for series in &load.series {
        batch.row(&series.labels);
        for (time, value) in &series.samples {
            match value {
                script::Value::Float(value) => batch.float(*time, *value),
                script::Value::Histogram { .. } => &mut batch,
            };
        }
        for (time, histogram) in stored_histograms(&series.samples) {
            batch.histogram(time, histogram);
        }
    }
    if load.with_nhcb {
        for (labels, histograms) in custom_bucket_histograms(load) {
            batch.row(&labels);
            for (time, histogram) in histograms {
                batch.histogram(time, histogram);
            }
        }
    }
    store.write_now(&tenant()?, &batch).map(drop).map_err(|error| error.to_string())
}

/// Histograms of a series as upstream's storage would give them back: a sample says that its counter
/// was not reset when it continues the run before it, and nothing when it begins a run.
fn stored_histograms(samples: &[(i64, script::Value)]) -> Vec<(i64, Histogram)> {
    let mut stored = Vec::new();
    let mut before: Option<&Histogram> = None;
    for (time, value) in samples {
        let script::Value::Histogram { histogram, .. } = value else {
            before = None;
            continue;
        };
        let continues = before.is_some_and(|before| {
            before.schema == histogram.schema
                && before.zero_threshold == histogram.zero_threshold
                && before.custom_values == histogram.custom_values
                && !before.is_stale()
                && before.counter_reset != CounterReset::Gauge
                && !detect_reset(histogram, before)
        });
        let mut given = (**histogram).clone();
        given.counter_reset = match histogram.counter_reset {
            CounterReset::Gauge => CounterReset::Gauge,
            _ if continues => CounterReset::NotReset,
            _ => CounterReset::Unknown,
        };
        stored.push((*time, given));
        before = Some(histogram);
    }
    stored
}

/// Whether the expression names the range or step of the query, so that it differs by how it is
/// asked.
fn depends_on_range(query: &str) -> bool {
    ["start()", "end()", "step()", "range()"].iter().any(|call| query.contains(call))
}

/// Buckets by upper boundary, count and sum of a classic histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// Classic histograms as native ones of custom buckets.
fn custom_bucket_histograms(load: &Load) -> BTreeMap<Labels, Vec<(i64, Histogram)>> {
    let mut found: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for series in &load.series {
        let name = series.labels.metric_name();
        let le = series.labels.get("le").parse::<f64>();
        let Some((base, part)) = name.rsplit_once('_') else { continue };
        if !matches!(part, "bucket" | "count" | "sum") || (part == "bucket" && le.is_err()) {
            continue;
        }
        let labels = series.labels.with("le", "").with(METRIC_NAME, base);
        for (time, value) in &series.samples {
            let script::Value::Float(value) = value else { continue };
            let classic = found.entry(labels.clone()).or_default().entry(*time).or_default();
            match (part, &le) {
                ("bucket", Ok(le)) => classic.buckets.push((*le, *value)),
                ("count", _) => classic.count = Some(*value),
                _ => classic.sum = *value,
            }
        }
    }
    let build = |times: BTreeMap<i64, Classic>| -> Vec<(i64, Histogram)> {
        times
            .into_iter()
            .filter(|(_, classic)| !classic.buckets.is_empty())
            .map(|(time, classic)| (time, custom_buckets(classic)))
            .collect()
    };
    found
        .into_iter()
        .map(|(labels, times)| (labels, build(times)))
        .filter(|(_, histograms)| !histograms.is_empty())
        .collect()
}

fn custom_buckets(mut classic: Classic) -> Histogram {
    classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let last = classic.buckets.last().map_or(0.0, |bucket| bucket.1);
    let count = classic.count.unwrap_or(last);
    if classic.buckets.last().is_none_or(|bucket| bucket.0 != f64::INFINITY) {
        classic.buckets.push((f64::INFINITY, count));
    }
    let mut before = 0.0;
    let counts: Vec<f64> =
        classic.buckets.iter().map(|bucket| bucket.1 - std::mem::replace(&mut before, bucket.1)).collect();
    let bounds = classic.buckets.iter().map(|bucket| bucket.0).filter(|bound| bound.is_finite());
    compact(Histogram {
        schema: NHCB_SCHEMA,
        count,
        sum: classic.sum,
        positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
        positive_buckets: counts,
        custom_values: bounds.collect(),
        ..Histogram::default()
    })
}

fn ask(store: &Arc<MemoryStore>, query: &str, when: eval::When) -> Result<Answer, eval::Error> {
    let reader: Arc<dyn metrics_api::Reader> = Arc::<MemoryStore>::clone(store);
    let engine = Engine::new(reader, Options::default());
    let tenant = Tenant::parse("default").map_err(|error| eval::Error::BadQuery(error.to_string()))?;
    let query = Query::parse(query, when)?;
    let prepared = engine.prepare(&tenant, query, Budget::new(Limits::default())).now_or_never();
    // The store in memory answers at once.
    prepared.ok_or_else(|| eval::Error::BadQuery("the store did not answer".into()))??.run()
}

fn check(store: &Arc<MemoryStore>, eval: &Eval) -> Result<(), String> {
    let when = match eval.when {
        When::Instant { at_ms } => eval::When::Instant(at_ms),
        When::Range { start_ms, end_ms, step_ms } => eval::When::Range { start_ms, end_ms, step_ms },
    };
    let expect = &eval.expect;
    let answer = match (ask(store, &eval.query, when), &expect.fail) {
        (Ok(_), Some(wanted)) => return Err(format!("it should have failed with {wanted}")),
        (Err(error), Some(wanted)) => {
            let said = error.to_string();
            return if wanted.matches(&said) {
                Ok(())
            } else {
                Err(format!("it failed with {said:?} instead of {wanted}"))
            };
        }
        (Err(error), None) => return Err(format!("it failed: {error}")),
        (Ok(answer), None) => answer,
    };
    check_notes("warning", &answer.warnings, &expect.warnings, expect.no_warnings)?;
    check_notes("info", &answer.infos, &expect.infos, expect.no_infos)?;
    check_value(&answer.value, eval)?;
    let When::Instant { at_ms } = eval.when else { return Ok(()) };
    if expect.ordered
        || depends_on_range(&eval.query)
        || matches!(answer.value, eval::Value::Matrix(_) | eval::Value::String { .. })
    {
        return Ok(());
    }
    check_as_range(store, eval, at_ms).map_err(|why| format!("as a range query: {why}"))
}

/// The same at the middle of a range query.
fn check_as_range(store: &Arc<MemoryStore>, eval: &Eval, at_ms: i64) -> Result<(), String> {
    let when =
        eval::When::Range { start_ms: at_ms - AROUND_MS, end_ms: at_ms + AROUND_MS, step_ms: AROUND_MS };
    let answer = ask(store, &eval.query, when).map_err(|error| error.to_string())?;
    let eval::Value::Matrix(matrix) = answer.value else { return Err("it gives no range vector".into()) };
    let mut vector = Vec::new();
    for points in matrix {
        let float = points.floats.iter().find(|point| point.0 == at_ms).map(|point| Sample::Float(point.1));
        let histogram = points.histograms.iter().find(|point| point.0 == at_ms);
        let value = float.or_else(|| histogram.map(|point| Sample::Histogram(Arc::clone(&point.1))));
        vector.extend(value.map(|value| (points.labels, value)));
    }
    match &eval.expect.result {
        Expected::Scalar(wanted) => match vector.as_slice() {
            [(_, Sample::Float(found))] => same_float(*found, *wanted),
            other => Err(format!("{} series instead of a scalar", other.len())),
        },
        Expected::String(_) => Ok(()),
        Expected::Series(wanted) => check_vector(&vector, wanted, false),
    }
}

fn check_notes(kind: &str, found: &[String], wanted: &[script::Match], none: bool) -> Result<(), String> {
    if none && !found.is_empty() {
        return Err(format!("there is a {kind}: {}", found.join("; ")));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    if let Some(other) = found.iter().find(|note| !wanted.iter().any(|wanted| wanted.matches(note))) {
        return Err(format!("the {kind} {other:?} is not expected"));
    }
    match wanted.iter().find(|wanted| !found.iter().any(|note| wanted.matches(note))) {
        Some(missing) => Err(format!("there is no {kind} like {missing}")),
        None => Ok(()),
    }
}

fn check_value(value: &eval::Value, eval: &Eval) -> Result<(), String> {
    match (value, &eval.expect.result) {
        (eval::Value::Scalar { value, .. }, Expected::Scalar(wanted)) => same_float(*value, *wanted),
        (eval::Value::String { value, .. }, Expected::String(wanted)) if value == wanted => Ok(()),
        (eval::Value::Vector(vector), Expected::Series(wanted)) => {
            let found: Vec<_> =
                vector.iter().map(|sample| (sample.labels.clone(), sample.value.clone())).collect();
            check_vector(&found, wanted, eval.expect.ordered)
        }
        (eval::Value::Matrix(matrix), Expected::Series(wanted)) => {
            let (start, step) = match (eval.when, eval.expect.range_vector) {
                (_, Some(times)) => (times.start_ms, times.step_ms),
                (When::Range { start_ms, step_ms, .. }, None) => (start_ms, step_ms),
                (When::Instant { at_ms }, None) => (at_ms, 1),
            };
            check_matrix(matrix, wanted, start, step)
        }
        (eval::Value::Scalar { value, .. }, Expected::Series(wanted)) => {
            check_vector(&[(Labels::empty(), Sample::Float(*value))], wanted, false)
        }
        (found, wanted) => Err(format!("{found:?} instead of {wanted:?}")),
    }
}

fn check_vector(found: &[(Labels, Sample)], wanted: &[ExpectedSeries], ordered: bool) -> Result<(), String> {
    let shown = || {
        let all: Vec<_> = found.iter().map(|(labels, value)| format!("{labels} {}", show(value))).collect();
        format!("[{}]", all.join("; "))
    };
    let wanted: Vec<_> =
        wanted.iter().filter_map(|series| Some((&series.labels, series.values.first()?.as_ref()?))).collect();
    if found.len() != wanted.len() {
        return Err(format!("{} series instead of {}: {}", found.len(), wanted.len(), shown()));
    }
    for (at, (labels, value)) in wanted.iter().enumerate() {
        let place = found.iter().position(|(found, _)| found == *labels);
        let Some(place) = place else { return Err(format!("no series {labels} in {}", shown())) };
        if ordered && place != at {
            return Err(format!("{labels} stands at {place} instead of {at} in {}", shown()));
        }
        same(&found[place].1, value).map_err(|why| format!("{labels}: {why}"))?;
    }
    Ok(())
}

fn check_matrix(
    found: &[eval::Points],
    wanted: &[ExpectedSeries],
    start_ms: i64,
    step_ms: i64,
) -> Result<(), String> {
    let wanted: Vec<_> = wanted.iter().filter(|series| series.values.iter().any(Option::is_some)).collect();
    if found.len() != wanted.len() {
        let names: Vec<_> = found.iter().map(|points| points.labels.to_string()).collect();
        return Err(format!("{} series instead of {}: {names:?}", found.len(), wanted.len()));
    }
    for series in wanted {
        let labels = &series.labels;
        let Some(points) = found.iter().find(|points| points.labels == *labels) else {
            return Err(format!("no series {labels}"));
        };
        let expected: Vec<_> = series
            .values
            .iter()
            .enumerate()
            .filter_map(|(at, value)| Some((start_ms + at as i64 * step_ms, value.as_ref()?)))
            .collect();
        let count = points.floats.len() + points.histograms.len();
        if expected.len() != count {
            return Err(format!("{labels}: {count} points instead of {}: {points:?}", expected.len()));
        }
        for (time, value) in expected {
            let float = points.floats.iter().find(|point| point.0 == time);
            let histogram = points.histograms.iter().find(|point| point.0 == time);
            let found = match (float, histogram) {
                (Some(point), _) => Sample::Float(point.1),
                (None, Some(point)) => Sample::Histogram(Arc::clone(&point.1)),
                (None, None) => return Err(format!("{labels}: no point at {time} in {points:?}")),
            };
            same(&found, value).map_err(|why| format!("{labels} at {time}: {why}"))?;
        }
    }
    Ok(())
}

fn show(value: &Sample) -> String {
    match value {
        Sample::Float(value) => value.to_string(),
        Sample::Histogram(histogram) => format!("{histogram:?}"),
    }
}

fn same(found: &Sample, wanted: &script::Value) -> Result<(), String> {
    match (found, wanted) {
        (Sample::Float(found), script::Value::Float(wanted)) => same_float(*found, *wanted),
        (Sample::Histogram(found), script::Value::Histogram { histogram, reset_is_given }) => {
            same_histogram(found, histogram, *reset_is_given)
        }
        (found, wanted) => Err(format!("{} instead of {wanted:?}", show(found))),
    }
}

fn same_float(found: f64, wanted: f64) -> Result<(), String> {
    if almost_equal(found, wanted, EPSILON) { Ok(()) } else { Err(format!("{found} instead of {wanted}")) }
}

fn same_histogram(found: &Histogram, wanted: &Histogram, compare_reset: bool) -> Result<(), String> {
    let (found, wanted) = (compact(found.clone()), compact(wanted.clone()));
    let close = |a: f64, b: f64| almost_equal(a, b, EPSILON);
    let all_close = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(*a, *b));
    let equal = found.schema == wanted.schema
        && close(found.count, wanted.count)
        && close(found.sum, wanted.sum)
        && close(found.zero_threshold, wanted.zero_threshold)
        && close(found.zero_count, wanted.zero_count)
        && found.positive_spans == wanted.positive_spans
        && found.negative_spans == wanted.negative_spans
        && all_close(&found.positive_buckets, &wanted.positive_buckets)
        && all_close(&found.negative_buckets, &wanted.negative_buckets)
        && all_close(&found.custom_values, &wanted.custom_values)
        && (!compare_reset || found.counter_reset == wanted.counter_reset);
    if equal { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}")) }
}
