//! The stream of changes: hints to read again.

use std::time::Duration;

use api_types::Change;
use axum::{extract::State, response::Response};
use futures_util::StreamExt;
use state::Change as Committed;
use tokio::sync::broadcast::error::RecvError;

use super::In;
use crate::{
    Ports,
    gate::Caller,
    problem::{Answer, Failure},
    stream,
};

/// What happens within this time is told as one change per kind and name.
const GATHER: Duration = Duration::from_millis(150);
/// Changes on their way to one reader; one who lags is told to read everything.
const WAITING_MAX: usize = 256;

#[utoipa::path(get, path = "/api/stead/v1/stream", params(In), responses((status = 200, content_type = "text/event-stream", body = Change)))]
pub(crate) async fn changes(State(ports): State<Ports>, caller: Caller) -> Answer<Response> {
    let (out, received) = tokio::sync::mpsc::channel(WAITING_MAX);
    let scope = caller.ctx.scope.clone();
    let (mut records, mut world) = (ports.state.watch(), ports.world.clone());
    world.mark_unchanged();
    let follow = move |shutdown: tasks::Shutdown| async move {
        let mut pending: Vec<Change> = vec![Change { kind: "all".into(), name: None }];
        loop {
            for change in pending.drain(..) {
                if out.send(change).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = out.closed() => return,
                changed = world.changed() => match changed {
                    Ok(()) => add(&mut pending, "service", None),
                    Err(_) => return,
                },
                heard = records.recv() => hear(&mut pending, &scope, heard),
            }
            let gathering = tokio::time::Instant::now() + GATHER;
            while let Ok(heard) = tokio::time::timeout_at(gathering, records.recv()).await {
                hear(&mut pending, &scope, heard);
            }
        }
    };
    ports
        .tasks
        .spawn_once(tasks::Kind::WORK, "follow changes", follow)
        .map_err(|error| Failure::of(&error))?;
    stream::sse(&ports, &caller, tokio_stream::wrappers::ReceiverStream::new(received).boxed())
}

fn hear(pending: &mut Vec<Change>, scope: &base::Scope, heard: Result<Committed, RecvError>) {
    match heard {
        Ok(change) => {
            for key in change.keys.iter().filter(|key| key.scope.tenant == scope.tenant) {
                // Names of another environment are for those who may read there.
                if key.kind == "service" && key.scope != *scope {
                    continue;
                }
                let kind = match key.kind.as_str() {
                    "service" | "release" => "service",
                    "plan" => "plan",
                    "run" | "flow" | "flow-step" => "run",
                    "secret" => "secret",
                    "person" => "person",
                    "api-token" => "token",
                    _ => continue,
                };
                let name = (kind == "service" && key.kind == "service").then(|| key.id.clone());
                add(pending, kind, name);
            }
            if !change.entries.is_empty() {
                add(pending, "event", None);
            }
        }
        Err(_) => add(pending, "all", None),
    }
}

fn add(pending: &mut Vec<Change>, kind: &str, name: Option<String>) {
    let change = Change { kind: kind.to_owned(), name };
    if !pending.contains(&change) {
        pending.push(change);
    }
}
