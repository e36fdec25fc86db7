//! A long run in simulated time: two engines, kills, clean stops, a full disk, a clock that goes back,
//! cancellations. A seed replays any failure; `STEAD_SOAK` multiplies the seeds.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base::id::FlowId;
use flow::{About, Definition, Error, FlowState, Mode, Phase, Start, Status, StepDef, Until};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    basics::definition,
    crash::key,
    cut::Cut,
    world::{Life, Setup, call, ctx, handlers, limits, live, step},
};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn flow(random: &mut Random) -> Definition {
    let count = 1 + random.below(12);
    let mut steps: Vec<StepDef> = Vec::new();
    for nth in 0..count {
        let after: Vec<String> =
            (0..nth).filter(|_| random.chance(40)).map(|before| format!("s{before}")).collect();
        let name = format!("s{nth}");
        if random.chance(10) {
            steps.push(StepDef::timer(name, Until::AfterMs(random.below(20_000))).after(after));
            continue;
        }
        let mode = [Mode::Idempotent, Mode::CheckFirst, Mode::OnceThenAsk][random.below(3) as usize];
        let input = json!({
            "work_ms": 1 + random.below(4_000),
            "fail_first": if random.chance(15) { random.below(4) } else { 0 },
            "fatal_first": if random.chance(3) { 99 } else { 0 },
            "polite": random.below(2),
            "after": [],
        });
        let step = step(&name, mode, input).after(after);
        let undo = || call(json!({"work_ms": 500}));
        steps.push(if random.chance(60) { step.compensate(undo()) } else { step });
    }
    definition(steps)
}

/// One of the two places where an engine may live.
struct Place {
    holder: &'static str,
    cut: Arc<Cut>,
    life: Option<Life>,
}

impl Place {
    fn start(setup: &Setup, holder: &'static str) -> Self {
        let cut = Cut::never(setup.state.clone());
        let life = live(cut.clone(), setup.clock.clone(), handlers(&setup.world), holder, limits());
        Self { holder, cut, life: Some(life) }
    }
    async fn end(&mut self, kill: bool) {
        if kill {
            self.cut.kill();
        }
        self.cut.full.store(false, Ordering::SeqCst);
        if let Some(life) = self.life.take() {
            life.tasks.drain().await;
        }
    }
}

async fn disturb(setup: &Setup, places: &mut [Place], flows: &[FlowId], random: &mut Random) {
    let nth = random.below(places.len() as u64) as usize;
    match random.below(10) {
        0..=2 => {
            let kill = random.chance(70);
            places[nth].end(kill).await;
            sleep(Duration::from_millis(random.below(30_000))).await;
            places[nth] = Place::start(setup, places[nth].holder);
        }
        3 => {
            places[nth].cut.full.store(true, Ordering::SeqCst);
            sleep(Duration::from_millis(random.below(40_000))).await;
            places[nth].cut.full.store(false, Ordering::SeqCst);
        }
        4 => setup.clock.jump_ms(-i64::try_from(random.below(3_600_000)).unwrap()),
        5 if random.chance(30) => {
            let flow = &flows[random.below(flows.len() as u64) as usize];
            if let Some(life) = &places[nth].life {
                let hasty = base::Ctx { budget: Duration::from_millis(100), ..ctx() };
                let _ = timeout(Duration::from_secs(1), life.engine.cancel(&hasty, flow, "test")).await;
            }
        }
        _ => sleep(Duration::from_millis(random.below(3_000))).await,
    }
}

/// Waits for one flow, answering what crashes left open truthfully.
async fn settle(setup: &Setup, places: &[Place], flow: &FlowId) -> Status {
    loop {
        let life = places[0].life.as_ref().unwrap();
        let status = life.engine.wait(&ctx(), flow).await.unwrap();
        if status.summary.state.is_final() {
            return status;
        }
        let open = status.step.iter().find(|step| step.ask.is_some()).expect("parked with a question");
        let choice = match open.ask.as_ref().unwrap().about {
            About::UnknownOutcome if setup.world.has(&key(flow, &open.name)) => "it-happened",
            About::UnknownOutcome | About::UndoFailed | About::CrashLoop => "try-again",
            other => panic!("nobody should ask about {other:?}"),
        };
        for place in places {
            let engine = &place.life.as_ref().unwrap().engine;
            let hasty = base::Ctx { budget: Duration::from_millis(10), ..ctx() };
            match engine.answer(&hasty, flow, &open.name, choice).await {
                Ok(()) => break,
                Err(Error::NotLeading | Error::NotAsking { .. } | Error::Ended { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn simulate(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let setup = Setup::new();
    let mut places = vec![Place::start(&setup, "one"), Place::start(&setup, "two")];
    let definitions: Vec<Definition> = (0..3 + random.below(8)).map(|_| flow(&mut random)).collect();
    let mut flows = Vec::new();
    for (nth, definition) in definitions.iter().enumerate() {
        let start = Start::new(definition.clone(), format!("k{nth}"));
        let started = loop {
            let at = random.below(2) as usize;
            let Some(life) = &places[at].life else { continue };
            let hasty = base::Ctx { budget: Duration::from_millis(500), ..ctx() };
            match life.engine.start(&hasty, start.clone()).await {
                Ok(started) => break started,
                Err(Error::NotLeading) => {}
                Err(error) => panic!("seed {seed}: {error:?}"),
            }
        };
        flows.push(started.id);
    }
    for _ in 0..25 {
        disturb(&setup, &mut places, &flows, &mut random).await;
    }
    for (flow, definition) in flows.iter().zip(&definitions) {
        let ended = timeout(Duration::from_secs(24 * 3_600), settle(&setup, &places, flow)).await;
        let status = ended.unwrap_or_else(|_| panic!("seed {seed}: {flow} does not end"));
        check(&setup, definition, &status, seed);
    }
    let effects = setup.world.get();
    assert_eq!(effects.overlap_max.max(1), 1, "seed {seed}: a step ran twice at once");
    for place in &mut places {
        place.end(false).await;
    }
}

fn check(setup: &Setup, definition: &Definition, status: &Status, seed: u64) {
    for (of, step) in definition.steps.iter().zip(&status.step) {
        let flow::Action::Call { mode, .. } = &of.action else { continue };
        let key = key(&status.summary.id, &step.name);
        let times = setup.world.count(&key);
        let told = format!("seed {seed}, step {} ran {times} times: {status:#?}", step.name);
        assert!(*mode == Mode::Idempotent || times <= 1, "{told}");
        match status.summary.state {
            FlowState::Done => assert!(times >= 1 && step.phase == Phase::Done, "{told}"),
            _ => {
                let undone = setup.world.has(&format!("{key}/undo"));
                assert!(times == 0 || of.compensate.is_none() || undone, "{told}");
            }
        }
    }
}

#[test]
fn a_long_run_with_everything_going_wrong() {
    let soak = std::env::var("STEAD_SOAK").ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
    for seed in 1..=(30.0 * soak).max(1.0) as u64 {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(simulate(seed));
    }
}
