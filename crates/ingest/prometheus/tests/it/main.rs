//! What the receivers make of what clients send.

// Tests may stop at the first surprise, and so may what helps them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod config;
mod conformance;
mod expositions;
mod fields;
mod limits;
mod message;
mod real;
mod remote_write;
mod scrape;
mod server;
mod tls;
