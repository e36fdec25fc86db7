//! The store from outside: its parts alone, and all of it through its ports on the disk
//! that forgets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bounds;
mod clocks;
mod crash;
mod damage;
mod frozen;
mod harness;
mod model;
mod part;
mod ports;
