//! Steps that wait for a person, by design or because nobody else can decide.

use std::time::Duration;

use base::{Actor, Ctx};
use flow::{About, Error, FlowState, Handlers, Mode, Phase, Start, StepDef};
use serde_json::{Value, json};

use crate::{
    basics::{definition, phases},
    cut::Cut,
    world::{Setup, call, ctx, handlers, limits, live, step},
};

fn anna() -> Ctx {
    Ctx { actor: Actor::user("anna"), ..ctx() }
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_by_a_person() {
    let setup = Setup::new();
    let life = setup.live();
    let steps = vec![
        StepDef::person("approve", "ship it?", &["yes", "no"]),
        step("ship", Mode::Idempotent, json!({"after": ["approve"]})).after(["approve"]),
    ];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let questions = life.engine.questions(&ctx()).await.unwrap();
    assert_eq!((questions.len(), questions[0].ask.question.as_str()), (1, "ship it?"));
    life.stop().await;
    let life = setup.live(); // the question survives
    life.engine.ready(&ctx()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let maybe = life.engine.answer(&anna(), &started.id, "approve", "maybe").await;
    assert!(matches!(maybe, Err(Error::NoChoice { .. })), "{maybe:?}");
    let nobody = life.engine.answer(&anna(), &started.id, "ship", "yes").await;
    assert!(matches!(nobody, Err(Error::NotAsking { .. })), "{nobody:?}");
    let nowhere = life.engine.answer(&anna(), &started.id, "what", "yes").await;
    assert!(matches!(nowhere, Err(Error::NoStep { .. })), "{nowhere:?}");
    life.engine.answer(&anna(), &started.id, "approve", "yes").await.unwrap();
    let twice = life.engine.answer(&anna(), &started.id, "approve", "no").await;
    assert!(matches!(twice, Err(Error::NotAsking { .. } | Error::Ended { .. })), "{twice:?}");
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    let output = status.step("approve").unwrap().output.clone().unwrap();
    assert_eq!((&output["choice"], &output["actor"]), (&json!("yes"), &json!("user:anna")));
    assert!(life.engine.questions(&ctx()).await.unwrap().is_empty());
    let unknown = life.engine.answer(&anna(), &base::id::FlowId::new(), "approve", "yes").await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_a_once_step_asks() {
    for (choice, effects, end) in [
        ("it-happened", 1, FlowState::Done),
        ("try-again", 2, FlowState::Done),
        ("give-up", 1, FlowState::Compensated),
    ] {
        let setup = Setup::new();
        let cut = Cut::never(setup.state.clone());
        let life = setup.live_on(cut.clone());
        let steps = vec![
            step("pay", Mode::OnceThenAsk, json!({"work_ms": 1_000})).compensate(call(Value::Null)),
            step("thank", Mode::Idempotent, Value::Null).after(["pay"]),
        ];
        let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
        let key = format!("{}/pay", started.id);
        while !setup.world.has(&key) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cut.kill();
        life.tasks.drain().await;
        let life = setup.live();
        let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
        assert_eq!(status.summary.state, FlowState::Parked);
        assert_eq!(status.step("pay").unwrap().ask.as_ref().unwrap().about, About::UnknownOutcome);
        assert_eq!(setup.world.count(&key), 1);
        life.engine.answer(&anna(), &started.id, "pay", choice).await.unwrap();
        let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
        assert_eq!((status.summary.state, setup.world.count(&key)), (end, effects), "{choice}");
        assert_eq!(status.step("pay").unwrap().answers[0].actor, Actor::user("anna"));
        assert_eq!(setup.world.has(&format!("{key}/undo")), end == FlowState::Compensated);
        life.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_handler_parks_and_keeps_the_stored_definition() {
    let setup = Setup::new();
    let life = setup.live();
    let wait = StepDef::timer("wait", flow::Until::AfterMs(100_000));
    let steps = vec![wait, step("a", Mode::Idempotent, Value::Null).after(["wait"])];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let refused =
        definition(vec![StepDef::call("x", Mode::Idempotent, flow::Call::new("do", 9, Value::Null))]);
    let refused = life.engine.start(&ctx(), Start::new(refused, "k2")).await;
    assert!(matches!(refused, Err(Error::UnknownHandler { version: 9, .. })), "{refused:?}");
    life.stop().await;
    // an upgrade that lost the handler
    let lost = live(setup.state.clone(), setup.clock.clone(), Handlers::new(), "control", limits());
    let status = lost.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Parked);
    assert_eq!(status.step("a").unwrap().ask.as_ref().unwrap().about, About::UnknownHandler);
    lost.engine.answer(&anna(), &started.id, "a", "try-again").await.unwrap();
    let status = lost.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Parked, "it still is not there");
    lost.stop().await;
    // one that brings it back
    let life = live(setup.state.clone(), setup.clock.clone(), handlers(&setup.world), "control", limits());
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Parked);
    while life.engine.answer(&anna(), &started.id, "a", "try-again").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await; // it is still being read
    }
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(phases(&status), [("wait", Phase::Done), ("a", Phase::Done)]);
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_compensation_parks_until_a_person_decides() {
    for (choice, phase) in [("try-again", Phase::Undone), ("leave", Phase::Left)] {
        let setup = Setup::new();
        let life = setup.live();
        let steps = vec![
            step("first", Mode::Idempotent, Value::Null).compensate(call(Value::Null)),
            step("a", Mode::Idempotent, Value::Null)
                .after(["first"])
                .compensate(call(json!({"fatal_first": 1}))),
            step("b", Mode::Idempotent, json!({"fatal_first": 1})).after(["a"]),
        ];
        let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
        let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
        assert_eq!(status.summary.state, FlowState::Parked);
        assert_eq!(phases(&status), [("first", Phase::Done), ("a", Phase::UndoAsking), ("b", Phase::Failed)]);
        assert_eq!(status.step("a").unwrap().ask.as_ref().unwrap().about, About::UndoFailed);
        life.engine.answer(&anna(), &started.id, "a", choice).await.unwrap();
        let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
        assert_eq!(status.summary.state, FlowState::Compensated);
        assert_eq!(phases(&status), [("first", Phase::Undone), ("a", phase), ("b", Phase::Failed)]);
        life.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_kills_the_process_is_found_out() {
    let setup = Setup::new();
    let steps = vec![step("bomb", Mode::Idempotent, json!({"work_ms": 10_000}))];
    let mut flow = None;
    for _ in 0..30 {
        let cut = Cut::never(setup.state.clone());
        let life = setup.live_on(cut.clone());
        let started = life.engine.start(&ctx(), Start::new(definition(steps.clone()), "k")).await.unwrap();
        flow = Some(started.id);
        tokio::time::sleep(Duration::from_millis(100)).await;
        cut.kill();
        life.tasks.drain().await;
    }
    let life = setup.live();
    let status = life.engine.wait(&ctx(), &flow.unwrap()).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Parked);
    assert_eq!(status.step("bomb").unwrap().ask.as_ref().unwrap().about, About::CrashLoop);
    life.stop().await;
}
