//! `stead metrics`: queries with a small graph, labels, cardinality, targets.

use base::{Class, Clock, Problem, Timestamp, time::SystemClock};
use client::{Answered, Client};
use serde_json::Value;

use crate::{
    args::{Global, Metrics, MetricsQuery, Output},
    chart::{self, Line, Window},
    failed, print_json,
};

/// Points of a graph when no step is given.
const POINTS_DEFAULT: i64 = 120;
/// Letters of a graph when the terminal does not say its width.
const WIDTH_DEFAULT: u16 = 100;
const HEIGHT: usize = 13;

pub(crate) async fn run(client: &Client, global: &Global, args: Metrics) -> Result<(), Problem> {
    match args {
        Metrics::Query(args) => query(client, global, &args).await,
        Metrics::Labels { label, selector } => labels(client, global, &label, selector).await,
        Metrics::Cardinality { limit } => cardinality(client, global, limit).await,
        Metrics::Targets => targets(client, global).await,
        Metrics::Reload => client.prometheus_reload().await.map_err(failed),
    }
}

async fn query(client: &Client, global: &Global, args: &MetricsQuery) -> Result<(), Problem> {
    let window = window(args)?;
    let mut parameters = vec![("query", args.expression.clone())];
    let path = if window.start_ms == window.end_ms {
        parameters.push(("time", seconds(window.end_ms)));
        "/query"
    } else {
        parameters.push(("start", seconds(window.start_ms)));
        parameters.push(("end", seconds(window.end_ms)));
        parameters.push(("step", seconds(window.step_ms)));
        "/query_range"
    };
    let answered = client.prometheus(path, &parameters).await.map_err(failed)?;
    for warning in &answered.warnings {
        eprintln!("warning: {warning}");
    }
    for info in &answered.infos {
        eprintln!("note: {info}");
    }
    if global.output == Output::Json {
        print_json(&answered.data);
        return Ok(());
    }
    show(&answered, window, args.limit);
    Ok(())
}

fn window(args: &MetricsQuery) -> Result<Window, Problem> {
    let wrong = |flag: &str, text: &str, hint: &str| {
        Problem::new(Class::Invalid, "cli.metrics", format!("{flag} {text:?} cannot be read")).with_hint(hint)
    };
    let end_ms = match &args.at {
        None => SystemClock::new().now().millis(),
        Some(text) => match (text.parse::<f64>(), text.parse::<Timestamp>()) {
            (Ok(seconds), _) if seconds.is_finite() => (seconds * 1000.0) as i64,
            (_, Ok(time)) => time.millis(),
            _ => {
                return Err(wrong(
                    "--at",
                    text,
                    "a time such as 2026-01-02T03:04:05Z, or seconds since 1970",
                ));
            }
        },
    };
    let duration = |flag: &str, text: &str| {
        if text == "0" {
            return Ok(0);
        }
        let read: base::units::Span =
            text.parse().map_err(|_| wrong(flag, text, "a duration such as 30m, 6h or 2d"))?;
        Ok(i64::try_from(read.get().as_millis()).unwrap_or(i64::MAX))
    };
    let since_ms = duration("--since", &args.since)?;
    let step_ms = match &args.step {
        Some(text) => duration("--step", text)?,
        // Whole seconds, so that the same question twice shows the same points.
        None => (since_ms / POINTS_DEFAULT / 1000).max(1) * 1000,
    };
    Ok(Window { start_ms: end_ms - since_ms, end_ms, step_ms: step_ms.max(1) })
}

fn seconds(time_ms: i64) -> String {
    format!("{}.{:03}", time_ms.div_euclid(1000), time_ms.rem_euclid(1000))
}

fn show(answered: &Answered, window: Window, limit: usize) {
    let result = &answered.data["result"];
    let kind = answered.data["resultType"].as_str().unwrap_or_default();
    match kind {
        "matrix" => show_matrix(result, window, limit),
        "vector" => {
            let rows: Vec<(String, String)> =
                list(result).iter().map(|row| (name(&row["metric"]), instant(row))).collect();
            if rows.is_empty() {
                eprintln!("no series: check the names with `stead metrics labels`");
            }
            let width = rows.iter().take(limit).map(|row| row.0.chars().count()).max().unwrap_or(0);
            for (name, value) in rows.iter().take(limit) {
                println!("{name:width$}  {value}");
            }
            more(rows.len(), limit);
        }
        _ => println!("{}", text(&result[1])),
    }
}

fn show_matrix(result: &Value, window: Window, limit: usize) {
    let series = list(result);
    if series.is_empty() {
        eprintln!(
            "no series in this time: check the names with `stead metrics labels`, or ask for more with --since"
        );
        return;
    }
    let lines: Vec<Line> = series.iter().take(limit).map(line).collect();
    let width =
        rustix::termios::tcgetwinsize(std::io::stdout()).map_or(WIDTH_DEFAULT, |size| size.ws_col.max(40));
    let drawn = chart::draw(&lines, window, usize::from(width), HEIGHT);
    print!("{drawn}");
    let (start, end) = (Timestamp::from_millis(window.start_ms), Timestamp::from_millis(window.end_ms));
    println!("from {start} to {end}\n");
    let names: Vec<String> = series.iter().take(limit).map(|one| name(&one["metric"])).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    println!("{:width$}  {:>9} {:>9} {:>9} {:>9}", "series", "min", "mean", "max", "last");
    for (name, line) in names.iter().zip(&lines) {
        let values = || line.points.iter().map(|point| point.1);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let mean = values().sum::<f64>() / line.points.len().max(1) as f64;
        let last = values().next_back().unwrap_or(f64::NAN);
        let [low, mean, high, last] = [low, mean, high, last].map(chart::short);
        println!("{name:width$}  {low:>9} {mean:>9} {high:>9} {last:>9}");
    }
    more(series.len(), limit);
}

