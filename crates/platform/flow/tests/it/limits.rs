//! Every limit is reached once.

use std::time::Duration;

use base::Ctx;
use flow::{Error, FlowState, Limits, Mode, Phase, Schedule, Start, StepDef, Until, When};
use serde_json::{Value, json};

use crate::{
    basics::{definition, phases},
    world::{Setup, ctx, limits, step},
};

#[tokio::test(start_paused = true)]
async fn flows_steps_and_bytes_are_bounded() {
    let setup = Setup::new();
    let small = Limits {
        flows_running_max: 2,
        steps_per_flow_max: 3,
        definition_bytes_max: 2_000,
        output_bytes_max: 100,
        schedules_max: 1,
        ..limits()
    };
    let life = setup.live_with(small);
    let idle = || definition(vec![StepDef::timer("t", Until::AfterMs(10_000))]);
    let limit = |error: Error| match error {
        Error::Limit { what, limit } => format!("{what} {limit}"),
        other => format!("{other:?}"),
    };
    for key in ["a", "b"] {
        life.engine.start(&ctx(), Start::new(idle(), key)).await.unwrap();
    }
    let third = life.engine.start(&ctx(), Start::new(idle(), "c")).await;
    assert_eq!(limit(third.unwrap_err()), "unfinished flows 2");
    tokio::time::sleep(Duration::from_secs(12)).await;
    let many = (0..4).map(|nth| step(&nth.to_string(), Mode::Idempotent, Value::Null)).collect();
    let many = life.engine.start(&ctx(), Start::new(definition(many), "d")).await;
    assert_eq!(limit(many.unwrap_err()), "steps of one flow 3");
    let wide = vec![step("w", Mode::Idempotent, json!("x".repeat(2_000)))];
    let wide = life.engine.start(&ctx(), Start::new(definition(wide), "e")).await;
    assert_eq!(limit(wide.unwrap_err()), "bytes of one flow's definition 2000");
    let loud = vec![step("l", Mode::Idempotent, json!({"output_bytes": 200}))];
    let loud = life.engine.start(&ctx(), Start::new(definition(loud), "f")).await.unwrap();
    let status = life.engine.wait(&ctx(), &loud.id).await.unwrap();
    assert_eq!(phases(&status), [("l", Phase::Failed)]);
    assert!(status.summary.failure.unwrap().message.contains("over the limit of 100"));
    let schedule = |name: &str| Schedule {
        name: name.into(),
        when: When::EveryMs(3_600_000),
        missed: Default::default(),
        overlap: Default::default(),
        enabled: true,
        definition: idle(),
    };
    life.engine.put_schedule(&ctx(), schedule("one")).await.unwrap();
    life.engine.put_schedule(&ctx(), schedule("one")).await.unwrap();
    let second = life.engine.put_schedule(&ctx(), schedule("two")).await;
    assert_eq!(limit(second.unwrap_err()), "schedules 1");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn steps_at_once_are_bounded_over_all_flows() {
    let setup = Setup::new();
    let life = setup.live_with(Limits { parallel_steps_max: 3, ..limits() });
    let mut flows = Vec::new();
    for flow in 0..4 {
        let modes = [Mode::Idempotent, Mode::CheckFirst, Mode::OnceThenAsk];
        let steps =
            (0..6).map(|nth| step(&nth.to_string(), modes[nth % 3], json!({"work_ms": 100}))).collect();
        flows.push(
            life.engine.start(&ctx(), Start::new(definition(steps), format!("k{flow}"))).await.unwrap().id,
        );
    }
    for flow in flows {
        assert_eq!(life.engine.wait(&ctx(), &flow).await.unwrap().summary.state, FlowState::Done);
    }
    assert_eq!(setup.world.get().parallel_max, 3);
    assert!(setup.world.get().effects.values().all(|count| *count == 1));
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_task_table_delays_steps_and_loses_none() {
    let setup = Setup::new();
    let life = setup.live();
    life.engine.ready(&ctx()).await.unwrap();
    let mut blockers = Vec::new();
    let hold = |shutdown: tasks::Shutdown| async move { shutdown.cancelled().await };
    while let Ok(task) = life.tasks.spawn(tasks::Kind::WORK, "blocker", hold) {
        blockers.push(task);
    }
    // leave room for the flow itself, not for its steps
    let one = blockers.pop().unwrap();
    one.stop();
    one.join().await;
    let steps = vec![step("a", Mode::Idempotent, Value::Null), step("b", Mode::OnceThenAsk, Value::Null)];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(setup.world.get().effects.is_empty());
    for task in blockers.drain(..) {
        task.stop();
    }
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done, "{status:#?}");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ended_flows_are_forgotten() {
    let setup = Setup::new();
    let life = setup.live_with(Limits { ended_kept: Duration::from_secs(2 * 3_600), ..limits() });
    let steps = vec![step("a", Mode::Idempotent, Value::Null)];
    let started = life.engine.start(&ctx(), Start::new(definition(steps.clone()), "k")).await.unwrap();
    life.engine.wait(&ctx(), &started.id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3_600 + 60)).await;
    assert!(life.engine.summary(&ctx(), &started.id).await.is_ok());
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    assert!(matches!(life.engine.summary(&ctx(), &started.id).await, Err(Error::NotFound { .. })));
    let scan = state::Scan::of(&ctx().scope, "flow-step");
    assert!(setup.state.scan(scan).await.unwrap().items.is_empty());
    let again = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    assert!(!again.existed, "its key is free again");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_the_budget_ends_the_wait() {
    let setup = Setup::new();
    let other =
        setup.state.lease(ctx().scope.tenant, "flow-engine".into(), "other".into(), Duration::from_secs(60));
    other.await.unwrap();
    let life = setup.live();
    let hasty = Ctx { budget: Duration::from_secs(1), ..ctx() };
    let refused = life.engine.start(&hasty, Start::new(definition(vec![]), "k")).await;
    assert!(matches!(refused, Err(Error::NotLeading)), "{refused:?}");
    life.engine
        .start(&Ctx { budget: Duration::from_secs(90), ..ctx() }, Start::new(definition(vec![]), "k"))
        .await
        .unwrap();
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn calls_out_are_bounded_and_the_rest_begins_later() {
    let setup = Setup::new();
    let life = setup.live_with(Limits { calls_out_max: 5, ..limits() });
    let modes = [Mode::Idempotent, Mode::OnceThenAsk];
    let steps =
        (0..30).map(|nth| step(&nth.to_string(), modes[nth % 2], json!({"work_ms": 1_500}))).collect();
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let calls = life.tasks.list().iter().filter(|task| task.kind == "flow-step").count();
    assert_eq!(calls, 5);
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    assert!(setup.world.get().effects.values().all(|count| *count == 1));
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_one_flow_are_bounded() {
    const REQUESTS_MAX: usize = 64;
    let setup = Setup::new();
    let life = setup.live();
    let timer = definition(vec![StepDef::timer("t", Until::AfterMs(3_600_000))]);
    let flow = life.engine.start(&ctx(), Start::new(timer, "k")).await.unwrap().id;
    let place = ctx();
    // All are asked before the flow can look at one of them.
    let asked = (0..REQUESTS_MAX + 5).map(|_| life.engine.answer(&place, &flow, "t", "yes"));
    let answers = tokio::task::unconstrained(futures_util::future::join_all(asked)).await;
    let over = |answer: &flow::Result<()>| {
        matches!(answer, Err(Error::Limit { what: "requests to one flow", limit: 64 }))
    };
    assert_eq!(answers.iter().filter(|answer| over(answer)).count(), 5, "{answers:?}");
    // There is room again.
    let later = life.engine.answer(&place, &flow, "t", "yes").await;
    assert!(!over(&later), "{later:?}");
    life.engine.cancel(&place, &flow, "enough").await.unwrap();
    life.stop().await;
}
