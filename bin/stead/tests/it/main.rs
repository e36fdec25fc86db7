//! The whole of Stead from outside: the real binary, real processes, a data directory of its own.
//!
//! Each test has an [`installation::Stead`] and waits on conditions with deadlines. What a machine
//! lacks is said in a line `SKIP name: why`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)] // all of this is tests

mod crashes;
mod installation;
mod load;
mod round_trip;
mod workload;
