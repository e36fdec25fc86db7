//! The whole of Stead from outside: the real binary, real processes, a data directory of its own.
//!
//! Each test has an [`installation::Stead`] and waits on conditions with deadlines. What a machine
//! lacks is said in a line `SKIP name: why`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // all of this is tests

mod bad_input;
mod clock;
mod crashes;
mod damage;
mod disk;
mod foreign;
mod installation;
mod jobs;
mod ledger;
mod load;
mod metrics;
mod needs;
mod releases;
mod rotation;
mod round_trip;
mod secrets;
mod upgrade;
mod workload;
