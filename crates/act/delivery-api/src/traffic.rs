//! Traffic as the gateway saw it: series per service, and the map of who calls whom.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Health, Kind};

/// One interval of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// Start of the interval, milliseconds since the Unix epoch.
    pub at_ms: i64,
    pub requests: u64,
    /// Answers of class 5xx, and connections that broke.
    pub errors: u64,
    pub retries: u64,
    pub in_flight: u64,
    /// Latency quantiles in milliseconds; none where nothing was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// Traffic of one service, optionally one release or replica of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    pub service: String,
    pub step_seconds: u32,
    pub points: Vec<Point>,
}

/// A thing on the map with its traffic over the last minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapNode {
    /// Service name; `internet` stands for clients outside.
    pub name: String,
    /// None for `internet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub replicas_ready: u32,
    pub replicas_wanted: u32,
    pub requests_per_second: f64,
    /// 0 to 1.
    pub error_ratio: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// Who needs or calls whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapEdge {
    pub from: String,
    pub to: String,
    /// It stands in the service file.
    pub declared: bool,
    /// The gateway saw a call within the last minute.
    pub observed: bool,
    pub requests_per_second: f64,
    pub error_ratio: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Map {
    pub nodes: Vec<MapNode>,
    pub edges: Vec<MapEdge>,
}
