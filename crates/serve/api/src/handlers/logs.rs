//! What workloads print: read and followed, across the replicas of a service.

use api_types::LogLine;
use axum::{extract::State, response::Response};
use base::{Timestamp, id::ReplicaId};
use futures_util::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use runtime_api::LogQuery;
use serde::Deserialize;
use utoipa::IntoParams;

use super::In;
use crate::{
    Ports,
    extract::{Json, Path, Query},
    gate::Caller,
    problem::{Answer, Failure},
    stream,
};

/// Lines that one answer holds at most.
const LINES_MAX: usize = 10_000;
const LINES_DEFAULT: usize = 200;
/// Lines on their way to one reader.
const LINES_WAITING_MAX: usize = 512;

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// The latest so many lines; 200 unless told, at most 10,000.
    tail: Option<usize>,
    /// RFC 3339.
    since: Option<String>,
    /// Only lines with this text, compared without case.
    contains: Option<String>,
    /// Id, or the end of one.
    replica: Option<String>,
    /// Only runs of this job.
    job: Option<String>,
}

#[utoipa::path(get, path = "/api/stead/v1/services/{name}/logs", params(("name" = String, Path), Filter, In), responses((status = 200, body = Vec<LogLine>)))]
pub(crate) async fn read(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
    Query(filter): Query<Filter>,
) -> Answer<Json<Vec<LogLine>>> {
    let tail = filter.tail.unwrap_or(LINES_DEFAULT).min(LINES_MAX);
    let mut lines: Vec<runtime_api::LogLine> = Vec::new();
    for replica in replicas(&ports, &caller, &name, &filter).await? {
        let stream = open(&ports, &filter, replica, tail, false).await?;
        lines.extend(stream.take(tail).collect::<Vec<_>>().await);
    }
    lines.sort_by_key(|line| line.at);
    let surplus = lines.len().saturating_sub(tail);
    lines.drain(..surplus);
    Ok(Json(lines.into_iter().map(|line| wire(&name, line)).collect()))
}

#[utoipa::path(get, path = "/api/stead/v1/services/{name}/logs/stream", params(("name" = String, Path), Filter, In), responses((status = 200, content_type = "text/event-stream", body = LogLine)))]
pub(crate) async fn follow(
    State(ports): State<Ports>,
    caller: Caller,
    Path(name): Path<String>,
    Query(filter): Query<Filter>,
) -> Answer<Response> {
    let tail = filter.tail.unwrap_or(LINES_DEFAULT).min(LINES_MAX);
    let known = replicas(&ports, &caller, &name, &filter).await?;
    let lines = following(ports.clone(), caller.clone(), name.clone(), filter, tail, known).await?;
    stream::sse(&ports, &caller, lines.map(move |line| wire(&name, line)).boxed())
}

/// Lines of all replicas, those that come up later included. A reader that is too slow slows the
/// streams down; nothing piles up.
async fn following(
    ports: Ports,
    caller: Caller,
    name: String,
    filter: Filter,
    tail: usize,
    known: Vec<ReplicaId>,
) -> Answer<BoxStream<'static, runtime_api::LogLine>> {
    let mut streams = SelectAll::new();
    for replica in &known {
        streams.push(open(&ports, &filter, replica.clone(), tail, true).await?);
    }
    let (lines, received) = tokio::sync::mpsc::channel(LINES_WAITING_MAX);
    let tasks = ports.tasks.clone();
    let follow = move |shutdown: tasks::Shutdown| async move {
        let (mut known, mut world) = (known, ports.world.clone());
        world.mark_unchanged();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = lines.closed() => return,
                Some(line) = streams.next() => {
                    if lines.send(line).await.is_err() {
                        return;
                    }
                }
                changed = world.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let Ok(now) = replicas(&ports, &caller, &name, &filter).await else { continue };
                    for replica in now.into_iter().filter(|replica| !known.contains(replica)).collect::<Vec<_>>() {
                        if let Ok(stream) = open(&ports, &filter, replica.clone(), LINES_MAX, true).await {
                            known.push(replica);
                            streams.push(stream);
                        }
                    }
                }
            }
        }
    };
    tasks.spawn_once(tasks::Kind::WORK, "follow logs", follow).map_err(|error| Failure::of(&error))?;
    Ok(tokio_stream::wrappers::ReceiverStream::new(received).boxed())
}

async fn open(
    ports: &Ports,
    filter: &Filter,
    replica: ReplicaId,
    tail: usize,
    follow: bool,
) -> Answer<BoxStream<'static, runtime_api::LogLine>> {
    let since = match &filter.since {
        Some(text) => Some(text.parse::<Timestamp>().map_err(|error| Failure::invalid(error.to_string()))?),
        None => None,
    };
    let query = LogQuery { replica, since, tail, contains: filter.contains.clone(), follow };
    ports.driver.logs(query).await.map_err(|error| Failure::of(&error))
}

/// The replicas whose lines are asked for: of the service, or the runs of one of its jobs.
async fn replicas(ports: &Ports, caller: &Caller, name: &str, filter: &Filter) -> Answer<Vec<ReplicaId>> {
    // Says so when there is no such service.
    ports.delivery.service(caller.ctx.scope.clone(), name.to_owned()).await?;
    let seen = ports.driver.list().await.map_err(|error| Failure::of(&error))?;
    let mut found: Vec<ReplicaId> = seen
        .into_iter()
        .filter(|observed| observed.scope == caller.ctx.scope && observed.service == name)
        .filter(|observed| observed.labels.get("job") == filter.job.as_ref())
        .map(|observed| observed.id)
        .filter(|id| filter.replica.as_ref().is_none_or(|wanted| id.as_str().ends_with(wanted.as_str())))
        .collect();
    found.sort();
    Ok(found)
}

fn wire(name: &str, line: runtime_api::LogLine) -> LogLine {
    LogLine {
        at: line.at.to_string(),
        service: name.to_owned(),
        replica: line.replica.to_string(),
        stream: if line.stderr { "stderr" } else { "stdout" }.to_owned(),
        text: line.text,
    }
}
