//! Metrics that are there without a line of set-up: the host's, every replica's, the gateway's by
//! service, route, release and replica, and Stead's own. They are written to the store every few
//! seconds, as any receiver does.
//!
//! Names follow node_exporter (`node_…`) and the client libraries (`process_…`) where they exist,
//! because dashboards know them; what only Stead knows is `stead_…`. Each series that ends gets a
//! staleness marker. Whatever else in Stead counts does so through a [`Registry`], which `/metrics`
//! shows too.
//!
//! It starts nothing and asks nothing of the network. Replicas share the host's network, so what one
//! of them sends by itself cannot be told apart; what goes through the gateway can
//! (`stead_gateway_request_bytes_total`, `…_response_bytes_total`).
//!
//! Enter at [`Vitals`].

#![forbid(unsafe_code)]

mod gateway;
mod host;
mod process;
mod registry;
mod replicas;
mod set;
mod vitals;

pub use crate::{
    gateway::LINES_MAX,
    host::{CPUS_MAX, DEVICES_MAX},
    registry::{BOUNDS_MAX, Counter, Gauge, HANDLES_MAX, Histogram, Registry, SOURCES_MAX, Source, source},
    replicas::{PROCESSES_MAX, REPLICAS_MAX},
    set::{SERIES_MAX, Set, TEXT_CONTENT_TYPE},
    vitals::{Options, Ports, Vitals},
};
