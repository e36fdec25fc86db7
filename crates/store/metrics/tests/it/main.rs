//! The store from the outside.
#![allow(clippy::unwrap_used)]

mod part;
