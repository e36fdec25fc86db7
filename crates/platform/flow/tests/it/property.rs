//! Random graphs, failures and crashes: every flow ends, and each mode keeps its promise.

use std::time::Duration;

use flow::{Definition, FlowState, Mode, Phase, Start, StepDef};
use proptest::prelude::*;
use serde_json::json;

use crate::{
    basics::definition,
    crash::{key, to_the_end},
    cut::{At, Cut},
    world::{Setup, call, ctx, step},
};

#[derive(Debug, Clone)]
struct Plan {
    steps: Vec<Step>,
    /// Commits after which a life ends.
    crashes: Vec<(i64, bool)>,
    /// Cancel after so many milliseconds.
    cancel_ms: Option<u64>,
}

#[derive(Debug, Clone)]
struct Step {
    mode: u8,
    /// Bits: which of the steps before it comes after.
    after: u16,
    fail_first: u32,
    fatal: bool,
    work_ms: u64,
    undo: Option<u32>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one =
        (0..3u8, any::<u16>(), 0..4u32, prop::bool::weighted(0.05), 1..20u64, prop::option::of(0..4u32));
    let one = one.prop_map(|(mode, after, fail_first, fatal, work_ms, undo)| Step {
        mode,
        after,
        // mostly no failure
        fail_first: if after % 3 == 0 { fail_first } else { 0 },
        fatal,
        work_ms,
        undo,
    });
    prop::collection::vec(one, 1..9)
}

fn plans() -> impl Strategy<Value = Plan> {
    let crashes = prop::collection::vec((1..12i64, any::<bool>()), 0..5);
    let cancel = prop::option::weighted(0.2, 1..60u64);
    (steps(), crashes, cancel).prop_map(|(steps, crashes, cancel_ms)| Plan { steps, crashes, cancel_ms })
}

fn build(steps: &[Step]) -> Definition {
    let build_one = |(nth, of): (usize, &Step)| -> StepDef {
        let mode = [Mode::Idempotent, Mode::CheckFirst, Mode::OnceThenAsk][of.mode as usize];
        let after: Vec<String> = (0..nth)
            .filter(|before| of.after & (1 << before) != 0)
            .map(|before| format!("s{before}"))
            .collect();
        let input = json!({
            "fail_first": of.fail_first, "fatal_first": if of.fatal { 99 } else { 0 },
            "work_ms": of.work_ms, "after": after,
        });
        let step = step(&format!("s{nth}"), mode, input).after(after);
        match of.undo {
            // three failures exhaust the attempts
            Some(fail_first) => step.compensate(call(json!({"fail_first": fail_first}))),
            None => step,
        }
    };
    definition(steps.iter().enumerate().map(build_one).collect())
}

async fn check(plan: Plan) {
    let setup = Setup::new();
    let definition = build(&plan.steps);
    for (nth, after) in &plan.crashes {
        let cut = Cut::new(setup.state.clone(), *nth, if *after { At::After } else { At::Before });
        let life = setup.live_on(cut.clone());
        if let Ok(started) = life.engine.start(&ctx(), Start::new(definition.clone(), "k")).await {
            let settled = async { life.engine.wait(&ctx(), &started.id).await };
            let dead = async {
                while !cut.is_dead() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! { _ = settled => {}, () = dead => {} }
        }
        cut.kill();
        life.tasks.drain().await;
    }
    let life = setup.live();
    if let Some(cancel_ms) = plan.cancel_ms {
        let started = life.engine.start(&ctx(), Start::new(definition.clone(), "k")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(cancel_ms)).await;
        let _ = life.engine.cancel(&ctx(), &started.id, "test").await;
    }
    let ended =
        tokio::time::timeout(Duration::from_secs(3_600), to_the_end(&setup, &life, &definition)).await;
    let status = ended.expect("every flow settles");
    let effects = setup.world.get();
    assert_eq!(effects.overlap_max.max(1), 1, "a step ran twice at once");
    for (of, step) in plan.steps.iter().zip(&status.step) {
        let key = key(&status.summary.id, &step.name);
        let times = effects.effects.get(&key).copied().unwrap_or(0);
        if of.mode > 0 {
            assert!(times <= 1, "{} ran {times} times: {status:#?}", step.name);
        }
        match status.summary.state {
            FlowState::Done => assert!(times >= 1 && step.phase == Phase::Done, "{status:#?}"),
            FlowState::Compensated => {
                let undone = effects.effects.contains_key(&format!("{key}/undo"));
                assert!(times == 0 || of.undo.is_none() || undone, "{} stays: {status:#?}", step.name);
            }
            FlowState::Parked => {
                let asks = status.step.iter().any(|step| step.phase == Phase::UndoAsking);
                assert!(asks, "parked without a question: {status:#?}");
            }
            other => panic!("{other:?} is no end: {status:#?}"),
        }
    }
    life.stop().await;
}

/// Cases per run; `STEAD_SOAK` multiplies them.
fn cases() -> u32 {
    let soak = std::env::var("STEAD_SOAK").ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
    (150.0 * soak).max(1.0) as u32
}

#[test]
fn every_flow_ends_and_every_mode_keeps_its_promise() {
    let config = ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&plans(), |plan| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(check(plan));
        Ok(())
    });
    result.unwrap();
}
