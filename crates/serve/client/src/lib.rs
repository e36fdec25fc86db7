//! The client of `/api/stead/v1`.
//!
//! [`generated`] holds one method per route, made by `cargo xtask generate` from the API's OpenAPI
//! description and never edited by hand; [`transport`] sends requests over HTTP/1.1, over TLS with a
//! pinned certificate where the server has one of its own. Enter at [`Client::new`].

mod generated;
mod prometheus;
mod transport;

pub use prometheus::Answered;
pub use transport::{Client, Endpoint, Error, Result};
