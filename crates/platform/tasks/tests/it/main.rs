//! Behaviour of the supervisor, on paused time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tasks::{End, Error, Kind, Limits, Reason, Stage, TaskState, Tasks};

fn tasks() -> Tasks {
    Tasks::new(Limits::default())
}

#[tokio::test(start_paused = true)]
async fn a_failed_loop_starts_again_with_growing_waits() {
    let tasks = tasks();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&starts);
    let task = tasks.spawn(Kind::LOOP, "flaky", move |shutdown| {
        let nth = {
            let mut seen = seen.lock().unwrap();
            seen.push(tokio::time::Instant::now());
            seen.len()
        };
        async move {
            if nth < 4 {
                return Err("no luck");
            }
            shutdown.cancelled().await;
            Ok(())
        }
    });
    let task = task.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let waits: Vec<u128> =
        starts.lock().unwrap().windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits.len(), 3);
    for (wait, expected) in waits.iter().zip([100, 200, 400]) {
        assert!(wait.abs_diff(expected) <= 5, "{waits:?}");
    }
    let info = &tasks.list()[0];
    assert_eq!((info.restarts, info.state), (3, TaskState::Running));
    assert_eq!(info.last_error.as_deref(), Some("no luck"));
    task.stop();
    assert_eq!(task.join().await, End::Done);
    assert!(tasks.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    let tasks = tasks();
    let bad = |_| async {
        if true {
            panic!("boom");
        }
    };
    let task = tasks.spawn_once(Kind::WORK, "bad", bad).unwrap();
    assert_eq!(task.join().await, End::Failed("panicked: boom".into()));
    let failed = tasks.blocking::<(), _>("worse", || panic!("bang")).await;
    assert_eq!(failed, Err(Error::Panicked { name: "worse".into(), message: "bang".into() }));
    assert_eq!(tasks.blocking("sum", || 1 + 1).await, Ok(2));
    assert!(tasks.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_vital_task_takes_the_process_down() {
    let tasks = tasks();
    tasks.spawn(Kind::INTAKE, "listener", |_| async { Err::<(), _>("port in use") }).unwrap();
    let reason = tasks.shutdown_requested().await;
    assert_eq!(reason, Reason::TaskFailed { name: "listener".into(), error: "port in use".into() });
    tasks.request_shutdown("too late to count");
    assert_eq!(tasks.shutdown_requested().await, reason);
}

#[tokio::test(start_paused = true)]
async fn stages_stop_in_order() {
    let tasks = tasks();
    let order = Arc::new(Mutex::new(Vec::new()));
    for kind in [Kind::CLOSE, Kind::FLUSH, Kind::LOOP, Kind::INTAKE] {
        let order = Arc::clone(&order);
        let ended = move |shutdown: tasks::Shutdown| {
            let order = Arc::clone(&order);
            async move {
                shutdown.cancelled().await;
                tokio::time::sleep(Duration::from_millis(500)).await;
                order.lock().unwrap().push(kind.stage);
            }
        };
        tasks.spawn(kind, kind.name, ended).unwrap();
    }
    let drained = tasks.drain().await;
    assert!(drained.is_clean(), "{drained:?}");
    assert_eq!(*order.lock().unwrap(), Stage::ALL);
    assert_eq!(
        tasks.spawn(Kind::LOOP, "late", |_| async {}).map(|task| task.id()),
        Err(Error::ShuttingDown { name: "late".into() })
    );
}

#[tokio::test(start_paused = true)]
async fn what_ignores_shutdown_is_dropped_after_its_budget_and_named() {
    struct Dropped(Arc<AtomicU32>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let tasks = tasks();
    let drops = Arc::new(AtomicU32::new(0));
    for (kind, name) in [(Kind::LOOP, "deaf"), (Kind::AUXILIARY, "cheap")] {
        let guard = Dropped(Arc::clone(&drops));
        let never = |_| async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        };
        tasks.spawn_once(kind, name, never).unwrap();
    }
    tokio::task::yield_now().await;
    let drained = tasks.drain().await;
    let stage = &drained.stages[1];
    assert_eq!((stage.stage, stage.dropped.clone()), (Stage::Drain, vec!["deaf".to_owned()]));
    assert!(stage.left_behind.is_empty());
    assert!(stage.took >= Duration::from_secs(10));
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_tasks_is_bounded() {
    let tasks = Tasks::new(Limits { tasks_max: 3, ..Limits::default() });
    let wait = |shutdown: tasks::Shutdown| async move { shutdown.cancelled().await };
    let first: Vec<_> = (0..3).map(|n| tasks.spawn(Kind::WORK, format!("t{n}"), wait).unwrap()).collect();
    let over = tasks.spawn(Kind::WORK, "t3", wait).map(|task| task.id());
    assert_eq!(over, Err(Error::TooMany { name: "t3".into(), limit: 3 }));
    assert!(matches!(tasks.blocking("b", || ()).await, Err(Error::TooMany { .. })));
    for task in first {
        task.stop();
        task.join().await;
    }
    assert!(tasks.spawn(Kind::WORK, "t4", wait).is_ok());
}

#[tokio::test]
async fn blocking_work_is_waited_for_at_the_end() {
    let tasks = tasks();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let done = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&done);
    let copy = tasks.clone();
    let waiting = tasks.spawn_once(Kind::AUXILIARY, "asker", move |_| async move {
        copy.blocking("slow", move || {
            let _ = blocked.recv();
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .await
    });
    let waiting = waiting.unwrap();
    while !tasks.list().iter().any(|task| task.name == "slow") {
        tokio::task::yield_now().await;
    }
    let draining = tasks.drain();
    let release = async move {
        waiting.join().await; // its stage is over: only the blocking part is left
        release.send(()).unwrap();
    };
    let (drained, ()) = tokio::join!(draining, release);
    assert!(drained.is_clean(), "{drained:?}");
    assert_eq!(done.load(Ordering::SeqCst), 1);
}
