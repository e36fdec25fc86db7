//! What is scraped, as `/api/v1/targets` shows it. The scraper stands behind [`Targets`].

use std::{fmt, sync::Arc};

use axum::{extract::State, response::Response};
use base::Tenant;

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
