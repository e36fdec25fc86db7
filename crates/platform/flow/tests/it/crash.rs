//! A crash at every commit: what each mode promises holds.

use std::time::Duration;

use base::id::FlowId;
use flow::{About, Definition, FlowState, Mode, Start, Status, StepDef};
use serde_json::{Value, json};

use crate::{
    basics::definition,
    cut::{At, Cut},
    world::{Life, Setup, call, ctx, step},
};

/// Starts until it is known to be started, answers what a crash left open truthfully, and waits.
pub async fn to_the_end(setup: &Setup, life: &Life, definition: &Definition) -> Status {
    let started = life.engine.start(&ctx(), Start::new(definition.clone(), "k")).await.unwrap();
    loop {
        let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
        if status.summary.state.is_final() {
            return status;
        }
        let ask = |step: &flow::StepStatus| step.ask.as_ref().map(|ask| ask.about);
        let Some(open) = status.step.iter().find(|step| ask(step) == Some(About::UnknownOutcome)) else {
            return status;
        };
        let happened = setup.world.has(&key(&started.id, &open.name));
        let choice = if happened { "it-happened" } else { "try-again" };
        if life.engine.answer(&ctx(), &started.id, &open.name, choice).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await; // it is still being read
        }
    }
}

pub fn key(flow: &FlowId, step: &str) -> String {
    format!("{flow}/{step}")
}

/// Runs it with a crash at commit `nth`; true when there were so many commits.
async fn with_crash(definition: &Definition, nth: i64, at: At, expected: FlowState) -> bool {
    let setup = Setup::new();
    let cut = Cut::new(setup.state.clone(), nth, at);
    let life = setup.live_on(cut.clone());
    let started = life.engine.start(&ctx(), Start::new(definition.clone(), "k")).await;
    if let Ok(started) = started {
        while !cut.is_dead()
            && !life.engine.summary(&ctx(), &started.id).await.is_ok_and(|s| s.state.is_final())
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let crashed = cut.is_dead();
    cut.kill();
    life.tasks.drain().await;
    let life = setup.live();
    let status = to_the_end(&setup, &life, definition).await;
    assert_eq!(status.summary.state, expected, "crash {at:?} commit {nth}: {status:#?}");
    let effects = setup.world.get();
    assert_eq!(effects.overlap_max, 1, "a step ran twice at once");
    for step in &definition.steps {
        let flow::Action::Call { mode, .. } = &step.action else { continue };
        let key = key(&status.summary.id, &step.name);
        let times = effects.effects.get(&key).copied().unwrap_or(0);
        let done = expected == FlowState::Done;
        match mode {
            Mode::Idempotent => assert!(times >= u32::from(done) && times <= 2, "{key} {times}"),
            Mode::CheckFirst | Mode::OnceThenAsk => {
                assert!(times >= u32::from(done) && times <= 1, "{key} {times}");
            }
        }
        if !done && times > 0 && step.compensate.is_some() {
            assert!(effects.effects.contains_key(&format!("{key}/undo")), "{key} stays: {effects:?}");
        }
    }
    life.stop().await;
    crashed
}

async fn everywhere(definition: Definition, expected: FlowState) {
    for at in [At::Before, At::After] {
        let mut nth = 1;
        while with_crash(&definition, nth, at, expected).await {
            nth += 1;
        }
        assert!(nth > definition.steps.len() as i64, "there are commits to crash at");
    }
}

fn graph(fail: bool) -> Definition {
    let undo = || call(Value::Null);
    let last = if fail { json!({"fatal_first": 99}) } else { Value::Null };
    definition(vec![
        step("a", Mode::Idempotent, Value::Null).compensate(undo()),
        step("b", Mode::CheckFirst, json!({"fail_first": 1})).after(["a"]).compensate(undo()),
        step("c", Mode::OnceThenAsk, json!({"work_ms": 7})).after(["a"]).compensate(undo()),
        StepDef::timer("t", flow::Until::AfterMs(20)).after(["a"]),
        step("d", Mode::Idempotent, Value::Null)
            .after(["b", "c", "t"])
            .compensate(call(json!({"fail_first": 1}))),
        step("e", Mode::Idempotent, last).after(["d"]),
    ])
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_every_commit_resumes() {
    everywhere(graph(false), FlowState::Done).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_every_commit_on_the_way_back_undoes() {
    everywhere(graph(true), FlowState::Compensated).await;
}

#[tokio::test(start_paused = true)]
async fn each_step_is_one_commit() {
    let setup = Setup::new();
    let cut = Cut::never(setup.state.clone());
    let life = setup.live_on(cut.clone());
    life.engine.ready(&ctx()).await.unwrap();
    let before = cut.commits.load(std::sync::atomic::Ordering::SeqCst);
    let chain: Vec<StepDef> = (0..20)
        .map(|nth: usize| {
            let mode = [Mode::Idempotent, Mode::CheckFirst, Mode::OnceThenAsk][nth % 3];
            let after = nth.checked_sub(1).map(|before| format!("s{before}"));
            step(&format!("s{nth}"), mode, Value::Null).after(after)
        })
        .collect();
    let status = to_the_end(&setup, &life, &definition(chain)).await;
    assert_eq!(status.summary.state, FlowState::Done);
    let commits = cut.commits.load(std::sync::atomic::Ordering::SeqCst) - before;
    assert_eq!(commits, 21, "the start and twenty steps");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_a_crash_cut_off_is_undone_even_if_the_next_call_did_nothing() {
    let setup = Setup::new();
    let cut = Cut::never(setup.state.clone());
    let life = setup.live_on(cut.clone());
    let slow = json!({"work_ms": 4_000, "polite": 1});
    let steps = vec![
        step("slow", Mode::Idempotent, slow).compensate(call(Value::Null)),
        StepDef::person("go", "go on?", &["yes"]),
        step("fails", Mode::Idempotent, json!({"fatal_first": 9})).after(["go"]),
    ];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let slow = key(&started.id, "slow");
    while !setup.world.has(&slow) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cut.kill();
    life.tasks.drain().await;
    let life = setup.live();
    while life.engine.answer(&ctx(), &started.id, "go", "yes").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await; // it is still being read
    }
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Compensated);
    assert_eq!((setup.world.calls(&slow), setup.world.count(&slow)), (2, 1), "the second was interrupted");
    assert!(setup.world.has(&format!("{slow}/undo")), "{status:#?}");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_holds_up_no_retry() {
    let setup = Setup::new();
    let life = setup.live();
    let retry = flow::Retry { attempts_max: 3, backoff_first_ms: 10_000, backoff_max_ms: 10_000 };
    let steps = vec![
        StepDef::call("a", Mode::Idempotent, call(json!({"fail_first": 1})).retry(retry)),
        StepDef::timer("t", flow::Until::AfterMs(10_000)),
    ];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    life.stop().await;
    setup.clock.jump_ms(-86_400_000);
    let life = setup.live();
    let ctx = ctx();
    let soon = tokio::time::timeout(Duration::from_secs(15), life.engine.wait(&ctx, &started.id));
    let status = soon.await.expect("not a day later").unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    life.stop().await;
}
