//! Order, retries, timeouts, compensation, cancellation, timers, restart.

use std::time::Duration;

use base::Timestamp;
use flow::{Call, Definition, Error, FlowState, Mode, Phase, Start, Status, StepDef, Until, Update, What};
use serde_json::{Value, json};
use state::{Commit, EntryQuery, Key, Precondition, Put};
use tokio::time::Instant;

use crate::world::{START_MS, Setup, call, ctx, step};

pub fn definition(steps: Vec<StepDef>) -> Definition {
    Definition { name: "test".into(), steps }
}

pub fn phases(status: &Status) -> Vec<(&str, Phase)> {
    status.step.iter().map(|step| (step.name.as_str(), step.phase)).collect()
}

fn undo() -> Call {
    call(Value::Null)
}

#[tokio::test(start_paused = true)]
async fn steps_run_in_order_and_side_by_side() {
    let setup = Setup::new();
    let life = setup.live();
    let steps = vec![
        step("a", Mode::Idempotent, json!({"work_ms": 100})),
        step("b", Mode::CheckFirst, json!({"work_ms": 100, "after": ["a"]})).after(["a"]),
        step("c", Mode::OnceThenAsk, json!({"work_ms": 100, "after": ["a"]})).after(["a"]),
        step("d", Mode::Idempotent, json!({"after": ["a", "b", "c"]})).after(["b", "c"]),
    ];
    let began_at = Instant::now();
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    assert!(began_at.elapsed() < Duration::from_millis(250), "b and c overlap: {:?}", began_at.elapsed());
    let effects = setup.world.get();
    assert_eq!(effects.order.first().unwrap(), &format!("{}/a", started.id));
    assert_eq!(effects.order.last().unwrap(), &format!("{}/d", started.id));
    assert!(effects.effects.values().all(|count| *count == 1));
    assert_eq!(status.step("d").unwrap().output.as_ref().unwrap()["step"], "d");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_flow_is_done_at_once() {
    let setup = Setup::new();
    let life = setup.live();
    let started = life.engine.start(&ctx(), Start::new(definition(vec![]), "k")).await.unwrap();
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    assert!(matches!(life.engine.cancel(&ctx(), &started.id, "late").await, Err(Error::Ended { .. })));
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_then_undone_backwards() {
    let setup = Setup::new();
    let life = setup.live();
    let steps = vec![
        step("a", Mode::Idempotent, json!({"fail_first": 2})).compensate(undo()),
        step("b", Mode::Idempotent, Value::Null).after(["a"]).compensate(call(json!({"fail_first": 1}))),
        step("c", Mode::Idempotent, json!({"panic_first": 9})).after(["b"]),
        step("d", Mode::Idempotent, Value::Null).after(["c"]).compensate(undo()),
    ];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Compensated);
    let failure = status.summary.failure.clone().unwrap();
    assert_eq!((failure.step.as_deref(), failure.message.as_str()), (Some("c"), "panicked: boom"));
    let expected = [("a", Phase::Undone), ("b", Phase::Undone), ("c", Phase::Failed), ("d", Phase::Pending)];
    assert_eq!(phases(&status), expected);
    let key = |step: &str| format!("{}/{step}", started.id);
    assert_eq!(setup.world.calls(&key("a")), 3);
    assert_eq!(setup.world.calls(&key("c")), 3);
    assert_eq!(setup.world.get().order, [key("a"), key("b"), key("b/undo"), key("a/undo")]);
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_failure_whose_effect_is_undone() {
    let setup = Setup::new();
    let life = setup.live();
    let slow = call(json!({"work_ms": 600_000})).timeout_ms(50);
    let steps = vec![StepDef::call("slow", Mode::Idempotent, slow).compensate(undo())];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(phases(&status), [("slow", Phase::Undone)]);
    assert_eq!(status.summary.failure.unwrap().message, "timed out after 50 ms");
    assert_eq!(setup.world.calls(&format!("{}/slow", started.id)), 3);
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_stops_what_runs_and_undoes_what_was_done() {
    for polite in [0, 1] {
        let setup = Setup::new();
        let life = setup.live();
        let steps = vec![
            step("a", Mode::Idempotent, Value::Null).compensate(undo()),
            step("b", Mode::Idempotent, json!({"work_ms": 50_000, "polite": polite}))
                .after(["a"])
                .compensate(undo()),
            step("c", Mode::Idempotent, Value::Null).after(["b"]),
            StepDef::timer("t", Until::AfterMs(1_000_000)).after(["a"]),
        ];
        let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began_at = Instant::now();
        life.engine.cancel(&ctx(), &started.id, "changed my mind").await.unwrap();
        life.engine.cancel(&ctx(), &started.id, "twice is fine").await.unwrap();
        let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
        assert_eq!(status.summary.state, FlowState::Compensated);
        assert_eq!(status.summary.cancelled_by, Some(ctx().actor));
        // an interrupted step says that it changed nothing; one that had to be dropped is undone
        let b = if polite == 1 { Phase::Dropped } else { Phase::Undone };
        let expected = [("a", Phase::Undone), ("b", b), ("c", Phase::Pending), ("t", Phase::Dropped)];
        assert_eq!(phases(&status), expected);
        let limit = if polite == 1 { 1 } else { 6 };
        assert!(began_at.elapsed() < Duration::from_secs(limit), "{:?}", began_at.elapsed());
        life.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_is_atomic_with_what_the_caller_writes_and_idempotent() {
    let setup = Setup::new();
    let life = setup.live();
    let key = Key::new(&ctx().scope, "plan", "p1");
    let extra = Commit {
        preconditions: vec![Precondition::Absent(key.clone())],
        puts: vec![Put::Put { key: key.clone(), body: json!({"n": 1}), index: vec![] }],
        ..Commit::default()
    };
    let steps = vec![step("a", Mode::Idempotent, Value::Null)];
    let start = Start::new(definition(steps.clone()), "k").with(extra.clone());
    let first = life.engine.start(&ctx(), start.clone()).await.unwrap();
    assert_eq!((first.existed, first.versions.as_slice()), (false, [1].as_slice()));
    let again = life
        .engine
        .start(&ctx(), Start::new(start.definition.clone(), "k").with(extra.clone()))
        .await
        .unwrap();
    assert_eq!((again.id.clone(), again.existed), (first.id.clone(), true));
    let refused = life.engine.start(&ctx(), Start::new(start.definition, "other").with(extra)).await;
    assert!(matches!(refused, Err(Error::State(state::Error::Conflict { .. }))), "{refused:?}");
    let reused = life.engine.start(&ctx(), Start::new(definition(vec![]), "k")).await;
    assert!(matches!(reused, Err(Error::KeyReused { .. })), "{reused:?}");
    life.engine.wait(&ctx(), &first.id).await.unwrap();
    assert_eq!(life.engine.list(&ctx(), Default::default()).await.unwrap().items.len(), 1);
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_ledger_tells_who_started_and_how_it_ended() {
    let setup = Setup::new();
    let life = setup.live();
    let steps = vec![step("a", Mode::Idempotent, Value::Null)];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    life.engine.wait(&ctx(), &started.id).await.unwrap();
    let query = EntryQuery {
        tenant: ctx().scope.tenant,
        environment: None,
        subject: Some(started.id.to_string()),
        kind_prefix: None,
        actor: None,
        correlation: None,
        from: None,
        to: None,
        after: None,
        descending: false,
        limit: 10,
    };
    let entries = setup.state.entries(query).await.unwrap().items;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.draft.kind.as_str()).collect();
    assert_eq!(kinds, ["stead.flow.start.v1", "stead.flow.done.v1"]);
    assert_eq!(entries[0].draft.actor, ctx().actor);
    assert_eq!(entries[1].draft.cause.causation.as_ref(), Some(&entries[0].draft.id));
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_can_follow_a_flow_to_its_end() {
    let setup = Setup::new();
    let life = setup.live();
    let steps = vec![
        step("a", Mode::Idempotent, json!({"fail_first": 1})),
        step("b", Mode::Idempotent, Value::Null).after(["a"]),
    ];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let mut follow = life.engine.follow(&ctx(), &started.id);
    let mut heard = Vec::new();
    while let Some(update) = follow.next().await.unwrap() {
        heard.push(match update {
            Update::Status(status) => format!("status {:?}", status.summary.state),
            Update::Progress(progress) => match progress.what {
                What::Flow(state) => format!("flow {state:?}"),
                What::Step { phase, attempt, .. } => {
                    format!("{} {phase:?} {attempt}", progress.step.unwrap())
                }
                What::Note(text) => format!("{} said {text}", progress.step.unwrap()),
            },
        });
    }
    let expected = [
        "status Running",
        "a Retrying 2",
        "a said did it",
        "a Done 2",
        "b Running 1",
        "b said did it",
        "b Done 1",
        "flow Done",
    ];
    assert_eq!(heard, expected);
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn timers_by_wall_time_follow_jumps_and_waits_do_not() {
    let setup = Setup::new();
    let life = setup.live();
    let at = Timestamp::from_millis(START_MS + 3_600_000);
    let steps = vec![
        StepDef::timer("at", Until::At(at)),
        StepDef::timer("after", Until::AfterMs(60_000)),
        StepDef::timer("past", Until::At(Timestamp::from_millis(0))),
    ];
    let began_at = Instant::now();
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    setup.clock.jump_ms(-86_400_000); // a day back: the wait still ends after a minute
    tokio::time::sleep(Duration::from_secs(50)).await;
    let phase = |status: &Status, step: &str| status.step(step).unwrap().phase;
    let status = life.engine.status(&ctx(), &started.id).await.unwrap();
    assert_eq!((phase(&status, "past"), phase(&status, "after")), (Phase::Done, Phase::Waiting));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let status = life.engine.status(&ctx(), &started.id).await.unwrap();
    assert_eq!((phase(&status, "after"), phase(&status, "at")), (Phase::Done, Phase::Waiting));
    setup.clock.jump_ms(86_400_000 + 3_600_000); // past the time
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    assert!(began_at.elapsed() < Duration::from_secs(70));
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_leaves_nothing_to_ask() {
    let setup = Setup::new();
    let life = setup.live();
    let long = |name: &str, mode| step(name, mode, json!({"work_ms": 40_000, "polite": 1}));
    let steps = vec![
        long("once", Mode::OnceThenAsk),
        long("idem", Mode::Idempotent),
        step("retry", Mode::Idempotent, json!({"fail_first": 1})),
        StepDef::timer("timer", Until::AfterMs(30_000)),
    ];
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    life.stop().await;
    assert!(setup.world.get().effects.len() == 1, "only the retried one was fast enough");
    let life = setup.live();
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done, "{status:#?}");
    assert!(setup.world.get().effects.values().all(|count| *count == 1));
    assert_eq!(setup.world.get().overlap_max, 1);
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_steps() {
    let setup = Setup::new();
    let life = setup.live();
    let mut steps: Vec<StepDef> = Vec::new();
    for nth in 0..1_000usize {
        let after: Vec<String> =
            if nth < 10 { vec![] } else { vec![format!("s{}", nth - 10), format!("s{}", nth - 7)] };
        steps.push(step(&format!("s{nth}"), Mode::Idempotent, Value::Null).after(after));
    }
    let started = life.engine.start(&ctx(), Start::new(definition(steps), "k")).await.unwrap();
    let status = life.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    assert_eq!(setup.world.get().effects.len(), 1_000);
    life.stop().await;
}
