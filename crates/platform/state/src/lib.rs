//! The state port: records are the truth, and one commit changes them, the ledger and the outbox
//! together or not at all.
//!
//! No SQL leaves this crate. Enter at [`State`]; [`port`] says what each method promises.
//! [`MemoryState`] is the whole port in memory, for tests.

mod cursor;
pub mod limits;
pub mod memory;
pub mod port;

pub use memory::MemoryState;

pub use port::{
    Change, Commit, Committed, EntryQuery, Error, IndexTerm, Key, Lease, Message, Page, Precondition, Put,
    Record, Result, Scan, State,
};
