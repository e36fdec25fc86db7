//! Content-addressed files and trees of them: what a release pins, so that it can run again when
//! the files on disk have changed.
//!
//! A blob is named by the SHA-256 of its content, a tree by the SHA-256 of its manifest, which is a
//! blob itself. A blob that is there is whole: content is synced before it gets its name, and read
//! back against its digest every time. [`Store`] keeps them on a [`disk::Disk`]; [`scan()`] makes a
//! tree of a folder for a client that asks first what the store lacks ([`Store::missing`]).
//!
//! Enter at [`Store`], [`Tree`] and [`scan()`]. All calls block.
//!
//! It is no archive of telemetry and no object storage for users; large and old things go to the
//! engines that own them.
//!
//! ```no_run
//! # fn main() -> Result<(), blob::Error> {
//! # let disk = std::sync::Arc::new(disk::RealDisk::open("/var/lib/stead".as_ref())?);
//! let store = blob::Store::open(disk, "blobs".as_ref())?;
//! let hold = store.hold()?; // nothing is collected until the release is on record
//! let (digest, tree) = store.ingest_dir("/home/ada/shop".as_ref(), &blob::Rules::default())?;
//! store.materialise(&tree, "/var/lib/stead/run/checkout-1".as_ref())?;
//! # drop((hold, digest)); Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod collect;
mod digest;
mod fault;
mod ignore;
mod ingest;
mod materialise;
mod scan;
mod store;
mod tree;

pub use collect::{Collected, Hold};
pub use digest::{Digest, Hasher};
pub use fault::Error;
pub use ignore::Ignore;
pub use ingest::Batch;
pub use scan::{Rules, Scanned, scan};
pub use store::{BLOB_BYTES_MAX, MANIFEST_BYTES_MAX, Store, Stored};
pub use tree::{Content, Entry, PATH_BYTES_MAX, TREE_BYTES_MAX, TREE_ENTRIES_MAX, Tree};

pub type Result<T> = std::result::Result<T, Error>;
