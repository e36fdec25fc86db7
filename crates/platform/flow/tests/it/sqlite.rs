//! On SQLite: what a step costs, and life after a kill.

use std::{path::Path, sync::Arc, time::Duration};

use base::time::SystemClock;
use flow::{FlowState, Handlers, Limits, Mode, Start, StepDef, bench::Bench};
use serde_json::json;
use state::{SqliteState, sqlite};

use crate::{
    basics::definition,
    cut::Cut,
    world::{Life, World, ctx, handlers, live, step},
};

fn open(path: &Path) -> SqliteState {
    SqliteState::open(path, &sqlite::Options::default(), SystemClock::shared()).unwrap()
}

fn live_on(state: Arc<dyn state::State>, handlers: Handlers) -> Life {
    live(
        state,
        SystemClock::shared(),
        handlers,
        "control",
        Limits { parallel_steps_max: 128, ..Limits::default() },
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_costs_one_fsync_alone_and_a_tenth_in_company() {
    let folder = tempfile::tempdir().unwrap();
    let state = open(&folder.path().join("state.db"));
    let bench = Bench::default();
    let life = live_on(Arc::new(state.clone()), bench.handlers());
    let fsyncs = || state.stats().transactions;
    let alone = bench.run(&life.engine, 1, 100, fsyncs).await.unwrap();
    let company = bench.run(&life.engine, 100, 50, fsyncs).await.unwrap();
    println!("{alone:#?}\n{company:#?}");
    // Renewing the lease costs one now and then.
    assert!(alone.fsyncs_per_step <= 1.03, "{alone:?}");
    assert!(company.fsyncs_per_step <= 0.1, "{company:?}");
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_is_resumed_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let world = World::new();
    let chain: Vec<StepDef> = (0..40)
        .map(|nth: usize| {
            let after = nth.checked_sub(1).map(|before| format!("s{before}"));
            step(&format!("s{nth}"), Mode::CheckFirst, json!({"work_ms": 4})).after(after)
        })
        .collect();
    let mut started = None;
    for life in 0..4 {
        let cut = Cut::never(Arc::new(open(&path)));
        let life_now = live_on(cut.clone(), handlers(&world));
        let flow = life_now.engine.start(&ctx(), Start::new(definition(chain.clone()), "k")).await.unwrap();
        assert_eq!(flow.existed, life > 0);
        let enough = 1 + 10 * life;
        tokio::time::timeout(Duration::from_secs(20), async {
            while world.get().effects.len() < enough {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap();
        cut.kill();
        life_now.tasks.drain().await;
        started = Some(flow.id);
    }
    let life = live_on(Arc::new(open(&path)), handlers(&world));
    let status = life.engine.wait(&ctx(), &started.unwrap()).await.unwrap();
    assert_eq!(status.summary.state, FlowState::Done);
    let effects = world.get();
    assert_eq!((effects.effects.len(), effects.overlap_max), (40, 1));
    assert!(effects.effects.values().all(|times| *times == 1), "{:?}", effects.effects);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_open_flows_are_taken_up_soon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let world = World::new();
    let life = live_on(Arc::new(open(&path)), handlers(&world));
    let waits = || {
        let wait = StepDef::timer("wait", flow::Until::AfterMs(3_600_000));
        definition(vec![step("a", Mode::Idempotent, json!({})), wait.after(["a"])])
    };
    let (now, ctx) = (ctx(), &ctx());
    let start = async |nth: usize| life.engine.start(ctx, Start::new(waits(), format!("k{nth}"))).await;
    let began_at = tokio::time::Instant::now();
    let started = futures_util::future::try_join_all((0..1_000).map(start)).await.unwrap();
    println!("1,000 starts took {:?}", began_at.elapsed());
    let flows = |life: &Life| life.tasks.list().iter().filter(|task| task.kind == "flow").count();
    assert_eq!(flows(&life), 1_000);
    tokio::time::timeout(Duration::from_secs(60), async {
        while world.get().effects.len() < 1_000
            || life.tasks.list().iter().any(|task| task.kind == "flow-step")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    life.stop().await;
    let life = live_on(Arc::new(open(&path)), handlers(&world));
    let began_at = tokio::time::Instant::now();
    life.engine.ready(&now).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while flows(&life) < 1_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // all of them take answers
        for started in &started {
            life.engine.cancel(&now, &started.id, "enough").await.unwrap();
        }
    })
    .await
    .unwrap();
    println!("taking up 1,000 and cancelling each took {:?}", began_at.elapsed());
    life.stop().await;
}
