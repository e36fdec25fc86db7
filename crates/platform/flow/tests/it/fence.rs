//! Two engines on one state.

use std::time::Duration;

use flow::{FlowState, Mode, Start, StepDef};
use serde_json::json;

use crate::{
    basics::definition,
    cut::Cut,
    world::{Setup, ctx, handlers, limits, live, step},
};

fn chain(length: usize) -> Vec<StepDef> {
    let one = |nth: usize| {
        let after = nth.checked_sub(1).map(|before| format!("s{before}"));
        step(&format!("s{nth}"), Mode::Idempotent, json!({"work_ms": 1_000})).after(after)
    };
    (0..length).map(one).collect()
}

#[tokio::test(start_paused = true)]
async fn the_second_takes_over_when_the_first_dies_and_never_before() {
    let setup = Setup::new();
    let cut = Cut::never(setup.state.clone());
    let first = live(cut.clone(), setup.clock.clone(), handlers(&setup.world), "one", limits());
    first.engine.ready(&ctx()).await.unwrap();
    let second = live(setup.state.clone(), setup.clock.clone(), handlers(&setup.world), "two", limits());
    let started = first.engine.start(&ctx(), Start::new(definition(chain(60)), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let impatient = base::Ctx { budget: Duration::from_millis(10), ..ctx() };
    assert!(second.engine.ready(&impatient).await.is_err(), "the first renews its lease");
    cut.kill(); // the first can neither write nor renew
    let status = second.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    let effects = setup.world.get();
    assert_eq!(effects.overlap_max, 1, "never both at once");
    assert!(effects.fences.is_sorted(), "once the second has begun, the first does nothing more");
    assert_eq!((effects.fences.first(), effects.fences.last()), (Some(&1), Some(&2)));
    assert_eq!(effects.effects.len(), 60);
    first.tasks.drain().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_away_stops_the_first_at_its_next_write() {
    let setup = Setup::new();
    let first = live(setup.state.clone(), setup.clock.clone(), handlers(&setup.world), "one", limits());
    let started = first.engine.start(&ctx(), Start::new(definition(chain(20)), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    setup.clock.jump_ms(3_600_000); // the lease lapses by the wall clock
    let second = live(setup.state.clone(), setup.clock.clone(), handlers(&setup.world), "two", limits());
    second.engine.ready(&ctx()).await.unwrap();
    let status = second.engine.wait(&ctx(), &started.id).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    // Only the step that ran at that moment may have run on both.
    let effects = setup.world.get();
    assert!(effects.calls.values().filter(|calls| **calls > 1).count() <= 1, "{:?}", effects.calls);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_hands_over_at_once() {
    let setup = Setup::new();
    let first = live(setup.state.clone(), setup.clock.clone(), handlers(&setup.world), "one", limits());
    first.engine.ready(&ctx()).await.unwrap();
    let second = live(setup.state.clone(), setup.clock.clone(), handlers(&setup.world), "two", limits());
    first.stop().await;
    let soon = base::Ctx { budget: Duration::from_secs(2), ..ctx() };
    second.engine.ready(&soon).await.unwrap();
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_lease_nothing_is_written() {
    let setup = Setup::new();
    let first = live(setup.state.clone(), setup.clock.clone(), handlers(&setup.world), "one", limits());
    let started = first.engine.start(&ctx(), Start::new(definition(chain(20)), "k")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5_500)).await; // just renewed: it notices by its writes only
    setup.clock.jump_ms(3_600_000);
    let (tenant, hour) = (ctx().scope.tenant, Duration::from_secs(3_600));
    setup.state.lease(tenant, "flow-engine".into(), "thief".into(), hour).await.unwrap();
    let before = first.engine.status(&ctx(), &started.id).await.unwrap();
    let effects = setup.world.get().effects.len();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(first.engine.status(&ctx(), &started.id).await.unwrap(), before);
    assert!(setup.world.get().effects.len() <= effects + 1, "at most the step that ran at that moment");
    let hasty = base::Ctx { budget: Duration::from_millis(10), ..ctx() };
    let refused = first.engine.start(&hasty, Start::new(definition(vec![]), "other")).await;
    assert!(matches!(refused, Err(flow::Error::NotLeading)), "{refused:?}");
    first.stop().await;
}
