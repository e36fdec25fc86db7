//! The receiver as its clients see it: over HTTP and gRPC, into a store in memory.

// Helpers of tests are tests too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::type_complexity
)]

mod fields;
mod fuzz;
mod limits;
mod sdk;
mod transport;
mod world;
