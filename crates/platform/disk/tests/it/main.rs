//! Both disks behave alike, the real one refuses what was planted, and `write_atomic` needs each of
//! its syncs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod crash;
mod planted;
mod same;
