//! The ledger as it is read, exported and verified.

use access::{Action, Resource};
use api_types::{AuditVerdict, Event, Page};
use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use base::{Scope, Timestamp};
use bytes::Bytes;
use ledger::Entry;
use serde::Deserialize;
use state::EntryQuery;
use utoipa::IntoParams;

use super::In;
use crate::{
    Ports,
    extract::{Json, Query},
    gate::Caller,
    problem::{Answer, Failure},
};

/// Entries of one page, unless told.
const LIMIT_DEFAULT: usize = 100;

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Entity id, or `service/NAME` form where it has none.
    subject: Option<String>,
    /// Start of the type, such as `stead.release.`.
    kind: Option<String>,
    actor: Option<String>,
    correlation: Option<String>,
    /// Made at this time or later (RFC 3339).
    from: Option<String>,
    /// Made before this time (RFC 3339).
    to: Option<String>,
    /// Continue after this sequence.
    after: Option<u64>,
    limit: Option<usize>,
    descending: Option<bool>,
    /// All environments, not just the one in `environment`.
    all: Option<bool>,
}

impl Filter {
    /// The gate decided for one environment; reading them all is another question.
    fn query(&self, caller: &Caller) -> Answer<EntryQuery> {
        let Scope { tenant, environment } = caller.scope().clone();
        let all = self.all.unwrap_or(false);
        if all {
            caller.also(Action::ReadLedger, &Resource::tenant(&tenant))?;
        }
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(EntryQuery {
            tenant,
            environment: (!all).then_some(environment),
            subject: some(&self.subject),
            kind_prefix: some(&self.kind),
            actor: some(&self.actor),
            correlation: some(&self.correlation),
            from: time(&self.from, "from")?,
            to: time(&self.to, "to")?,
            after: self.after,
            descending: self.descending.unwrap_or(false),
            limit: self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, state::Scan::LIMIT_MAX),
        })
    }
}

fn time(text: &Option<String>, name: &str) -> Answer<Option<Timestamp>> {
    let text = text.as_deref().filter(|text| !text.is_empty());
    let wrong = |why: String| {
        Failure::invalid(format!(
            "`{name}` is no time: {why}; expected RFC 3339, such as 2026-11-20T18:00:00Z"
        ))
    };
    text.map(|text| text.parse::<Timestamp>().map_err(|error| wrong(error.to_string()))).transpose()
}

#[utoipa::path(get, path = "/api/stead/v1/events", params(Filter, In), responses((status = 200, body = Page<Event>)))]
pub(crate) async fn list(
    State(ports): State<Ports>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Answer<Json<Page<Event>>> {
    let page = ports.state.entries(filter.query(&caller)?).await.map_err(|error| Failure::of(&error))?;
    Ok(Json(Page { items: page.items.into_iter().map(event).collect(), next: page.next }))
}

/// One JSON object a line, oldest first; read page by page, so memory stays flat.
#[utoipa::path(get, path = "/api/stead/v1/events/export", params(Filter, In), responses((status = 200, content_type = "application/x-ndjson", body = String)))]
pub(crate) async fn export(
    State(ports): State<Ports>,
    caller: Caller,
    Query(filter): Query<Filter>,
) -> Answer<Response> {
    let mut query = filter.query(&caller)?;
    query.limit = state::Scan::LIMIT_MAX;
    query.descending = false;
    let pages = futures_util::stream::try_unfold(Some(query), move |query| {
        let state = ports.state.clone();
        async move {
            let Some(mut query) = query else { return Ok::<_, std::io::Error>(None) };
            let page = state
                .entries(query.clone())
                .await
                .map_err(|error| std::io::Error::other(error.to_string()))?;
            let mut lines = Vec::new();
            for entry in &page.items {
                query.after = Some(entry.seq);
                serde_json::to_writer(&mut lines, &event(entry.clone()))?;
                lines.push(b'\n');
            }
            let next = page.next.is_some().then_some(query);
            Ok(Some((Bytes::from(lines), next)))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"stead-events.ndjson\""),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

#[utoipa::path(get, path = "/api/stead/v1/events/verify", params(In), responses((status = 200, body = AuditVerdict)))]
pub(crate) async fn verify(State(ports): State<Ports>, _: Caller) -> Answer<Json<AuditVerdict>> {
    Ok(Json(ports.machine.verify().await?))
}

pub(crate) fn event(entry: Entry) -> Event {
    let draft = entry.draft;
    Event {
        seq: entry.seq,
        id: draft.id.to_string(),
        at: entry.at.to_string(),
        environment: draft.environment.to_string(),
        kind: draft.kind,
        subject: draft.subject,
        actor: draft.actor.to_string(),
        correlation: draft.cause.correlation,
        causation: draft.cause.causation.map(|id| id.to_string()),
        why: draft.why,
        body: draft.body,
        hash: entry.hash,
    }
}
