//! What the crate does as a whole, on scripts of upstream and on a store in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod bounds;
mod conformance;
mod parallel;
