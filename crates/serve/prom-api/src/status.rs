//! What the server says of itself, and the two tools that need no data: formatting and parsing.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use metrics_api::CardinalityEntry;
use serde::Serialize;
use serde_json::json;

use crate::{
    Ports,
    answer::{Answer, ErrorType, Failure, success},
    params::Params,
};

/// Rows of each table of the cardinality report when the request names no number.
const CARDINALITY_ROWS_DEFAULT: usize = 10;
/// And at most.
const CARDINALITY_ROWS_MAX: usize = 10_000;
/// The version of Prometheus whose API this is; Grafana chooses what it asks by it.
const PROMETHEUS_VERSION: &str = "3.5.0";

pub(crate) async fn build_info(State(ports): State<Ports>) -> Answer {
    success(&json!({
        "version": PROMETHEUS_VERSION,
        "revision": format!("stead-{}", ports.settings.version),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

pub(crate) async fn runtime_info(State(ports): State<Ports>, params: Params) -> Answer {
    let report = ports.reader.cardinality(&params.tenant, 0).await?;
    success(&json!({
        "startTime": ports.settings.started_at.to_string(),
        "CWD": "",
        "hostname": "",
        "serverTime": ports.clock.now().to_string(),
        "reloadConfigSuccess": true,
        "lastConfigTime": ports.settings.started_at.to_string(),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": format!("{}d", ports.settings.retention.as_secs() / 86_400),
        "timeSeriesCount": report.series,
    }))
}

pub(crate) async fn flags(State(ports): State<Ports>) -> Answer {
    success(&ports.settings.flags.iter().cloned().collect::<BTreeMap<_, _>>())
}

pub(crate) async fn config(State(ports): State<Ports>, params: Params) -> Answer {
    success(&json!({ "yaml": ports.scrapes.config_yaml(&params.tenant) }))
}

pub(crate) async fn tsdb(State(ports): State<Ports>, params: Params) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Tsdb {
        head_stats: Head,
        series_count_by_metric_name: Vec<CardinalityEntry>,
        label_value_count_by_label_name: Vec<CardinalityEntry>,
        memory_in_bytes_by_label_name: Vec<CardinalityEntry>,
        series_count_by_label_value_pair: Vec<CardinalityEntry>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        num_series: u64,
        num_label_pairs: u64,
        chunk_count: u64,
        min_time: i64,
        max_time: i64,
    }
    let rows = match params.limit()? {
        0 => CARDINALITY_ROWS_DEFAULT,
        rows if rows <= CARDINALITY_ROWS_MAX => rows,
        _ => {
            return Err(Failure::parameter("limit", &format!("it has to be {CARDINALITY_ROWS_MAX} at most")));
        }
    };
    let report = ports.reader.cardinality(&params.tenant, rows).await?;
    success(&Tsdb {
        head_stats: Head {
            num_series: report.series,
            num_label_pairs: report.label_pairs,
            chunk_count: 0,
            min_time: report.min_time_ms,
            max_time: report.max_time_ms,
        },
        series_count_by_metric_name: report.series_by_metric,
        label_value_count_by_label_name: report.values_by_label,
        memory_in_bytes_by_label_name: report.memory_bytes_by_label,
        series_count_by_label_value_pair: report.series_by_label_pair,
    })
}

pub(crate) async fn wal_replay() -> Answer {
    // Whoever is answered is answered after the replay.
    success(&json!({ "min": 0, "max": 0, "current": 0, "state": "done" }))
}

/// Rules are not evaluated yet: there are none.
pub(crate) async fn rules() -> Answer {
    success(&json!({ "groups": [] }))
}

pub(crate) async fn alerts() -> Answer {
    success(&json!({ "alerts": [] }))
}

pub(crate) async fn alertmanagers() -> Answer {
    success(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}

pub(crate) async fn format_query(params: Params) -> Answer {
    let text = params.required("query")?;
    let expr = promql::parse::parse(text).map_err(|error| Failure::parameter("query", &error.to_string()))?;
    success(&promql::pretty(&expr))
}

pub(crate) async fn parse_query(params: Params) -> Answer {
    let text = params.required("query")?;
    let expr = promql::parse::parse(text).map_err(|error| Failure::parameter("query", &error.to_string()))?;
    success(&promql::to_json(&expr))
}

/// Takes deleted samples off the disk now; in time it happens by itself.
pub(crate) async fn clean_tombstones(State(ports): State<Ports>) -> Result<Response, Failure> {
    ports.upkeep.compact().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn snapshot() -> Failure {
    let message = "snapshots of metrics are not available yet: `stead backup` saves Stead's own state";
    Failure::new(ErrorType::Unavailable, message)
}

pub(crate) async fn healthy() -> &'static str {
    "Stead is Healthy.\n"
}

pub(crate) async fn ready() -> &'static str {
    "Stead is Ready.\n"
}
