//! The gateway over real sockets, with real services behind it and clients that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used)] // what is set up for a test may fail it
#![allow(clippy::disallowed_methods)] // clients are no part of the supervised tasks

mod admin;
mod change;
mod forwarding;
mod fuzz;
mod h2;
mod limits;
mod retry;
mod smuggling;
mod streaming;
mod support;
mod survive;
mod tls;
