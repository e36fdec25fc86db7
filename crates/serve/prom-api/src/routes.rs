//! The table of routes with what each needs.

use access::Action;
use api::{Gate, Route, Surface};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{MethodRouter, get, post, put},
};

use crate::{FORM_BYTES_MAX, Ports, federate, labels, query, status, targets};

/// Where the surface is mounted.
pub const PREFIX: &str = "/prometheus";

/// The routes for the gate, remote write among them, which `bin` mounts from its receiver.
pub const SURFACE: Surface = Surface { prefix: PREFIX, table: TABLE, basic: true };

macro_rules! table {
    ($($method:literal $path:literal $action:ident, $handler:expr;)+) => {
        const TABLE: &[Route] = &[
            $(Route { method: $method, path: $path, gate: Gate::Needs(Action::$action) },)+
            Route { method: "POST", path: "/api/v1/write", gate: Gate::Needs(Action::WriteMetrics) },
            Route { method: "GET", path: "/-/healthy", gate: Gate::Open },
            Route { method: "GET", path: "/-/ready", gate: Gate::Open },
        ];

        fn all() -> Vec<(&'static str, MethodRouter<Ports>)> {
            vec![$(($path, $handler),)+ ("/-/healthy", get(status::healthy)), ("/-/ready", get(status::ready))]
        }
    };
}

table! {
    "GET" "/api/v1/query" ReadMetrics, get(query::instant);
    "POST" "/api/v1/query" ReadMetrics, post(query::instant);
    "GET" "/api/v1/query_range" ReadMetrics, get(query::range);
    "POST" "/api/v1/query_range" ReadMetrics, post(query::range);
    "GET" "/api/v1/query_exemplars" ReadMetrics, get(labels::exemplars);
    "POST" "/api/v1/query_exemplars" ReadMetrics, post(labels::exemplars);
    "GET" "/api/v1/format_query" ReadMetrics, get(status::format_query);
    "POST" "/api/v1/format_query" ReadMetrics, post(status::format_query);
    "GET" "/api/v1/parse_query" ReadMetrics, get(status::parse_query);
    "POST" "/api/v1/parse_query" ReadMetrics, post(status::parse_query);
    "GET" "/api/v1/series" ReadMetrics, get(labels::series);
    "POST" "/api/v1/series" ReadMetrics, post(labels::series);
    "DELETE" "/api/v1/series" DeleteMetrics, axum::routing::delete(labels::delete);
    "GET" "/api/v1/labels" ReadMetrics, get(labels::names);
    "POST" "/api/v1/labels" ReadMetrics, post(labels::names);
    "GET" "/api/v1/label/{name}/values" ReadMetrics, get(labels::values);
    "GET" "/api/v1/metadata" ReadMetrics, get(labels::metadata);
    "GET" "/api/v1/targets" ReadMetrics, get(targets::targets);
    "GET" "/api/v1/targets/metadata" ReadMetrics, get(targets::metadata);
    "GET" "/api/v1/scrape_pools" ReadMetrics, get(targets::scrape_pools);
    "GET" "/api/v1/rules" ReadMetrics, get(status::rules);
    "GET" "/api/v1/alerts" ReadMetrics, get(status::alerts);
    "GET" "/api/v1/alertmanagers" ReadMetrics, get(status::alertmanagers);
    "GET" "/api/v1/status/buildinfo" ReadMetrics, get(status::build_info);
    "GET" "/api/v1/status/runtimeinfo" ReadMetrics, get(status::runtime_info);
    "GET" "/api/v1/status/flags" ReadMetrics, get(status::flags);
    "GET" "/api/v1/status/config" ReadMetrics, get(status::config);
    "GET" "/api/v1/status/tsdb" ReadMetrics, get(status::tsdb);
    "GET" "/api/v1/status/walreplay" ReadMetrics, get(status::wal_replay);
    "POST" "/-/reload" ReloadScrapes, post(targets::reload);
    "PUT" "/-/reload" ReloadScrapes, put(targets::reload);
    "GET" "/federate" ReadMetrics, get(federate::federate);
    "POST" "/api/v1/admin/tsdb/delete_series" DeleteMetrics, post(labels::delete);
    "PUT" "/api/v1/admin/tsdb/delete_series" DeleteMetrics, put(labels::delete);
    "POST" "/api/v1/admin/tsdb/clean_tombstones" DeleteMetrics, post(status::clean_tombstones);
    "PUT" "/api/v1/admin/tsdb/clean_tombstones" DeleteMetrics, put(status::clean_tombstones);
    "POST" "/api/v1/admin/tsdb/snapshot" DeleteMetrics, post(status::snapshot);
    "PUT" "/api/v1/admin/tsdb/snapshot" DeleteMetrics, put(status::snapshot);
}

/// The routes, not yet behind the gate: see [`api::guarded`].
pub fn router(ports: Ports) -> Router {
    let mut router = Router::new();
    for (path, handler) in all() {
        let limited = handler.layer(DefaultBodyLimit::max(FORM_BYTES_MAX));
        router = router.route(&format!("{PREFIX}{path}"), limited);
    }
    router.with_state(ports)
}
