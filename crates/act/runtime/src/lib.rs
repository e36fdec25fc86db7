//! The process driver: replicas as plain processes on this machine, behind [`runtime_api::Driver`].
//!
//! Enter at [`ProcessDriver::new`]; the other half is [`shim::main`], the small process that each
//! replica runs under, so that workloads outlive the platform and their end is recorded even when
//! nobody watches. What the driver knows it reads from the replica's directory, and a process is
//! trusted only when boot id, pid and start time all fit.
//!
//! ```text
//! DIR/REPLICA_ID/            0711, the platform's
//!   spec.json                what was asked, without secret values
//!   status.json              what the shim last knew, replaced as a whole
//!   control.sock             requests to the shim: stop, exec, upgrade, status
//!   fds.sock                 descriptors kept for Stead's own roles (crate `handover`)
//!   log/NNNNNNNNNN.log       output, see `segments`
//!   root/                    0700, the workload's own writable tree
//! ```
//!
//! Isolation is that of users, process groups, control groups and rlimits: no namespaces, no image.
//! It decides nothing: what should run, when to restart a workload and where its traffic goes is the
//! reconciler's business. What a machine does not grant (control groups, another user) is said in
//! `Observed::notes`, never silently left out.
//!
//! `MARK`: each process of a replica carries `STEAD_REPLICA=ID` in its environment, by which leftovers
//! of a shim that was killed are found even without control groups.

mod cgroup;
mod driver;
mod files;
mod identity;
pub mod ready;
mod secrets;
mod segments;
pub mod shim;
mod signals;
mod source;
mod tree;
mod wire;

pub use driver::{Damaged, Options, ProcessDriver};
