//! Delivery: plans, releases, and the reconciler that keeps services as they were asked for.

mod decide;
mod need;
mod probe;
mod traffic;
