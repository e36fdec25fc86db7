//! Planned times: each once, whatever the clock does.

use std::time::Duration;

use flow::{Error, Missed, Mode, Overlap, Schedule, StepDef, When};
use serde_json::json;

use crate::{
    basics::definition,
    cut::{At, Cut},
    world::{Setup, ctx, step},
};

fn every_minute(work_ms: u64) -> Schedule {
    Schedule {
        name: "tick".into(),
        when: When::EveryMs(60_000),
        missed: Missed::Latest,
        overlap: Overlap::Skip,
        enabled: true,
        definition: definition(vec![step("a", Mode::Idempotent, json!({"work_ms": work_ms}))]),
    }
}

async fn minutes(count: u64) {
    tokio::time::sleep(Duration::from_secs(60 * count)).await;
}

fn runs(setup: &Setup) -> usize {
    setup.world.get().effects.len()
}

#[tokio::test(start_paused = true)]
async fn planned_times_start_once_across_restarts_and_jumps() {
    let setup = Setup::new();
    let life = setup.live();
    life.engine.put_schedule(&ctx(), every_minute(10)).await.unwrap();
    minutes(3).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(runs(&setup), 3);
    life.stop().await;
    minutes(10).await; // nobody there: the latest is made up for
    let life = setup.live();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(runs(&setup), 4);
    setup.clock.jump_ms(-5 * 60_000); // times that ran come again
    minutes(4).await;
    assert_eq!(runs(&setup), 4 + 4, "those that were left out before run now, none of those that ran");
    setup.clock.jump_ms(3_600_000);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(runs(&setup), 4 + 4 + 1, "an hour in one jump is one run");
    let status = &life.engine.schedules(&ctx()).await.unwrap()[0];
    assert!(status.planned_at.is_some() && status.last_flow.is_some());
    life.engine.remove_schedule(&ctx(), "tick").await.unwrap();
    let gone = life.engine.remove_schedule(&ctx(), "tick").await;
    assert!(matches!(gone, Err(Error::NoSchedule { .. })));
    minutes(5).await;
    assert_eq!(runs(&setup), 9);
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_lasts_keeps_the_next_away_or_not() {
    for (overlap, expected) in [(Overlap::Skip, 2), (Overlap::Allow, 5)] {
        let setup = Setup::new();
        let life = setup.live();
        let mut schedule = every_minute(150_000);
        schedule.overlap = overlap;
        schedule.definition.steps[0] = StepDef::call(
            "a",
            Mode::Idempotent,
            crate::world::call(json!({"work_ms": 150_000})).timeout_ms(1_000_000),
        );
        life.engine.put_schedule(&ctx(), schedule).await.unwrap();
        minutes(5).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(setup.world.get().calls.len(), expected, "{overlap:?}");
        minutes(10).await;
        life.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_disabled_or_wrong_schedule_starts_nothing() {
    let setup = Setup::new();
    let life = setup.live();
    let mut schedule = every_minute(10);
    for when in [
        When::EveryMs(10),
        When::Cron { expression: "* * *".into(), zone: "UTC".into() },
        When::Cron { expression: "* * * * *".into(), zone: "Mars/Olympus".into() },
    ] {
        schedule.when = when;
        let wrong = life.engine.put_schedule(&ctx(), schedule.clone()).await;
        assert!(matches!(wrong, Err(Error::Schedule { .. })), "{wrong:?}");
    }
    schedule.when = When::Cron { expression: "*/2 * * * *".into(), zone: "Europe/Berlin".into() };
    life.engine.put_schedule(&ctx(), schedule.clone()).await.unwrap();
    minutes(10).await;
    assert_eq!(runs(&setup), 5);
    schedule.enabled = false;
    life.engine.put_schedule(&ctx(), schedule.clone()).await.unwrap();
    minutes(10).await;
    assert_eq!(runs(&setup), 5);
    schedule.enabled = true;
    life.engine.put_schedule(&ctx(), schedule).await.unwrap();
    minutes(2).await;
    assert_eq!(runs(&setup), 6, "the time it was off is not made up for");
    life.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_commit_starts_no_planned_time_twice() {
    for at in [At::Before, At::After] {
        for nth in 1..12 {
            let setup = Setup::new();
            let cut = Cut::new(setup.state.clone(), nth, at);
            let life = setup.live_on(cut.clone());
            let _ = life.engine.put_schedule(&ctx(), every_minute(10)).await;
            minutes(5).await;
            cut.kill();
            life.tasks.drain().await;
            let life = setup.live();
            let _ = life.engine.put_schedule(&ctx(), every_minute(10)).await;
            minutes(5).await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            let effects = setup.world.get().effects;
            let flows = life.engine.list(&ctx(), Default::default()).await.unwrap().items;
            let keys: std::collections::BTreeSet<_> = flows.iter().map(|flow| flow.started_at).collect();
            assert_eq!(keys.len(), flows.len());
            assert!((5..=11).contains(&effects.len()), "{at:?} {nth}: {}", effects.len());
            assert!(flows.iter().all(|flow| flow.state.is_final()));
            life.stop().await;
        }
    }
}
