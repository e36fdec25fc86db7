//! Delivery: plans, releases, and the reconciler that keeps services as they were asked for.
//!
//! A pure [`planner`] compares what service files want with the records and makes an immutable plan.
//! Applying it runs a durable workflow ([`apply`]) whose steps write what is wanted and wait. The
//! [`reconcile`]r makes it so: it starts and stops replicas through the driver, checks their health,
//! publishes routes to the gateway, and puts back what drifts. It is not the runtime (`runtime` knows
//! processes) nor the gateway. Enter at [`Engine`].

pub mod apply;
mod books;
mod decide;
#[cfg(test)]
mod doubles;
mod engine;
mod jobs;
pub mod need;
pub mod planner;
mod ports;
mod probe;
pub mod reconcile;
pub mod record;
mod traffic;

pub use engine::Engine;
pub use ports::{Artifacts, Gateway, Ports};
