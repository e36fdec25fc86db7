//! The words that every crate of Stead shares: ids, time, units, faults, who asks and limits.
//!
//! It does no I/O (the one exception is the system clock behind [`time::Clock`]), knows no async
//! runtime and no word of the domain. Enter at [`scope::Scope`] (whose data), [`fault::Fault`]
//! (what went wrong) and [`time::Clock`].
//!
//! ```
//! use base::{id::NameId, units::Bytes};
//! let limit: Bytes = "64MiB".parse().unwrap();
//! assert_eq!(limit.get(), 64 << 20);
//! # let _ = NameId::parse("checkout");
//! ```

pub mod fault;
pub mod id;
pub mod scope;
pub mod time;
pub mod units;

pub use fault::{Class, Fault, Problem};
pub use scope::{Actor, Cause, Ctx, Environment, Scope, Tenant};
pub use time::{Clock, Timestamp};
