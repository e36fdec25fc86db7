//! What is scraped, as `/api/v1/targets` shows it. The scraper stands behind [`Targets`].

use std::{fmt, sync::Arc};

use axum::{extract::State, http::StatusCode, response::Response};
use base::{Problem, Tenant};

use metrics_api::Labels;
use prometheus::scrape::Targets;
use serde::Serialize;

use crate::{
    Ports,
    answer::{Answer, Failure, success},
    params::{Params, parse_selector},
};

/// What the scraper knows.
pub trait Scrapes: Send + Sync + fmt::Debug {
    fn targets(&self, tenant: &Tenant) -> Targets;

    /// The scrape configuration as YAML, secrets hidden.
    fn config_yaml(&self, tenant: &Tenant) -> String;

    /// Reads the scrape configuration again and scrapes what it says now.
    ///
    /// # Errors
    /// Each mistake in it; what was scraped before goes on.
    fn reload(&self) -> Result<(), Problem>;
}

pub(crate) async fn targets(State(ports): State<Ports>, params: Params) -> Answer {
    let mut set = ports.scrapes.targets(&params.tenant);
    let state = params.get("state").unwrap_or("any").to_lowercase();
    match state.as_str() {
        "any" => {}
        "active" => set.dropped.clear(),
        "dropped" => set.active.clear(),
        other => {
            return Err(Failure::parameter("state", &format!("{other:?} is none of any, active, dropped")));
        }
    }
    if let Some(pool) = params.get("scrapePool") {
        set.active.retain(|target| target.scrape_pool == pool);
        set.dropped.retain(|target| target.scrape_pool == pool);
    }
    success(&set)
}

/// As `/-/reload` of Prometheus: 200 and nothing, or 500 and why not.
pub(crate) async fn reload(State(ports): State<Ports>) -> Result<(), (StatusCode, String)> {
    let scrapes = Arc::clone(&ports.scrapes);
    let reloaded = ports.tasks.blocking("reload scrapes", move || scrapes.reload()).await;
    let failed =
        |why: String| (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {why}\n"));
    reloaded.map_err(|error| failed(error.to_string()))?.map_err(|problem| failed(problem.message))
}

pub(crate) async fn scrape_pools(State(ports): State<Ports>, params: Params) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Pools {
        scrape_pools: Vec<String>,
    }
    let set = ports.scrapes.targets(&params.tenant);
    let mut names: Vec<String> = set.active.into_iter().map(|target| target.scrape_pool).collect();
    names.extend(set.dropped.into_iter().map(|target| target.scrape_pool));
    names.sort();
    names.dedup();
    success(&Pools { scrape_pools: names })
}

/// Metadata by target: what the store knows of a metric, for each target whose labels match.
pub(crate) async fn metadata(State(ports): State<Ports>, params: Params) -> Result<Response, Failure> {
    #[derive(Serialize)]
    struct Row {
        target: Labels,
        metric: String,
        #[serde(flatten)]
        said: metrics_api::Metadata,
    }
    let matchers = match params.get("match_target") {
        None => Vec::new(),
        Some(text) => parse_selector("match_target", text)?,
    };
    let limit = params.limit()?;
    let known = ports.reader.metadata(&params.tenant, params.get("metric")).await?;
    let set = ports.scrapes.targets(&params.tenant);
    let wanted = |target: &Arc<Labels>| matchers.iter().all(|matcher| matcher.matches_labels(target));
    let mut rows = Vec::new();
    for target in set.active.into_iter().map(|target| Arc::new(target.labels)).filter(wanted) {
        for (metric, said) in &known {
            for said in said {
                if limit > 0 && rows.len() >= limit {
                    return success(&rows);
                }
                rows.push(Row { target: (*target).clone(), metric: metric.clone(), said: said.clone() });
            }
        }
    }
    success(&rows)
}
