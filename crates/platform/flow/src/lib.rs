//! Durable workflows: steps that survive a crash between any two of them.
//!
//! A workflow is data ([`Definition`]): named steps in a graph, each calling a [`Handler`] by name and
//! version, waiting for a time, or waiting for a person. The [`Engine`] keeps a journal in `state`: one
//! record per flow, one per definition, one per step that has begun. The end of a step and the beginning
//! of those it unlocks are one commit, so a step costs at most one fsync, and flows at work at the same
//! time share theirs.
//!
//! What a crash leaves open depends on the step's [`Mode`]: an idempotent step is called again with the
//! same key, a check-first step is asked whether it was done, a once-then-ask step waits for a person.
//! When a step fails for good, or the flow is cancelled, what was done is undone backwards. Every flow
//! ends as done or compensated, or is parked with a question for a person.
//!
//! It is not a language: nothing is replayed, there is no code in a journal. It is not a queue for
//! millions of small jobs: a flow is a change to the world that somebody wants to follow.
//!
//! One engine at a time drives flows: it holds a lease of `state`, and every write carries the lease's
//! token. Enter at [`Engine`]; `machine` is the pure heart, `engine::actor` drives one flow.
//!
//! ```no_run
//! # use std::sync::Arc; use flow::*; use base::{Ctx, Scope};
//! # async fn example(options: Options) -> Result<()> {
//! let engine = Engine::new(options);
//! let copy = StepDef::call("copy", Mode::Idempotent, Call::new("blob.copy", 1, serde_json::json!({"digest": "…"})));
//! let serve = StepDef::call("serve", Mode::CheckFirst, Call::new("runtime.start", 1, serde_json::json!({})))
//!     .after(["copy"])
//!     .compensate(Call::new("runtime.stop", 1, serde_json::json!({})));
//! let definition = Definition { name: "release".into(), steps: vec![copy, serve] };
//! let ctx = Ctx::system("example", Scope::default());
//! let started = engine.start(&ctx, Start::new(definition, "release-42")).await?;
//! let status = engine.wait(&ctx, &started.id).await?;
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

pub mod bench;
mod definition;
mod engine;
mod error;
mod handler;
mod machine;
mod record;
mod schedule;
mod status;

pub use crate::{
    definition::{Action, Call, Definition, Mode, Retry, StepDef, Until},
    engine::{Engine, Follow, Limits, ListQuery, Options, PROGRESS_MAX, Start, Started, Update},
    error::{Error, Result},
    handler::{ErrorKind, Handler, Handlers, StepCall, StepError},
    record::{About, Answer, Ask, Failure, FlowState, Phase},
    schedule::{Missed, Overlap, Schedule, ScheduleStatus, When},
    status::{Progress, Question, Status, StepStatus, Summary, What},
};
