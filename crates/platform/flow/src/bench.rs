//! Measures what a step costs. `cargo xtask bench flow` and the tests call it.

use std::sync::Arc;

use base::{Ctx, Scope};
use futures_util::future::{BoxFuture, try_join_all};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Call, Definition, Engine, Handler, Handlers, Mode, Result, Start, StepCall, StepDef, StepError};

/// What a run cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    pub flows: usize,
    pub steps: usize,
    /// Wall time per step of all flows together.
    pub ms_per_step: f64,
    /// Wall time of the whole run.
    pub ms: f64,
    pub fsyncs_per_step: f64,
}

/// Handlers that [`run`] needs in the engine.
#[must_use]
pub fn handlers() -> Handlers {
    Handlers::new().with("bench.nothing", 1, Arc::new(Nothing))
}

struct Nothing;

impl Handler for Nothing {
    fn call(&self, _call: StepCall) -> BoxFuture<'_, std::result::Result<Value, StepError>> {
        Box::pin(async { Ok(json!({"ok": true})) })
    }
}

/// Runs `flows` flows at once, each a chain of `steps` steps that do nothing. `fsyncs` gives the number
/// of fsyncs so far.
///
/// # Errors
/// As starting and waiting.
pub async fn run(engine: &Engine, flows: usize, steps: usize, fsyncs: impl Fn() -> u64) -> Result<Cost> {
    let ctx = Ctx::system("bench", Scope::default());
    engine.ready(&ctx).await?;
    let (before, began_at) = (fsyncs(), Instant::now());
    let one = async || {
        let start = Start::new(chain(steps), base::id::fresh("bench"));
        let started = engine.start(&ctx, start).await?;
        engine.wait(&ctx, &started.id).await
    };
    try_join_all((0..flows).map(|_| one())).await?;
    let (ms, total) = (began_at.elapsed().as_secs_f64() * 1e3, (flows * steps).max(1) as f64);
    let fsyncs_per_step = fsyncs().saturating_sub(before) as f64 / total;
    Ok(Cost { flows, steps, ms_per_step: ms / total, ms, fsyncs_per_step })
}

fn chain(steps: usize) -> Definition {
    let step = |nth: usize| {
        let step =
            StepDef::call(format!("s{nth}"), Mode::Idempotent, Call::new("bench.nothing", 1, Value::Null));
        if nth == 0 { step } else { step.after([format!("s{}", nth - 1)]) }
    };
    Definition { name: "bench".into(), steps: (0..steps).map(step).collect() }
}
