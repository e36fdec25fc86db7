//! Times shapes of queries over series in columns, so that what is measured is the evaluation.
//!
//! `cargo run --release -p promql --features conformance --example shapes [SERIES [STEPS]]`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program of measurement")]

use std::{sync::Arc, time::Instant};

use base::Tenant;
use futures_util::{FutureExt, future::BoxFuture};
use metrics_api::{
    Budget, CardinalityReport, LabelQuery, Labels, Limits, Metadata, Reader, Result, Samples, Select,
    SeriesExemplars, SeriesReader, SeriesSet, TimeRange,
};
use promql::eval::{Engine, Options, Query, When};

const INTERVAL_MS: i64 = 15_000;
const SHAPES: [&str; 14] = [
    "up",
    "rate(up[5m])",
    "sum by (job) (rate(up[5m]))",
    "avg by (job) (up)",
    "histogram_quantile(0.9, sum by (le) (rate(up[5m])))",
    "topk(10, rate(up[5m]))",
    "max_over_time(up[1h])",
    "avg_over_time(up[5m])",
    "quantile_over_time(0.9, up[5m])",
    "max_over_time(rate(up[5m])[30m:1m])",
    "up * 2 + 1",
    "up / on (job, instance, le) up",
    "up and on (instance) up",
    "stddev(up)",
];

#[derive(Debug)]
struct Columns {
    series: Vec<(Labels, Arc<[f64]>)>,
    times: Arc<[i64]>,
}

#[derive(Debug)]
struct Column {
    labels: Labels,
    times: Arc<[i64]>,
    values: Arc<[f64]>,
    budget: Arc<Budget>,
}

impl SeriesReader for Column {
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn read(&mut self, range: TimeRange, into: &mut Samples) -> Result<()> {
        let from = self.times.partition_point(|time| *time < range.start_ms);
        let to = self.times.partition_point(|time| *time <= range.end_ms);
        into.float_times.extend_from_slice(&self.times[from..to]);
        into.floats.extend_from_slice(&self.values[from..to]);
        self.budget.samples((to - from) as u64)
    }
}

impl Reader for Columns {
    fn select<'a>(
        &'a self,
        _: &'a Tenant,
        _: &'a Select,
        budget: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<SeriesSet>> {
        let reader = |(labels, values): &(Labels, Arc<[f64]>)| -> Box<dyn SeriesReader> {
            let (labels, values) = (labels.clone(), Arc::clone(values));
            Box::new(Column { labels, times: Arc::clone(&self.times), values, budget: Arc::clone(budget) })
        };
        let series = self.series.iter().map(reader).collect();
        Box::pin(async move { Ok(SeriesSet { series, warnings: Vec::new() }) })
    }
    fn label_names<'a>(
        &'a self,
        _: &'a Tenant,
        _: &'a LabelQuery,
        _: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn label_values<'a>(
        &'a self,
        _: &'a Tenant,
        _: &'a str,
        _: &'a LabelQuery,
        _: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn series<'a>(
        &'a self,
        _: &'a Tenant,
        _: &'a LabelQuery,
        _: &'a Arc<Budget>,
    ) -> BoxFuture<'a, Result<Vec<Labels>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn metadata<'a>(
        &'a self,
        _: &'a Tenant,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<(String, Vec<Metadata>)>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn exemplars<'a>(
        &'a self,
        _: &'a Tenant,
        _: &'a LabelQuery,
    ) -> BoxFuture<'a, Result<Vec<SeriesExemplars>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn cardinality<'a>(&'a self, _: &'a Tenant, _: usize) -> BoxFuture<'a, Result<CardinalityReport>> {
        Box::pin(async { Ok(CardinalityReport::default()) })
    }
    fn delete<'a>(&'a self, _: &'a Tenant, _: &'a LabelQuery) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async { Ok(0) })
    }
}

fn columns(count: usize, steps: usize) -> Columns {
    let samples = (steps as i64 * 60_000 + 7_200_000) / INTERVAL_MS;
    let times: Arc<[i64]> = (0..samples).map(|at| at * INTERVAL_MS).collect();
    let series = (0..count).map(|number| {
        let le = if number % 10 == 9 { "+Inf".into() } else { format!("{}", 1 << (number % 10)) };
        let labels = Labels::from_pairs([
            ("__name__", "up"),
            ("instance", &format!("host-{}:9100", number / 10)),
            ("job", &format!("job-{}", number % 7)),
            ("le", &le),
        ]);
        let slope = (number % 10 + 1) as f64;
        let values = (0..samples).map(|at| (at % 5000) as f64 * slope).collect();
        (labels, values)
    });
    Columns { series: series.collect(), times }
}

/// Nanoseconds that this thread had a core, other load aside.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<usize>().unwrap_or(1000));
    let (count, steps) = (args.next().unwrap_or(1000), args.next().unwrap_or(1000));
    let only = std::env::var("SHAPE").unwrap_or_default();
    let reader: Arc<dyn Reader> = Arc::new(columns(count, steps));
    let when =
        When::Range { start_ms: 7_200_000, end_ms: 7_200_000 + (steps as i64 - 1) * 60_000, step_ms: 60_000 };
    println!("{count} series, {steps} steps of 60 s, samples each 15 s");
    for shape in SHAPES.into_iter().filter(|shape| shape.contains(&only)) {
        for parallel_max in [1, 2] {
            let engine = Engine::new(Arc::clone(&reader), Options { parallel_max, ..Options::default() });
            let (mut best, mut best_cpu) = (f64::MAX, f64::MAX);
            let mut samples = 0;
            for _ in 0..5 {
                let budget = Budget::new(Limits { samples_max: u64::MAX, ..Limits::default() });
                let (begun, cpu) = (Instant::now(), cpu_ns());
                let tenant = Tenant::parse("default").unwrap();
                let query = Query::parse(shape, when).unwrap();
                let prepared = engine.prepare(&tenant, query, budget).now_or_never().unwrap().unwrap();
                let answer = prepared.run().unwrap();
                best = best.min(begun.elapsed().as_secs_f64());
                best_cpu = best_cpu.min(cpu_ns() - cpu);
                samples = answer.stats.samples;
            }
            println!(
                "{shape:55} threads {parallel_max} {:9.2} ms, own CPU {:9.2} ms, {samples} samples",
                best * 1e3,
                best_cpu / 1e6,
            );
        }
    }
}
