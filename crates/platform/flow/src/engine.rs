//! The engine: takes flows in, drives them while it holds the lease, and answers about them.

mod actor;
mod call;
mod follow;
mod lead;
mod load;
mod read;
mod scheduler;
mod start;
mod timers;

use std::{fmt, sync::Arc, time::Duration};

use base::{Clock, Ctx, Tenant, id::FlowId};
use state::State;
use tasks::{Shutdown, Tasks};
use tokio::sync::{broadcast, oneshot, watch};

use self::{actor::Post, lead::Lead};
pub use self::{
    follow::{Follow, Update},
    read::ListQuery,
    start::{Start, Started},
};
use crate::{Error, Handlers, Progress, Result, machine::Event};

/// Bounds of one engine. Reaching one is an error for that caller.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Handlers that run at once, of all flows.
    pub parallel_steps_max: usize,
    /// Calls that run, wait for one of those, or wait for their next attempt, of all flows. Steps beyond
    /// begin a little later, so that a wide flow does not fill the process with tasks.
    pub calls_out_max: usize,
    /// Unfinished flows, those that wait for a person included.
    pub flows_running_max: usize,
    pub steps_per_flow_max: usize,
    /// The serialised definition of one flow.
    pub definition_bytes_max: usize,
    /// The serialised output of one step.
    pub output_bytes_max: usize,
    pub schedules_max: usize,
    /// Ended flows are forgotten after this long.
    pub ended_kept: Duration,
    /// How long a dead engine's lease keeps others out. An engine with the same `holder` takes over at
    /// once.
    pub lease_ttl: Duration,
    /// Time a call has to end after it was told to, before it is dropped.
    pub stop_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel_steps_max: 64,
            calls_out_max: 4_000,
            flows_running_max: 10_000,
            steps_per_flow_max: 2_000,
            definition_bytes_max: 3 << 20,
            output_bytes_max: 256 << 10,
            schedules_max: 10_000,
            ended_kept: Duration::from_secs(30 * 24 * 3600),
            lease_ttl: Duration::from_secs(15),
            stop_grace: Duration::from_secs(5),
        }
    }
}

/// What an engine is made of.
#[derive(Debug, Clone)]
pub struct Options {
    pub state: Arc<dyn State>,
    pub clock: Arc<dyn Clock>,
    pub tasks: Tasks,
    pub handlers: Handlers,
    pub limits: Limits,
    /// Who holds the lease. Two engines that may live at the same time need different names; one that
    /// is known to replace a dead one (it holds the data directory's lock) keeps its name and need not
    /// wait for the lease to lapse.
    pub holder: String,
}

/// The engine. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    handlers: Handlers,
    limits: Limits,
    holder: String,
    /// What there is while this engine leads.
    lead: watch::Sender<Option<Arc<Lead>>>,
    progress: broadcast::Sender<Arc<Progress>>,
}

/// Progress that one who follows may lag behind before it misses some.
pub const PROGRESS_MAX: usize = 4_096;

impl Engine {
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { state, clock, tasks, handlers, limits, holder } = options;
        let (lead, progress) = (watch::Sender::new(None), broadcast::Sender::new(PROGRESS_MAX));
        let inner = Inner { state, clock, tasks, handlers, limits, holder, lead, progress };
        Self { inner: Arc::new(inner) }
    }

    /// Takes the lease, takes up all unfinished flows, and drives flows until `shutdown`. Loses and
    /// retakes the lease as it has to. Run it as one task of kind [`Engine::KIND`].
    ///
    /// At shutdown, running calls are told to stop; what is cut off is taken up by the next run.
    ///
    /// # Errors
    /// State is closed for good.
    pub async fn run(&self, shutdown: Shutdown) -> Result<()> {
        lead::run(&self.inner, shutdown).await
    }

    /// The kind of the task that runs the engine.
    pub const KIND: tasks::Kind = tasks::Kind { name: "flow-engine", ..tasks::Kind::LOOP };

    /// Waits until this engine leads, at most as long as the context allows.
    ///
    /// # Errors
    /// [`Error::NotLeading`].
    pub async fn ready(&self, ctx: &Ctx) -> Result<()> {
        self.inner.leading(ctx.budget).await.map(drop)
    }

    /// Cancels a flow: what runs is told to end, then what was done is undone.
    /// Returns once the decision is durable. Cancelling twice is fine.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ended`], [`Error::NotLeading`].
    pub async fn cancel(&self, ctx: &Ctx, flow: &FlowId, why: &str) -> Result<()> {
        self.tell(ctx, flow, Event::Cancel { actor: ctx.actor.clone(), why: why.to_owned() }).await
    }

    /// Gives a person's answer to a step that asks. The context's actor is recorded.
    ///
    /// # Errors
    /// [`Error::NotAsking`] (also when somebody else answered before), [`Error::NoChoice`],
    /// [`Error::NoStep`], [`Error::NotFound`], [`Error::Ended`], [`Error::NotLeading`].
    pub async fn answer(&self, ctx: &Ctx, flow: &FlowId, step: &str, choice: &str) -> Result<()> {
        let (step, choice) = (step.to_owned(), choice.to_owned());
        self.tell(ctx, flow, Event::Answer { step, choice, actor: ctx.actor.clone() }).await
    }

    /// Progress of all flows from now on.
    #[must_use]
    pub fn progress(&self) -> broadcast::Receiver<Arc<Progress>> {
        self.inner.progress.subscribe()
    }

    async fn tell(&self, ctx: &Ctx, flow: &FlowId, event: Event) -> Result<()> {
        let lead = self.inner.leading(ctx.budget).await?;
        let Some(posts) = lead.find(&ctx.scope, flow) else {
            let summary = self.summary(ctx, flow).await?; // not found comes from here
            let flow = flow.clone();
            return Err(if summary.state.is_final() { Error::Ended { flow } } else { Error::NotLeading });
        };
        let (reply, answer) = oneshot::channel();
        if posts.capacity() <= actor::room_for_steps(&self.inner.limits) {
            return Err(Error::Limit { what: "requests to one flow", limit: actor::REQUESTS_MAX as u64 });
        }
        let sent = posts.try_send(Post::Request { event, reply });
        match sent {
            Ok(()) => match answer.await {
                Ok(result) => result,
                Err(_) => self.after_silence(ctx, flow).await,
            },
            Err(_) => self.after_silence(ctx, flow).await,
        }
    }

    /// The flow's actor went away before it answered.
    async fn after_silence(&self, ctx: &Ctx, flow: &FlowId) -> Result<()> {
        let ended = self.summary(ctx, flow).await?.state.is_final();
        Err(if ended { Error::Ended { flow: flow.clone() } } else { Error::NotLeading })
    }
}

impl Inner {
    async fn leading(&self, budget: Duration) -> Result<Arc<Lead>> {
        let mut heard = self.lead.subscribe();
        let found = tokio::time::timeout(budget, heard.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(lead)) => lead.clone().ok_or(Error::NotLeading),
            _ => Err(Error::NotLeading),
        }
    }

    fn knows(&self, handler: &str, version: u32) -> bool {
        self.handlers.get(handler, version).is_some()
    }
}

/// Where the engine keeps what belongs to no tenant: its lease and the list of tenants.
fn home() -> Tenant {
    Tenant::default()
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("holder", &self.inner.holder)
            .field("leads", &self.inner.lead.borrow().is_some())
            .finish_non_exhaustive()
    }
}
