//! Reading flows back: those left unfinished, and those old enough to forget.

use std::{sync::Arc, time::Duration};

use base::{Scope, Tenant, id::FlowId};
use serde::de::DeserializeOwned;
use state::{Commit, Page, Put, Record, Scan};

use super::{
    Inner, actor, home,
    lead::{Lead, Origin, Permits, Place},
};
use crate::{
    Error, Result,
    definition::{Definition, Graph},
    machine::{Env, Machine},
    record::{
        self, FLOW, Header, KEY, STEP, StepRecord, TENANT, definition_key, flow_key, of_flow, open_term,
    },
};

/// How often ended flows are looked through for those to forget.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// Takes up every unfinished flow that nobody drives yet.
pub(super) async fn sweep(inner: &Arc<Inner>, lead: &Arc<Lead>) -> Result<()> {
    let mut scan = Scan::of(&Scope::default(), TENANT);
    scan.tenant = home();
    while let Some(page) = next_page(inner, &mut scan).await? {
        for found in page {
            match Tenant::parse(&found.key.id) {
                Ok(tenant) => lead.learn_tenant(&tenant),
                Err(error) => tracing::error!(%error, "a tenant's record is unreadable"),
            }
        }
    }
    for tenant in lead.tenants() {
        let mut scan = flows_of(&tenant, true);
        while let Some(page) = next_page(inner, &mut scan).await? {
            for found in page {
                let Ok(flow) = FlowId::parse(&found.key.id) else { continue };
                let (posts, received) = actor::channel(&inner.limits);
                let place = lead.reserve(&found.key.scope, &flow, usize::MAX, posts.clone())?;
                if let Some(place) = place {
                    actor::spawn(inner, place, Origin::Stored, (posts, received))?;
                }
            }
        }
    }
    Ok(())
}

/// Reads one flow. None when it has ended meanwhile or cannot be read.
pub(super) async fn machine(inner: &Arc<Inner>, place: &Place) -> Option<(Machine, Permits)> {
    let lead = place.lead();
    let _turn = lead.loading.acquire().await.ok()?;
    loop {
        let read = tokio::select! {
            () = lead.gone.cancelled() => return None,
            () = lead.stopping.cancelled() => return None,
            read = try_machine(inner, place) => read,
        };
        match read {
            Ok(found) => return found,
            Err(Error::State(error)) if !matches!(error, state::Error::Closed) => {
                tracing::warn!(flow = %place.flow(), %error, "a flow cannot be read, trying again");
                tokio::time::sleep(READ_AGAIN_AFTER).await;
            }
            Err(error) => {
                tracing::error!(flow = %place.flow(), %error, "a flow is left as it is");
                return None;
            }
        }
    }
}

const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

async fn try_machine(inner: &Arc<Inner>, place: &Place) -> Result<Option<(Machine, Permits)>> {
    let (scope, flow) = (place.scope(), place.flow());
    let Some(stored) = inner.state.get(flow_key(scope, flow)).await? else { return Ok(None) };
    let header: Header = decode(&stored)?;
    if header.state.is_final() {
        return Ok(None);
    }
    let definition = definition(inner, scope, flow).await?;
    let graph = Graph::of(&definition, usize::MAX)?;
    let mut records = vec![(StepRecord::default(), 0); definition.steps.len()];
    for (name, record, version) in steps(inner, scope, flow).await? {
        if let Some(step) = graph.position(&name) {
            records[step] = (record, version);
        }
    }
    let (mut permits, slots) = (Permits::new(), &place.lead().slots);
    let mut env = Env {
        now: inner.clock.now(),
        knows: &|handler, version| inner.knows(handler, version),
        slot: &mut |step| match Arc::clone(slots).try_acquire_owned() {
            Ok(permit) => permits.insert(step, permit).is_none(),
            Err(_) => false,
        },
    };
    let header = (header, stored.version);
    let (scope, flow) = (scope.clone(), flow.clone());
    let machine = Machine::resume(scope, flow, Arc::new(definition), graph, header, records, &mut env);
    Ok(Some((machine, permits)))
}

