//! Measures what a step costs. `cargo xtask bench flow` and the tests call it.

use std::sync::Arc;

use base::{Ctx, Scope};
use futures_util::future::{BoxFuture, try_join_all};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{Call, Definition, Engine, Handler, Handlers, Mode, Result, Start, StepCall, StepDef, StepError};

/// What a run cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    pub flows: usize,
    /// Steps of each flow.
    pub steps: usize,
    /// Wall time from the first step to the last end.
    pub ms: f64,
    /// Wall time per step of all flows together; what a step takes when there is one flow.
    pub ms_per_step: f64,
    pub fsyncs_per_step: f64,
}

/// A bench: make it, give [`Bench::handlers`] to an engine, [`Bench::run`] it there.
#[derive(Debug)]
pub struct Bench {
    gate: Arc<watch::Sender<bool>>,
}

impl Default for Bench {
    fn default() -> Self {
        Self { gate: Arc::new(watch::Sender::new(false)) }
    }
}

impl Bench {
    #[must_use]
    pub fn handlers(&self) -> Handlers {
        let gate = Gate(Arc::clone(&self.gate));
        Handlers::new().with("bench.nothing", 1, Arc::new(Nothing)).with("bench.gate", 1, Arc::new(gate))
    }

    /// Runs `flows` flows at once, each a chain of `steps` steps that do nothing; they begin together
    /// once all are started. `fsyncs` gives the number of fsyncs so far.
    ///
    /// # Errors
    /// As starting and waiting.
    pub async fn run(
        &self,
        engine: &Engine,
        flows: usize,
        steps: usize,
        fsyncs: impl Fn() -> u64,
    ) -> Result<Cost> {
        let ctx = Ctx::system("bench", Scope::default());
        self.gate.send_replace(false);
        engine.ready(&ctx).await?;
        let start = async || engine.start(&ctx, Start::new(chain(steps), base::id::fresh("bench"))).await;
        let started = try_join_all((0..flows).map(|_| start())).await?;
        let (before, began_at) = (fsyncs(), Instant::now());
        self.gate.send_replace(true);
        try_join_all(started.iter().map(|started| engine.wait(&ctx, &started.id))).await?;
        let (ms, total) = (began_at.elapsed().as_secs_f64() * 1e3, (flows * steps).max(1) as f64);
        let fsyncs_per_step = fsyncs().saturating_sub(before) as f64 / total;
        Ok(Cost { flows, steps, ms, ms_per_step: ms / total, fsyncs_per_step })
    }
}

struct Nothing;

impl Handler for Nothing {
    fn call(&self, _call: StepCall) -> BoxFuture<'_, std::result::Result<Value, StepError>> {
        Box::pin(async { Ok(json!({"ok": true})) })
    }
}

/// Holds the first steps back until all flows are started.
struct Gate(Arc<watch::Sender<bool>>);

impl Handler for Gate {
    fn call(&self, _call: StepCall) -> BoxFuture<'_, std::result::Result<Value, StepError>> {
        Box::pin(async {
            let opened = self.0.subscribe().wait_for(|open| *open).await.is_ok();
            Ok(json!({"ok": opened}))
        })
    }
}

fn chain(steps: usize) -> Definition {
    let step = |nth: usize| {
        let handler = if nth == 0 { "bench.gate" } else { "bench.nothing" };
        let step = StepDef::call(format!("s{nth}"), Mode::Idempotent, Call::new(handler, 1, Value::Null));
        if nth == 0 { step } else { step.after([format!("s{}", nth - 1)]) }
    };
    Definition { name: "bench".into(), steps: (0..steps).map(step).collect() }
}
