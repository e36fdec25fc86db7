//! The actor of one flow: events in, one commit per batch, then the effects.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base::{Ctx, Scope};
use state::Commit;
use tasks::{Kind, OnCancel, OnError, Shutdown, Stage};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Inner, Limits,
    call::{self, Job},
    lead::{Lead, Origin, Place},
    load, timers,
};
use crate::{
    Result, StepCall,
    machine::{Batch, CallResult, Due, Effect, Env, Event, Machine},
};

/// A message to a flow.
#[derive(Debug)]
pub(crate) enum Post {
    Event(Event),
    /// The slot that a step waited for.
    Slot {
        step: usize,
        permit: OwnedSemaphorePermit,
    },
    /// From outside; answered once it is durable.
    Request {
        event: Event,
        reply: oneshot::Sender<Result<()>>,
    },
}

/// Requests from outside that wait for one flow.
pub(super) const REQUESTS_MAX: usize = 64;
/// Events that share a commit. With outputs at their default limit, a batch stays well below what state
/// takes in one commit.
const BATCH_MAX: usize = 64;
/// Wait between attempts to write while the disk is full.
const WRITE_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Wait before a step begins for which the process had no room.
const BEGIN_AGAIN_AFTER: Duration = Duration::from_secs(1);

const FLOW: Kind =
    Kind { name: "flow", on_error: OnError::Log, on_cancel: OnCancel::Wait, stage: Stage::Drain };

/// Posts that steps may send on their own: each has at most a call's end and a timer or slot under way.
pub(super) fn room_for_steps(limits: &Limits) -> usize {
    2 * limits.steps_per_flow_max
}

pub(super) fn channel(limits: &Limits) -> (mpsc::Sender<Post>, mpsc::Receiver<Post>) {
    mpsc::channel(room_for_steps(limits) + REQUESTS_MAX)
}

/// Lets a flow run on its own.
pub(super) fn spawn(
    inner: &Arc<Inner>,
    place: Place,
    origin: Origin,
    (sender, posts): (mpsc::Sender<Post>, mpsc::Receiver<Post>),
) -> Result<()> {
    let (inner, name) = (Arc::clone(inner), place.flow().to_string());
    let tasks = inner.tasks.clone();
    tasks.spawn_once(FLOW, name, move |shutdown| async move {
        let (machine, first, permits) = match origin {
            Origin::Begun { machine, effects, permits } => (machine, effects, permits),
            Origin::Stored => match load::machine(&inner, &place).await {
                Some((machine, permits)) => (Box::new(machine), Vec::new(), permits),
                None => return,
            },
        };
        let lead = Arc::clone(place.lead());
        let cut = lead.gone.child_token();
        let (stops, calls) = (HashMap::new(), TaskTracker::new());
        let actor = Actor { inner, lead, place, machine, posts, sender, cut, stops, calls, permits };
        actor.run(first, shutdown).await;
    })?;
    Ok(())
}

struct Actor {
    inner: Arc<Inner>,
    lead: Arc<Lead>,
    place: Place,
    machine: Box<Machine>,
    posts: mpsc::Receiver<Post>,
    sender: mpsc::Sender<Post>,
    cut: CancellationToken,
    stops: HashMap<usize, CancellationToken>,
    calls: TaskTracker,
    /// Slots taken for steps that begin with the next commit.
    permits: HashMap<usize, OwnedSemaphorePermit>,
}

/// The flow cannot go on here.
struct Lost;

type Reply = (oneshot::Sender<Result<()>>, Result<()>);

impl Actor {
    async fn run(mut self, first: Vec<Effect>, shutdown: Shutdown) {
        let gone = self.lead.gone.clone();
        let lost = tokio::select! {
            biased;
            () = gone.cancelled() => false,
            end = self.drive(first, &shutdown) => end.is_err(),
        };
        self.cut.cancel();
        self.calls.close();
        self.calls.wait().await; // nobody may take the flow up while a call of it runs
        let lead = Arc::clone(&self.lead);
        drop(self); // frees the place
        if lost {
            lead.look_again();
        }
    }

