//! The API through its real router, over state in memory and stand-ins for the other ports.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers of tests are tests too

mod coverage;
mod doubles;
mod limits;
mod origin;
mod records;
mod session;
mod streams;
mod world;
