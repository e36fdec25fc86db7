//! Starting a flow: one commit, together with what the caller changes.

use std::sync::Arc;

use base::{
    Ctx, Scope,
    id::{EventId, FlowId},
};
use ledger::{Draft, Entry};
use serde_json::json;
use state::{Commit, Key, Precondition, Put};

use super::{
    Engine, Inner, actor, home,
    lead::{Lead, Origin, Permits},
    load,
};
use crate::{
    Error, Result,
    definition::{Definition, Graph},
    machine::{Batch, Env, Machine},
    record::{FlowState, Header, KEY, KeyRecord, TENANT, definition_key},
};

/// A flow to start.
#[derive(Debug, Clone)]
pub struct Start {
    /// Known before the start, so that the caller's own records can name it.
    pub id: FlowId,
    pub definition: Definition,
    /// Starting again with the same key in the same scope gives the flow that is there.
    pub key: String,
    /// Written in the same commit; its preconditions hold or nothing starts.
    pub extra: Commit,
}

impl Start {
    pub fn new(definition: Definition, key: impl Into<String>) -> Self {
        Self { id: FlowId::new(), definition, key: key.into(), extra: Commit::default() }
    }
    #[must_use]
    pub fn with(mut self, extra: Commit) -> Self {
        self.extra = extra;
        self
    }
}

/// A flow that was started, now or before.
#[derive(Debug, Clone)]
pub struct Started {
    pub id: FlowId,
    /// It was there already; nothing of `extra` was written.
    pub existed: bool,
    /// New versions of the puts of `extra`, in order.
    pub versions: Vec<u64>,
    /// The entries of `extra` as they stand in the ledger.
    pub entries: Vec<Entry>,
}

