//! State from outside: the suite on both back ends, and what only the file can suffer.

// Helpers outside of test functions are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod audit;
mod bench;
mod faults;
mod file;
mod groups;
mod power;

mod memory {
    use std::sync::Arc;

    use base::time::ManualClock;
    use state::{MemoryState, conformance::Fixture};

    async fn make(clock: Arc<ManualClock>) -> Fixture {
        Fixture::new(MemoryState::new(clock), ())
    }
    state::conformance!(make);
}

mod sqlite {
    use std::sync::Arc;

    use base::time::ManualClock;
    use state::{SqliteState, conformance::Fixture, sqlite::Options};

    async fn make(clock: Arc<ManualClock>) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let opened = SqliteState::open(&folder.path().join("state.db"), &Options::default(), clock).unwrap();
        Fixture::new(opened, folder)
    }
    state::conformance!(make);
}

mod faulty {
    use std::sync::Arc;

    use base::time::ManualClock;
    use serde_json::json;
    use state::{
        Error, Key, MemoryState, State,
        conformance::{Fixture, fixture_of, put, scope},
        faulty::{Fault, FaultyState},
    };

    async fn make(clock: Arc<ManualClock>) -> Fixture {
        Fixture::new(FaultyState::new(MemoryState::new(clock)), ())
    }
    state::conformance!(make);

    #[tokio::test]
    async fn it_fails_as_planned() {
        let (_, clock) = fixture_of(make).await;
        let state = FaultyState::new(MemoryState::new(clock));
        let key = |n: u64| Key::new(&scope("a", "default"), "thing", n.to_string());
        state.fail(1, Fault::Before(Error::DiskFull));
        state.fail(2, Fault::After(Error::Closed));
        state.fail_from(4, Error::Closed);
        let mut outcome = Vec::new();
        for n in 0..5 {
            let acknowledged = state.commit(put(&key(n), json!(n))).await.is_ok();
            outcome.push((acknowledged, state.get(key(n)).await.unwrap().is_some()));
        }
        assert_eq!(outcome, [(true, true), (false, false), (false, true), (true, true), (false, false)]);
        state.heal();
        assert!(state.commit(put(&key(9), json!(9))).await.is_ok());
        assert_eq!(state.writes(), 6);
    }
}
