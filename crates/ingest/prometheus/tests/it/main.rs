//! What the receivers make of what clients send.

mod conformance;
mod expositions;
mod message;
mod remote_write;
