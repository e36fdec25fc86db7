//! State from outside: the suite on both back ends, and what only the file can suffer.

// Helpers outside of test functions are tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

mod audit;
mod bench;
mod faults;
mod file;
mod groups;

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
