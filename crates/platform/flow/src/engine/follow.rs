//! Following one flow: status first, then what happens, until it has ended.

use std::{sync::Arc, time::Duration};

use base::{Ctx, id::FlowId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Engine;
use crate::{FlowState, Progress, Result, Status, What};

/// Follows one flow, see [`Engine::follow`].
#[derive(Debug)]
pub struct Follow {
    engine: Engine,
    ctx: Ctx,
    flow: FlowId,
    heard: Receiver<Arc<Progress>>,
    state: Option<FlowState>,
    /// Give the status next: at the beginning, and after missing something.
    tell_status: bool,
}

/// What a follower hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The whole flow: first, and whenever something was missed.
    Status(Box<Status>),
    Progress(Progress),
}

/// The flow may be driven by another process, whose progress is not heard here.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// Follows a flow: its status, then each step as it changes, until it has ended.
    pub fn follow(&self, ctx: &Ctx, flow: &FlowId) -> Follow {
        let heard = self.inner.progress.subscribe();
        let (engine, ctx, flow) = (self.clone(), ctx.clone(), flow.clone());
        Follow { engine, ctx, flow, heard, state: None, tell_status: true }
    }

    /// Waits until a flow has ended or is parked. The context's budget is not looked at; put a timeout
    /// around it.
    ///
    /// # Errors
    /// As [`Engine::status`].
    pub async fn wait(&self, ctx: &Ctx, flow: &FlowId) -> Result<Status> {
        let mut follow = self.follow(ctx, flow);
        loop {
            match follow.next().await? {
                Some(Update::Status(status)) if status.summary.state.is_settled() => return Ok(*status),
                Some(Update::Progress(Progress { what: What::Flow(state), .. })) if state.is_settled() => {
                    let status = self.status(ctx, flow).await?;
                    if status.summary.state.is_settled() {
                        return Ok(status);
                    }
                }
                Some(_) => {}
                None => return self.status(ctx, flow).await,
            }
        }
    }
}

impl Follow {
    /// The next update, none after the end. Cancel-safe.
    ///
    /// # Errors
    /// As [`Engine::status`]; asking again goes on.
    pub async fn next(&mut self) -> Result<Option<Update>> {
        loop {
            if self.tell_status {
                let status = self.engine.status(&self.ctx, &self.flow).await?;
                self.tell_status = false;
                self.state = Some(status.summary.state);
                return Ok(Some(Update::Status(Box::new(status))));
            }
            if self.state.is_some_and(FlowState::is_final) {
                return Ok(None);
            }
            match tokio::time::timeout(LOOK_EVERY, self.heard.recv()).await {
                Ok(Ok(progress)) if progress.flow == self.flow && progress.scope == self.ctx.scope => {
                    if let What::Flow(state) = progress.what {
                        self.state = Some(state);
                    }
                    return Ok(Some(Update::Progress(Arc::unwrap_or_clone(progress))));
                }
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(_))) => self.tell_status = true,
                Ok(Err(RecvError::Closed)) => return Ok(None),
                Err(_) => {
                    let state = self.engine.summary(&self.ctx, &self.flow).await?.state;
                    self.tell_status = Some(state) != self.state;
                }
            }
        }
    }
}