    async fn drive(&mut self, first: Vec<Effect>, shutdown: &Shutdown) -> std::result::Result<(), Lost> {
        self.carry_out_all(first).await;
        self.flush(Vec::new()).await?;
        let engine_stops = self.lead.stopping.clone();
        let mut stopping = false;
        while !self.machine.state().is_final() {
            if stopping && self.machine.is_quiet() {
                return Ok(());
            }
            let first = tokio::select! {
                biased;
                () = async { tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = engine_stops.cancelled() => {}
                } }, if !stopping => {
                    stopping = true;
                    Post::Event(Event::Stop)
                }
                post = self.posts.recv() => match post {
                    Some(post) => post,
                    None => return Ok(()),
                },
            };
            let mut replies = Vec::new();
            self.take_in(first, &mut replies);
            for _ in 1..BATCH_MAX {
                let Ok(post) = self.posts.try_recv() else { break };
                self.take_in(post, &mut replies);
            }
            self.flush(replies).await?;
        }
        Ok(())
    }

    fn take_in(&mut self, post: Post, replies: &mut Vec<Reply>) {
        match post {
            Post::Event(event) => {
                if let Err(error) = self.apply(event) {
                    tracing::error!(flow = %self.machine.id, %error, "an event was refused");
                }
            }
            Post::Slot { step, permit } => {
                self.permits.insert(step, permit);
                let _ = self.apply(Event::Slot { step }); // cannot fail
            }
            Post::Request { event, reply } => {
                let result = self.apply(event);
                replies.push((reply, result));
            }
        }
    }

    fn apply(&mut self, event: Event) -> Result<()> {
        if let Event::Ended { step, .. } = &event {
            self.stops.remove(step);
        }
        let (inner, lead, permits) = (&self.inner, &self.lead, &mut self.permits);
        let mut env = Env {
            now: inner.clock.now(),
            knows: &|handler, version| inner.knows(handler, version),
            slot: &mut |step| match Arc::clone(&lead.slots).try_acquire_owned() {
                Ok(permit) => permits.insert(step, permit).is_none(),
                Err(_) => false,
            },
        };
        self.machine.apply(event, &mut env)
    }

    /// Makes what piled up durable, then carries it out.
    async fn flush(&mut self, replies: Vec<Reply>) -> std::result::Result<(), Lost> {
        let mut batch = self.machine.take().map_err(|error| {
            tracing::error!(flow = %self.machine.id, %error, "a flow cannot be written");
            Lost
        })?;
        if batch.writes() {
            let versions = self.write(&batch).await?;
            self.machine.written(&batch, &versions);
        }
        for progress in batch.progress.drain(..) {
            let _ = self.inner.progress.send(Arc::new(progress)); // nobody following is fine
        }
        for (reply, result) in replies {
            let _ = reply.send(result);
        }
        self.carry_out_all(std::mem::take(&mut batch.effects)).await;
        Ok(())
    }

    async fn carry_out_all(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.carry_out(effect).await;
        }
        self.permits.clear(); // of steps that were withdrawn
    }

    async fn write(&self, batch: &Batch) -> std::result::Result<Vec<u64>, Lost> {
        let mut preconditions = vec![self.lead.fence.clone()];
        preconditions.extend(batch.commit.preconditions.iter().cloned());
        let commit = Commit { preconditions, ..batch.commit.clone() };
        loop {
            match self.inner.state.commit(commit.clone()).await {
                Ok(committed) => return Ok(committed.versions),
                Err(state::Error::Conflict { what }) => {
                    // Another engine leads, or an earlier attempt was written after all.
                    tracing::warn!(flow = %self.machine.id, %what, "a flow is taken up anew");
                    return Err(Lost);
                }
                Err(state::Error::Closed) => return Err(Lost),
                Err(error) => {
                    tracing::warn!(flow = %self.machine.id, %error, "the journal cannot be written, trying again");
                    tokio::time::sleep(WRITE_AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Call { step, undo, delay } => self.call(step, undo, delay).await,
            Effect::Stop { step } => {
                if let Some(stop) = self.stops.get(&step) {
                    stop.cancel();
                }
            }
            Effect::Timer { step, until } => {
                self.post_at(until, Post::Event(Event::Due { step })).await;
            }
            Effect::WaitForSlot { step } => self.wait_for_slot(step).await,
        }
    }

    async fn post_at(&self, due: Due, post: Post) {
        let request = timers::Request { due, post, to: self.sender.clone() };
        let _ = self.lead.timers.send(request).await; // closed: the lease is lost
    }

    /// The process has no room for another task; the step begins later.
    async fn not_begun(&self, step: usize, undo: bool, why: &str) {
        tracing::debug!(flow = %self.machine.id, why, "a step cannot begin yet");
        let ended = Event::Ended { step, undo, result: CallResult::NotBegun };
        self.post_at(Due::In(BEGIN_AGAIN_AFTER), Post::Event(ended)).await;
    }

    async fn call(&mut self, step: usize, undo: bool, delay: Duration) {
        let Some((call, mode, attempt)) = self.machine.call_of(step, undo) else { return };
        let call = call.clone();
        let Ok(room) = Arc::clone(&self.lead.room).try_acquire_owned() else {
            return self.not_begun(step, undo, "too many calls are out").await;
        };
        let stop = CancellationToken::new();
        self.stops.insert(step, stop.clone());
        let job = Job {
            inner: Arc::clone(&self.inner),
            lead: Arc::clone(&self.lead),
            step,
            undo,
            delay,
            mode,
            args: self.arguments(step, undo, attempt, call.input.clone()),
            call,
            ctx: self.context(),
            permit: self.permits.remove(&step),
            stop,
            cut: self.cut.clone(),
            posts: self.sender.clone(),
            held: Arc::new((self.calls.token(), room)),
        };
        let name = format!("{}/{}", self.machine.id, self.machine.definition.steps[step].name);
        if let Err(error) = self.inner.tasks.spawn_once(call::CALL, name, move |_| job.run()) {
            self.not_begun(step, undo, &error.to_string()).await;
        }
    }

    fn arguments(
        &self,
        step: usize,
        undo: bool,
        attempt: u32,
        input: serde_json::Value,
    ) -> Box<dyn FnOnce(Ctx, tokio::time::Instant, Shutdown) -> StepCall + Send> {
        let flow = self.machine.id.clone();
        let name = self.machine.definition.steps[step].name.clone();
        let outputs = self.machine.outputs_for(step, undo);
        let key = if undo { format!("{flow}/{name}/undo") } else { format!("{flow}/{name}") };
        let (fence, lease) = (self.lead.token, self.lead.fence.clone());
        let notes = self.inner.progress.clone();
        Box::new(move |ctx, deadline, stop| StepCall {
            flow,
            step: name,
            attempt,
            undo,
            input,
            outputs,
            key,
            fence,
            ctx,
            deadline,
            stop,
            lease,
            notes,
        })
    }

    /// The context of the flow's calls: it acts for whoever started it.
    fn context(&self) -> Ctx {
        let header = self.machine.header();
        let mut cause = header.cause.clone();
        cause.causation = Some(header.started_by.clone());
        let scope: Scope = self.place.scope().clone();
        Ctx { actor: header.actor.clone(), scope, cause, budget: Ctx::BUDGET_DEFAULT }
    }

    async fn wait_for_slot(&mut self, step: usize) {
        let Ok(room) = Arc::clone(&self.lead.room).try_acquire_owned() else {
            return self.not_begun(step, false, "too many calls are out").await;
        };
        let (slots, posts, cut) = (Arc::clone(&self.lead.slots), self.sender.clone(), self.cut.clone());
        let stop = CancellationToken::new();
        self.stops.insert(step, stop.clone());
        let alive = self.calls.token();
        let waiting = async move {
            let _held = (alive, room);
            tokio::select! {
                () = cut.cancelled() => {}
                () = stop.cancelled() => {
                    let result = CallResult::NotBegun;
                    let _ = posts.try_send(Post::Event(Event::Ended { step, undo: false, result }));
                }
                permit = slots.acquire_owned() => {
                    if let Ok(permit) = permit {
                        let _ = posts.try_send(Post::Slot { step, permit });
                    }
                }
            }
        };
        let name = format!("{}/{}", self.machine.id, self.machine.definition.steps[step].name);
        if let Err(error) = self.inner.tasks.spawn_once(call::CALL, name, move |_| waiting) {
            self.not_begun(step, false, &error.to_string()).await;
        }
    }
}
