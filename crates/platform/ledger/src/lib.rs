//! The ledger: every change and decision, hash-chained per tenant so that tampering shows.
//!
//! This crate knows what an entry is, how its hash is made and how a chain is verified. Where
//! entries are stored is `state`'s business. It holds changes and decisions, never telemetry.
//!
//! Enter at [`Head::append`] (how an entry gets its place), [`canonical`] (the bytes that are
//! hashed), [`verify::Verifier`] (does it still prove) and [`checkpoint`] (signed, kept elsewhere:
//! without one the end of a chain cannot be proven).
//!
//! ```
//! use ledger::Head;
//! let mut head = Head::default(); // an empty chain
//! // let entry = head.append(clock.now(), draft);
//! # let _ = &mut head;
//! ```

pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod entry;
mod fault;
pub mod verify;

pub use chain::Head;
pub use entry::{Draft, ERASED_KIND, Entry, erased_body, erased_by, erased_subject};
pub use fault::Error;
