//! The file-system port, for all that Stead writes itself outside of SQLite.
//!
//! A [`Disk`] is one folder and what is below it; every path is relative to it and may hold neither
//! `..` nor a symbolic link. [`RealDisk`] is the machine's. `SimulatedDisk` (feature `simulation`)
//! keeps what was synced and what was not apart and forgets the latter at a crash, so that code
//! that lacks an fsync fails a test. Its calls block: use it off the async threads.
//!
//! Enter at [`write_atomic`] (a whole file, old or new), [`Disk`] and [`RealDisk::open`].
//!
//! It is no virtual file system: what workloads write, and what is built for them, is not its
//! business.
//!
//! ```
//! # fn main() -> Result<(), disk::Error> {
//! # let folder = std::env::temp_dir();
//! let disk = disk::RealDisk::open(&folder)?;
//! disk::write_atomic(&disk, "routes.json".as_ref(), b"{}", 0o600)?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod atomic;
mod fault;
mod port;
mod real;
#[cfg(feature = "simulation")]
pub mod simulated;

pub use atomic::{create_dirs, is_draft, read, sweep, write_atomic, write_new};
pub use fault::Error;
pub use port::{Create, Disk, Kind, LIST_ENTRIES_MAX, Listed, Sink, Source, Sync, check_path};
pub use real::RealDisk;
#[cfg(feature = "simulation")]
pub use simulated::SimulatedDisk;

pub type Result<T> = std::result::Result<T, Error>;
