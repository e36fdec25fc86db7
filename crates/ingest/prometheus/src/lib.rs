//! Takes in what the world of Prometheus sends and shows.
//!
//! - [`exposition`]: the formats in which a process shows its metrics, and their strict check.
//! - [`config`]: Prometheus' own configuration file.
//! - [`remote_write`]: the receiver of remote write 1.0.
//! - [`scrape`]: the scraper, which reads that configuration.
//! - [`relabel`]: rules over labels.
//!
//! Whatever is left out is counted in [`Stats`].

#![forbid(unsafe_code)]

pub mod config;
pub mod exposition;
pub mod relabel;
pub mod remote_write;
pub mod scrape;
mod stats;
pub mod wire;

pub use stats::{Counter, Stats};