fn more(found: usize, limit: usize) {
    if found > limit {
        eprintln!("{} more series are not shown; --limit {found} shows all", found - limit);
    }
}

fn line(series: &Value) -> Line {
    let point = |pair: &Value| {
        let time_ms = (pair[0].as_f64()? * 1000.0).round() as i64;
        Some((time_ms, pair[1].as_str()?.parse().ok()?))
    };
    Line { points: list(&series["values"]).iter().filter_map(point).collect() }
}

fn instant(row: &Value) -> String {
    match row.get("histogram") {
        Some(histogram) => {
            format!("count {} sum {}", text(&histogram[1]["count"]), text(&histogram[1]["sum"]))
        }
        None => text(&row["value"][1]),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `name{label="value"}`
fn name(metric: &Value) -> String {
    let Some(labels) = metric.as_object() else { return "{}".into() };
    let metric = labels.get("__name__").and_then(Value::as_str).unwrap_or_default();
    let rest: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={:?}", text(value)))
        .collect();
    if rest.is_empty() && !metric.is_empty() {
        metric.to_owned()
    } else {
        format!("{metric}{{{}}}", rest.join(", "))
    }
}

async fn labels(
    client: &Client,
    global: &Global,
    label: &str,
    selector: Option<String>,
) -> Result<(), Problem> {
    let path = format!("/label/{label}/values");
    let answered = client.prometheus_get(&path, &[("match[]", selector)]).await.map_err(failed)?;
    if global.output == Output::Json {
        print_json(&answered.data);
        return Ok(());
    }
    if list(&answered.data).is_empty() {
        eprintln!("no series has the label {label:?}");
    }
    list(&answered.data).iter().for_each(|value| println!("{}", text(value)));
    Ok(())
}

async fn cardinality(client: &Client, global: &Global, limit: u32) -> Result<(), Problem> {
    let parameters = [("limit", Some(limit.to_string()))];
    let answered = client.prometheus_get("/status/tsdb", &parameters).await.map_err(failed)?;
    if global.output == Output::Json {
        print_json(&answered.data);
        return Ok(());
    }
    println!("{} series", answered.data["headStats"]["numSeries"]);
    for (title, key) in [
        ("series by metric", "seriesCountByMetricName"),
        ("values by label", "labelValueCountByLabelName"),
        ("series by label and value", "seriesCountByLabelValuePair"),
    ] {
        println!("\n{title}");
        for row in list(&answered.data[key]) {
            println!("{:>10}  {}", row["value"].to_string(), text(&row["name"]));
        }
    }
    Ok(())
}

async fn targets(client: &Client, global: &Global) -> Result<(), Problem> {
    let answered = client.prometheus_get("/targets", &[]).await.map_err(failed)?;
    if global.output == Output::Json {
        print_json(&answered.data);
        return Ok(());
    }
    let active = list(&answered.data["activeTargets"]);
    if active.is_empty() {
        eprintln!("nothing is scraped; what Stead runs is measured without");
    }
    for target in active {
        let [pool, health, url, error] =
            ["scrapePool", "health", "scrapeUrl", "lastError"].map(|key| text(&target[key]));
        println!("{health:7} {pool:20} {url}");
        if !error.is_empty() {
            println!("        {error}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(since: &str, at: Option<&str>, step: Option<&str>) -> MetricsQuery {
        MetricsQuery {
            expression: "up".into(),
            since: since.into(),
            at: at.map(str::to_owned),
            step: step.map(str::to_owned),
            limit: 10,
        }
    }

    #[test]
    fn the_window_ends_at_the_time_given() {
        let window = window(&asked("1h", Some("2026-01-02T03:04:05Z"), None)).unwrap();
        assert_eq!((window.end_ms - window.start_ms, window.step_ms), (3_600_000, 30_000));
        assert_eq!(seconds(window.end_ms), "1767323045.000");
        let moment = super::window(&asked("0", Some("10"), None)).unwrap();
        assert_eq!((moment.start_ms, moment.end_ms), (10_000, 10_000));
        for (since, at) in [("soon", None), ("1h", Some("yesterday"))] {
            assert!(super::window(&asked(since, at, None)).is_err());
        }
    }

    #[test]
    fn series_are_named_as_prometheus_does() {
        assert_eq!(name(&json!({"__name__": "up", "job": "a"})), r#"up{job="a"}"#);
        assert_eq!(name(&json!({})), "{}");
        assert_eq!(name(&json!({"__name__": "up"})), "up");
    }
}
