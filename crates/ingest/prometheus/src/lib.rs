//! Takes in what the world of Prometheus sends and shows.
//!
//! - [`exposition`]: the formats in which a process shows its metrics, and their strict check.

#![forbid(unsafe_code)]

pub mod exposition;
pub mod wire;