/// The definition as it was stored at the start.
pub(super) async fn definition(inner: &Inner, scope: &Scope, flow: &FlowId) -> Result<Definition> {
    let stored = inner.state.get(definition_key(scope, flow)).await?;
    decode(&stored.ok_or_else(|| Error::NotFound { flow: flow.clone() })?)
}

/// The steps that have a record, by name, with its version.
pub(super) async fn steps(
    inner: &Inner,
    scope: &Scope,
    flow: &FlowId,
) -> Result<Vec<(String, StepRecord, u64)>> {
    let mut scan = Scan { term: Some(of_flow(flow)), ..Scan::of(scope, STEP) };
    let mut found = Vec::new();
    while let Some(page) = next_page(inner, &mut scan).await? {
        for stored in page {
            if let Some(name) = stored.key.id.split_once('/').map(|(_, name)| name.to_owned()) {
                found.push((name, decode(&stored)?, stored.version));
            }
        }
    }
    Ok(found)
}

/// Forgets flows that ended long ago, now and then.
pub(super) async fn forget_ended(inner: &Arc<Inner>, lead: &Arc<Lead>) {
    loop {
        tokio::time::sleep(FORGET_EVERY).await;
        for tenant in lead.tenants() {
            if let Err(error) = forget_in(inner, lead, &tenant).await {
                tracing::warn!(%tenant, %error, "ended flows cannot be forgotten now");
            }
        }
    }
}

pub(super) async fn forget_in(inner: &Arc<Inner>, lead: &Lead, tenant: &Tenant) -> Result<()> {
    let now = inner.clock.now();
    let mut scan = flows_of(tenant, false);
    while let Some(page) = next_page(inner, &mut scan).await? {
        for stored in page {
            let header: Header = decode(&stored)?;
            let old = header.ended_at.is_some_and(|ended_at| now.since(ended_at) > inner.limits.ended_kept);
            let Ok(flow) = FlowId::parse(&stored.key.id) else { continue };
            if old {
                forget(inner, lead, &stored.key.scope, &flow, &header.key).await?;
            }
        }
    }
    Ok(())
}

async fn forget(inner: &Inner, lead: &Lead, scope: &Scope, flow: &FlowId, key: &str) -> Result<()> {
    let mut puts = vec![
        Put::Remove(flow_key(scope, flow)),
        Put::Remove(definition_key(scope, flow)),
        Put::Remove(state::Key::new(scope, KEY, key)),
    ];
    for (step, _, _) in steps(inner, scope, flow).await? {
        puts.push(Put::Remove(record::step_key(scope, flow, &step)));
    }
    let commit = Commit { preconditions: vec![lead.fence.clone()], puts, ..Commit::default() };
    inner.state.commit(commit).await?;
    Ok(())
}

fn flows_of(tenant: &Tenant, open: bool) -> Scan {
    let mut scan = Scan::of(&Scope::default(), FLOW);
    (scan.tenant, scan.environment, scan.term) = (tenant.clone(), None, Some(open_term(open)));
    scan
}

/// The next page of a scan, none after the last.
pub(super) async fn next_page(inner: &Inner, scan: &mut Scan) -> Result<Option<Vec<Record>>> {
    if scan.limit == 0 {
        return Ok(None);
    }
    let Page { items, next } = inner.state.scan(scan.clone()).await?;
    if next.is_none() {
        scan.limit = 0; // the last one
    }
    scan.after = next;
    Ok(Some(items))
}

pub(super) fn decode<T: DeserializeOwned>(stored: &Record) -> Result<T> {
    let unreadable = |error: serde_json::Error| Error::Unreadable {
        what: format!("{} {}", stored.key.kind, stored.key.id),
        why: error.to_string(),
    };
    T::deserialize(&stored.body).map_err(unreadable)
}
