//! The embedded metrics store.
//!
//! Samples come in through [`engine`] (journal, head, recovery, compaction, the ports of
//! `metrics-api`) and end in immutable parts ([`part`]), whose columns [`codec`] writes and reads.
//! The bytes of a part are described in `docs/reference/metrics-format.md`.
//!
//! It is no query language (`promql` is, over the port) and no network protocol.
#![forbid(unsafe_code)]

pub mod codec;
pub mod engine;
pub mod part;
