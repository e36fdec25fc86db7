//! Series, names and values of labels, metadata, exemplars, deletion.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use metrics_api::{Budget, LabelQuery, Labels};
use serde::Serialize;

use crate::{
    Ports,
    answer::{Answer, Failure, said, success},
    json,
    params::Params,
};

/// Says that `limit` cut the answer, as Prometheus does.
const TRUNCATED: &str = "results truncated due to limit";

/// Asks for one more than wanted, so that a cut is known from an answer that just fits.
fn one_more(query: &LabelQuery) -> LabelQuery {
    LabelQuery { limit: query.limit.saturating_add(usize::from(query.limit > 0)), ..query.clone() }
}

fn cut<T: Serialize>(mut found: Vec<T>, limit: usize) -> Answer {
    if limit > 0 && found.len() > limit {
        found.truncate(limit);
        return said(&found, &[TRUNCATED.to_owned()], &[]);
    }
    success(&found)
}

pub(crate) async fn names(State(ports): State<Ports>, params: Params) -> Answer {
    let query = params.label_query()?;
    let budget = Budget::new(ports.settings.limits);
    let found = ports.reader.label_names(&params.tenant, &one_more(&query), &budget).await?;
    cut(found, query.limit)
}

pub(crate) async fn values(State(ports): State<Ports>, Path(name): Path<String>, params: Params) -> Answer {
    let name = unescape(&name);
    if name.is_empty() {
        return Err(Failure::bad_data(format!("invalid label name: {name:?}")));
    }
    let query = params.label_query()?;
    let budget = Budget::new(ports.settings.limits);
    let found = ports.reader.label_values(&params.tenant, &name, &one_more(&query), &budget).await?;
    cut(found, query.limit)
}

/// `U__` before a name says that letters outside of the classic ones are written as `_hex_`, and
/// underscores as two (Prometheus' value encoding of names in paths).
fn unescape(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut plain = String::new();
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            plain.push('_');
            rest = after;
            continue;
        }
        let code = rest.split_once('_').and_then(|(hex, after)| {
            let letter = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
            Some((letter, after))
        });
        let Some((letter, after)) = code else { return name.to_owned() };
        plain.push(letter);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

pub(crate) async fn series(State(ports): State<Ports>, params: Params) -> Answer {
    let query = params.label_query()?;
    if query.any_of.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided".into()));
    }
    let budget = Budget::new(ports.settings.limits);
    let found = ports.reader.series(&params.tenant, &one_more(&query), &budget).await?;
    cut(found, query.limit)
}

pub(crate) async fn metadata(State(ports): State<Ports>, params: Params) -> Answer {
    let limit = params.limit()?;
    let per_metric = match params.get("limit_per_metric") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::parameter("limit_per_metric", "it has to be a number from 0 on"))?,
    };
    let mut found = BTreeMap::new();
    for (metric, mut said) in ports.reader.metadata(&params.tenant, params.get("metric")).await? {
        if limit > 0 && found.len() >= limit {
            break;
        }
        if per_metric > 0 {
            said.truncate(per_metric);
        }
        found.insert(metric, said);
    }
    success(&found)
}

pub(crate) async fn exemplars(State(ports): State<Ports>, params: Params) -> Answer {
    let text = params.required("query")?;
    let expr = promql::parse::parse(text).map_err(|error| Failure::parameter("query", &error.to_string()))?;
    let any_of: Vec<_> = expr.selectors().into_iter().map(|selector| selector.matchers.clone()).collect();
    let mut data = b"[".to_vec();
    if !any_of.is_empty() {
        let query = LabelQuery { any_of, ..params.label_query()? };
        for (at, found) in ports.reader.exemplars(&params.tenant, &query).await?.into_iter().enumerate() {
            if at > 0 {
                data.push(b',');
            }
            data.extend_from_slice(b"{\"seriesLabels\":");
            json::labels(&mut data, &found.series);
            data.extend_from_slice(b",\"exemplars\":[");
            for (at, exemplar) in found.exemplars.iter().enumerate() {
                if at > 0 {
                    data.push(b',');
                }
                one_exemplar(&mut data, &exemplar.labels, exemplar.value, exemplar.time_ms);
            }
            data.extend_from_slice(b"]}");
        }
    }
    data.push(b']');
    Ok(crate::answer::enveloped(&data, &[], &[]))
}

fn one_exemplar(into: &mut Vec<u8>, labels: &Labels, value: f64, time_ms: i64) {
    into.extend_from_slice(b"{\"labels\":");
    json::labels(into, labels);
    into.extend_from_slice(b",\"value\":");
    json::value(into, value);
    into.extend_from_slice(b",\"timestamp\":");
    json::time(into, time_ms);
    into.push(b'}');
}

/// Deletes samples. Without a selector nothing is deleted: that would be everything.
pub(crate) async fn delete(State(ports): State<Ports>, params: Params) -> Result<Response, Failure> {
    let query = params.label_query()?;
    if query.any_of.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided".into()));
    }
    let touched = ports.reader.delete(&params.tenant, &query).await?;
    tracing::info!(touched, "samples of series were deleted");
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        assert_eq!(unescape("job"), "job");
        assert_eq!(unescape("U__service_2e_name"), "service.name");
        assert_eq!(unescape("U__a__b"), "a_b");
        assert_eq!(unescape("U__a_zz_b"), "U__a_zz_b");
    }
}
