//! The state port: records are the truth, and one commit changes them, the ledger and the outbox
//! together or not at all.
//!
//! No SQL leaves this crate. Enter at [`State`]; [`port`] says what each method promises.
//! [`SqliteState`] is the back end that a server runs on; [`MemoryState`] is the whole port in
//! memory, for tests; [`audit`] verifies the ledger of either. The feature `conformance` gives the
//! suite that every back end passes, and a back end that fails on purpose.

pub mod audit;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cursor;
#[cfg(feature = "conformance")]
pub mod faulty;
pub mod limits;
pub mod memory;
pub mod port;
pub mod sqlite;

pub use memory::MemoryState;
pub use port::{
    Change, Commit, Committed, EntryQuery, Error, IndexTerm, Key, Lease, Message, Page, Precondition, Put,
    Record, Result, Scan, State,
};
pub use sqlite::SqliteState;
