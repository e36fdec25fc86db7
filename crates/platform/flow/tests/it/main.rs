//! The engine against state in memory, on paused time.

#![allow(clippy::unwrap_used, clippy::expect_used)] // tests, helpers of tests included

mod basics;
mod crash;
mod cut;
mod fence;
mod limits;
mod people;
mod property;
mod schedules;
mod soak;
mod sqlite;
mod world;
