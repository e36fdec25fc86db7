//! The outside world that steps have effects on, and engines to run against it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base::{Clock, Ctx, Scope, Timestamp};
use flow::{Call, Engine, Handler, Handlers, Limits, Mode, Options, Retry, StepCall, StepDef, StepError};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use state::{MemoryState, State};
use tasks::{Budgets, Tasks};
use tokio::time::{Instant, sleep};

/// A clock on paused time, whose wall side can jump.
#[derive(Debug)]
pub struct TestClock {
    origin: Instant,
    jump_ms: AtomicI64,
}

pub const START_MS: i64 = 1_700_000_000_000;

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { origin: Instant::now(), jump_ms: AtomicI64::new(0) })
    }
    pub fn jump_ms(&self, by: i64) {
        self.jump_ms.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.origin.elapsed().as_nanos()).unwrap();
        Timestamp::from_nanos((START_MS + self.jump_ms.load(Ordering::SeqCst)) * 1_000_000 + passed)
    }
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// What happened outside; survives crashes of engines.
#[derive(Debug, Default)]
pub struct World {
    inner: Mutex<Effects>,
}

#[derive(Debug, Default, Clone)]
pub struct Effects {
    /// Calls by key, those that failed included.
    pub calls: BTreeMap<String, u32>,
    /// Effects by key.
    pub effects: BTreeMap<String, u32>,
    /// Keys in the order of their latest effect.
    pub order: Vec<String>,
    /// Calls that run now, by key, and the most at once of one key and in all.
    pub running: BTreeMap<String, u32>,
    pub overlap_max: u32,
    pub parallel_max: u32,
    pub fences: Vec<u64>,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
    pub fn get(&self) -> Effects {
        self.inner.lock().unwrap().clone()
    }
    pub fn has(&self, key: &str) -> bool {
        self.inner.lock().unwrap().effects.contains_key(key)
    }
    pub fn count(&self, key: &str) -> u32 {
        self.inner.lock().unwrap().effects.get(key).copied().unwrap_or(0)
    }
    pub fn calls(&self, key: &str) -> u32 {
        self.inner.lock().unwrap().calls.get(key).copied().unwrap_or(0)
    }
    fn with<T>(&self, change: impl FnOnce(&mut Effects) -> T) -> T {
        change(&mut self.inner.lock().unwrap())
    }
}

/// Handler `do`: input `{fail_first, fatal_first, work_ms, after: [names], output_bytes, panic_first}`.
struct Do(Arc<World>);

struct Running<'a>(&'a World, String);
impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.with(|effects| *effects.running.get_mut(&self.1).unwrap() -= 1);
    }
}

impl Handler for Do {
    fn call(&self, call: StepCall) -> BoxFuture<'_, Result<Value, StepError>> {
        async move {
            let input = |name: &str| call.input.get(name).and_then(Value::as_u64).unwrap_or(0);
            let nth = self.0.with(|effects| {
                let calls = effects.calls.entry(call.key.clone()).or_insert(0);
                *calls += 1;
                let nth = u64::from(*calls);
                *effects.running.entry(call.key.clone()).or_insert(0) += 1;
                effects.overlap_max = effects.overlap_max.max(effects.running[&call.key]);
                effects.parallel_max = effects.parallel_max.max(effects.running.values().sum());
                effects.fences.push(call.fence);
                nth
            });
            let _running = Running(&self.0, call.key.clone());
            for name in call.input.get("after").and_then(Value::as_array).into_iter().flatten() {
                assert!(call.outputs.contains_key(name.as_str().unwrap()), "{call:?}");
            }
            let work = Duration::from_millis(input("work_ms").max(2));
            tokio::select! {
                () = sleep(work / 2) => {}
                () = call.stop.cancelled(), if input("polite") == 1 => return Err(StepError::interrupted()),
            }
            if nth <= input("fail_first") {
                return Err(StepError::retryable("not this time").with_hint("wait"));
            }
            if nth <= input("fatal_first") {
                return Err(StepError::fatal("never"));
            }
            assert!(nth > input("panic_first"), "boom");
            self.0.with(|effects| {
                *effects.effects.entry(call.key.clone()).or_insert(0) += 1;
                effects.order.retain(|key| *key != call.key);
                effects.order.push(call.key.clone());
            });
            sleep(work / 2).await;
            call.note("did it");
            let filler = "x".repeat(usize::try_from(input("output_bytes")).unwrap());
            Ok(json!({"step": call.step, "filler": filler}))
        }
        .boxed()
    }

    fn check(&self, call: StepCall) -> BoxFuture<'_, Result<Option<Value>, StepError>> {
        async move {
            sleep(Duration::from_millis(1)).await;
            Ok(self.0.has(&call.key).then(|| json!({"step": call.step, "found": true})))
        }
        .boxed()
    }
}

pub fn handlers(world: &Arc<World>) -> Handlers {
    Handlers::new().with("do", 1, Arc::new(Do(Arc::clone(world))))
}

pub fn call(input: Value) -> Call {
    Call::new("do", 1, input).retry(Retry { attempts_max: 3, backoff_first_ms: 10, backoff_max_ms: 100 })
}

pub fn step(name: &str, mode: Mode, input: Value) -> StepDef {
    StepDef::call(name, mode, call(input))
}

/// One life of a process.
pub struct Life {
    pub engine: Engine,
    pub tasks: Tasks,
}

pub fn limits() -> Limits {
    Limits::default()
}

pub fn live(
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    handlers: Handlers,
    holder: &str,
    limits: Limits,
) -> Life {
    let now = Duration::from_millis(1);
    let budgets = Budgets { intake: now, drain: Duration::from_secs(10), flush: now, close: now };
    let tasks = Tasks::new(tasks::Limits { budgets, ..tasks::Limits::default() });
    let engine = Engine::new(Options {
        state,
        clock,
        tasks: tasks.clone(),
        handlers,
        limits,
        holder: holder.to_owned(),
    });
    let running = engine.clone();
    tasks
        .spawn(Engine::KIND, "engine", move |shutdown| {
            let engine = running.clone();
            async move { engine.run(shutdown).await }
        })
        .unwrap();
    Life { engine, tasks }
}

impl Life {
    /// A clean stop.
    pub async fn stop(self) {
        let drained = self.tasks.drain().await;
        assert!(drained.is_clean(), "{drained:?}");
    }
}

/// A world, a state in memory and one engine.
pub struct Setup {
    pub world: Arc<World>,
    pub clock: Arc<TestClock>,
    pub state: Arc<dyn State>,
}

impl Setup {
    pub fn new() -> Self {
        let clock = TestClock::new();
        let state = Arc::new(MemoryState::new(clock.clone()));
        Self { world: World::new(), clock, state }
    }
    pub fn live(&self) -> Life {
        self.live_with(limits())
    }
    pub fn live_with(&self, limits: Limits) -> Life {
        live(self.state.clone(), self.clock.clone(), handlers(&self.world), "control", limits)
    }
    pub fn live_on(&self, state: Arc<dyn State>) -> Life {
        live(state, self.clock.clone(), handlers(&self.world), "control", limits())
    }
}

pub fn ctx() -> Ctx {
    Ctx { budget: Duration::from_secs(60), ..Ctx::system("test", Scope::default()) }
}
