//! The ledger: every change and decision, hash-chained per tenant so that tampering shows.
//!
//! This crate is pure: it knows what an entry is, how its hash is made and how a chain is verified.
//! Where entries are stored is `state`'s business. It holds changes and decisions, never telemetry.

pub mod entry;

pub use entry::{Draft, Entry};