impl Engine {
    /// Starts a flow, durably. Waits for the lease as long as the context allows.
    ///
    /// Dropping the future leaves it unknown whether the flow has started: start again with the same
    /// key.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::UnknownHandler`], [`Error::Limit`], [`Error::KeyReused`],
    /// [`Error::NotLeading`], and [`Error::State`] with a conflict when a precondition of `extra` fails.
    pub async fn start(&self, ctx: &Ctx, start: Start) -> Result<Started> {
        let inner = &self.inner;
        let graph = inner.check(&start.definition)?;
        let lead = inner.leading(ctx.budget).await?;
        if let Some(started) = inner.started_before(&ctx.scope, &start).await? {
            return Ok(started);
        }
        let (posts, received) = actor::channel(&inner.limits);
        let most = inner.limits.flows_running_max;
        let Some(place) = lead.reserve(&ctx.scope, &start.id, most, posts.clone())? else {
            let why = format!("its id {} is in use", start.id);
            return Err(Error::Invalid { flow: start.definition.name, why });
        };
        let (mut machine, permits) = begin(inner, &lead, ctx, &start, graph);
        let mut batch = machine.take()?;
        let own_entries = batch.commit.entries.len() + 1;
        let commit = compose(&lead, ctx, &start, &machine, &batch)?;
        let before_extra = commit.puts.len() - start.extra.puts.len();
        let orphan = Orphan(Some(Arc::clone(&lead)));
        match inner.state.commit(commit).await {
            Ok(committed) => {
                lead.learn_tenant(&ctx.scope.tenant);
                machine.written(&batch, &committed.versions);
                for progress in batch.progress.drain(..) {
                    let _ = inner.progress.send(Arc::new(progress));
                }
                let effects = std::mem::take(&mut batch.effects);
                let origin = Origin::Begun { machine: Box::new(machine), effects, permits };
                match actor::spawn(inner, place, origin, (posts, received)) {
                    Ok(()) => orphan.adopted(),
                    // It is durable: the sweep takes it up.
                    Err(error) => tracing::warn!(flow = %start.id, %error, "a flow cannot begin yet"),
                }
                let versions = committed.versions.get(before_extra..).unwrap_or_default().to_vec();
                let entries = committed.entries.get(own_entries..).unwrap_or_default().to_vec();
                Ok(Started { id: start.id, existed: false, versions, entries })
            }
            Err(state::Error::Conflict { what }) => {
                drop(place);
                orphan.adopted(); // nothing was written
                match inner.started_before(&ctx.scope, &start).await? {
                    Some(started) => Ok(started),
                    None if !lead.is_valid() => Err(Error::NotLeading),
                    None => Err(Error::State(state::Error::Conflict { what })),
                }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Has unfinished flows looked for, unless the new flow was handed over.
struct Orphan(Option<Arc<Lead>>);

impl Orphan {
    fn adopted(mut self) {
        self.0 = None;
    }
}
impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(lead) = &self.0 {
            lead.look_again();
        }
    }
}

impl Inner {
    pub(super) fn check(&self, definition: &Definition) -> Result<Graph> {
        let graph = Graph::of(definition, self.limits.steps_per_flow_max)?;
        let bytes = serde_json::to_vec(definition).map_or(usize::MAX, |text| text.len());
        if bytes > self.limits.definition_bytes_max {
            let limit = self.limits.definition_bytes_max as u64;
            return Err(Error::Limit { what: "bytes of one flow's definition", limit });
        }
        for step in &definition.steps {
            if let Some(call) = step.calls().find(|call| !self.knows(&call.handler, call.version)) {
                let (step, handler) = (step.name.clone(), call.handler.clone());
                return Err(Error::UnknownHandler { step, handler, version: call.version });
            }
        }
        Ok(graph)
    }

    async fn started_before(&self, scope: &Scope, start: &Start) -> Result<Option<Started>> {
        let Some(stored) = self.state.get(Key::new(scope, KEY, &start.key)).await? else { return Ok(None) };
        let KeyRecord { flow } = load::decode(&stored)?;
        if load::definition(self, scope, &flow).await? != start.definition {
            return Err(Error::KeyReused { key: start.key.clone(), flow });
        }
        Ok(Some(Started { id: flow, existed: true, versions: Vec::new(), entries: Vec::new() }))
    }
}

fn begin(inner: &Inner, lead: &Lead, ctx: &Ctx, start: &Start, graph: Graph) -> (Machine, Permits) {
    let now = inner.clock.now();
    let header = Header {
        name: start.definition.name.clone(),
        state: FlowState::Running,
        actor: ctx.actor.clone(),
        cause: ctx.cause.clone(),
        started_by: EventId::new(),
        key: start.key.clone(),
        steps: u32::try_from(start.definition.steps.len()).unwrap_or(u32::MAX),
        started_at: now,
        ended_at: None,
        failure: None,
        cancelled_by: None,
    };
    let mut permits = Permits::new();
    let mut env = Env {
        now,
        knows: &|handler, version| inner.knows(handler, version),
        slot: &mut |step| match Arc::clone(&lead.slots).try_acquire_owned() {
            Ok(permit) => permits.insert(step, permit).is_none(),
            Err(_) => false,
        },
    };
    let definition = Arc::new(start.definition.clone());
    let machine = Machine::begin(ctx.scope.clone(), start.id.clone(), definition, graph, header, &mut env);
    (machine, permits)
}

/// The flow's own writes first, then the caller's.
fn compose(lead: &Lead, ctx: &Ctx, start: &Start, machine: &Machine, batch: &Batch) -> Result<Commit> {
    let unreadable =
        |error: serde_json::Error| Error::Unreadable { what: start.id.to_string(), why: error.to_string() };
    let put = |key, body| Put::Put { key, body, index: Vec::new() };
    let Commit { preconditions, puts, entries, outbox } = batch.commit.clone();
    let key = Key::new(&ctx.scope, KEY, &start.key);
    let mut commit = Commit {
        preconditions: vec![lead.fence.clone(), Precondition::Absent(key.clone())],
        puts,
        entries: vec![start_entry(ctx, start, machine)],
        outbox,
    };
    commit.preconditions.extend(preconditions);
    commit.entries.extend(entries);
    let definition = serde_json::to_value(&start.definition).map_err(unreadable)?;
    commit.puts.push(put(definition_key(&ctx.scope, &start.id), definition));
    let flow = KeyRecord { flow: start.id.clone() };
    commit.puts.push(put(key, serde_json::to_value(flow).map_err(unreadable)?));
    if !lead.knows_tenant(&ctx.scope.tenant) {
        let scope = Scope { tenant: home(), ..Scope::default() };
        commit.puts.push(put(Key::new(&scope, TENANT, ctx.scope.tenant.as_str()), json!({})));
    }
    let extra = start.extra.clone();
    commit.preconditions.extend(extra.preconditions);
    commit.puts.extend(extra.puts);
    commit.entries.extend(extra.entries);
    commit.outbox.extend(extra.outbox);
    Ok(commit)
}

fn start_entry(ctx: &Ctx, start: &Start, machine: &Machine) -> Draft {
    Draft {
        id: machine.header().started_by.clone(),
        tenant: ctx.scope.tenant.clone(),
        environment: ctx.scope.environment.clone(),
        kind: "stead.flow.start.v1".into(),
        subject: start.id.to_string(),
        actor: ctx.actor.clone(),
        cause: ctx.cause.clone(),
        why: format!("{} was asked for", start.definition.name),
        body: json!({"name": start.definition.name, "steps": start.definition.steps.len(), "key": start.key}),
    }
}
