//! Eight shapes of queries, and whether two servers say the same.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{feed::Shape, peers::Running};

/// Answers may differ by this much of their value: servers add up in their own order.
const TOLERANCE: f64 = 1e-9;
/// A query is asked several times for one figure of CPU, which the kernel counts in hundredths.
const CPU_MS_MIN: f64 = 100.0;
const ASKED_MAX: u32 = 400;

/// One shape, and how long a time it covers; none asks for one moment.
struct Query {
    name: &'static str,
    expression: &'static str,
    /// Share of the input's time, and points.
    range: Option<(f64, i64)>,
}

const QUERIES: [Query; 8] = [
    Query { name: "instant", expression: "node_load1", range: None },
    Query {
        name: "rate",
        expression: "rate(node_cpu_seconds_total{mode=\"idle\"}[5m])",
        range: Some((0.5, 100)),
    },
    Query {
        name: "sum by rate",
        expression: "sum by (mode) (rate(node_cpu_seconds_total[5m]))",
        range: Some((0.5, 100)),
    },
    Query {
        name: "histogram_quantile",
        expression: "histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
        range: Some((0.5, 100)),
    },
    Query { name: "topk", expression: "topk(5, node_memory_MemFree_bytes)", range: None },
    Query {
        name: "subquery",
        expression: "max_over_time(rate(node_context_switches_total[5m])[30m:1m])",
        range: Some((0.2, 20)),
    },
    Query {
        name: "regex",
        expression: "count({__name__=~\"node_memory_.*\",instance=~\"host-0000[0-9]:9100\"})",
        range: Some((0.5, 50)),
    },
    Query {
        name: "long range",
        expression: "avg by (job) (avg_over_time(node_load1[1h]))",
        range: Some((0.9, 200)),
    },
];

/// What one server said to one query, and what that cost.
pub struct Answers {
    pub name: &'static str,
    pub cpu_ms: Vec<f64>,
    pub wall_ms: Vec<f64>,
    series: BTreeMap<String, Vec<(i64, f64)>>,
}

impl Answers {
    /// The same series with the same values, and there is something to compare.
    pub fn equals(&self, other: &Self) -> bool {
        let same = |a: &(i64, f64), b: &(i64, f64)| {
            let size = a.1.abs().max(b.1.abs());
            a.0 == b.0 && ((a.1 - b.1).abs() <= size * TOLERANCE || (a.1.is_nan() && b.1.is_nan()))
        };
        !self.series.is_empty()
            && self.series.len() == other.series.len()
            && self.series.iter().zip(&other.series).all(|(a, b)| {
                a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(b.1).all(|(a, b)| same(a, b))
            })
    }
}

pub fn run(server: &mut Running, shape: &Shape, end_ms: i64, rounds: usize) -> anyhow::Result<Vec<Answers>> {
    let mut connection = server.connect()?;
    let mut all = Vec::new();
    for query in &QUERIES {
        let path = server.query_path(&path(query, shape, end_ms));
        let series = parse(&connection.get(&path)?).with_context(|| query.name)?;
        let mut answers = Answers { name: query.name, cpu_ms: Vec::new(), wall_ms: Vec::new(), series };
        for _ in 0..rounds {
            let (before, mut asked, mut wall) = (server.cpu_seconds()?, 0, Vec::new());
            loop {
                let start = Instant::now();
                connection.get(&path)?;
                wall.push(start.elapsed().as_secs_f64() * 1e3);
                asked += 1;
                let cpu_ms = (server.cpu_seconds()? - before) * 1e3;
                if cpu_ms >= CPU_MS_MIN || asked >= ASKED_MAX {
                    answers.cpu_ms.push(cpu_ms / f64::from(asked));
                    answers.wall_ms.push(super::super::median(&wall));
                    break;
                }
            }
        }
        all.push(answers);
    }
    Ok(all)
}

fn path(query: &Query, shape: &Shape, end_ms: i64) -> String {
    let expression = encode(query.expression);
    // On whole minutes: VictoriaMetrics moves the start to a whole step.
    let end = end_ms / 1000 / 60 * 60 - 60;
    let Some((share, points)) = query.range else { return format!("query?query={expression}&time={end}") };
    let length = (shape.seconds as f64 * share) as i64;
    let step = (length / points).max(1);
    let end = end / step * step;
    let start = end - step * points;
    format!("query_range?query={expression}&start={start}&end={end}&step={step}")
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

fn parse(body: &[u8]) -> anyhow::Result<BTreeMap<String, Vec<(i64, f64)>>> {
    let answer: Value = serde_json::from_slice(body)?;
    ensure!(answer["status"] == "success", "{answer}");
    let mut all = BTreeMap::new();
    for series in answer["data"]["result"].as_array().context("no result")? {
        let mut labels: BTreeMap<String, Value> = serde_json::from_value(series["metric"].clone())?;
        // VictoriaMetrics keeps the name where Prometheus drops it.
        labels.remove("__name__");
        let one = std::slice::from_ref(&series["value"]);
        let points = series["values"].as_array().map_or(one, Vec::as_slice);
        let points = points.iter().filter_map(|point| {
            let time_ms = (point[0].as_f64()? * 1000.0).round() as i64;
            Some((time_ms, point[1].as_str()?.trim_start_matches('+').parse().ok()?))
        });
        all.insert(serde_json::to_string(&labels)?, points.collect());
    }
    Ok(all)
}
