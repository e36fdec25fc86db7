//! Metrics as other domains see them: what a series and its samples are, and the two ports.
//!
//! Receivers fill a [`WriteBatch`] and hand it to a [`Writer`]; the query language and whoever
//! wants numbers asks a [`Reader`] for series by [`Matcher`]s within a [`Budget`]. The engine in
//! `store/metrics` implements both; [`memory::MemoryStore`] does so in plain collections, for
//! tests and for small things of short life.
//!
//! It holds no storage format and no protocol: those belong to the engine and to the receivers.
//!
//! Times are milliseconds since the Unix epoch, as everywhere in the field of metrics. A sample is
//! a float or a [`Histogram`]; a float with the bits of [`STALE_NAN_BITS`] ends its series until
//! the next sample.

#![forbid(unsafe_code)]

mod budget;
mod fault;
mod histogram;
mod labels;
mod matcher;
pub mod memory;
mod pattern;
mod read;
mod sample;
mod write;

pub use budget::{Budget, Limits, Reserved};
pub use fault::{Error, Result};
pub use histogram::{CounterReset, Histogram, MAX_SCHEMA, MIN_SCHEMA, NHCB_SCHEMA, Span};
pub use labels::{Label, Labels, LabelsBuilder, METRIC_NAME, SeriesId};
pub use matcher::{MatchOp, Matcher, REGEX_SIZE_BYTES_MAX};
pub use pattern::from_re2;
pub use read::{
    Answer, CardinalityEntry, CardinalityReport, Exemplar, LabelQuery, Reader, Select, SeriesExemplars,
    SeriesReader, SeriesSet, TimeRange,
};
pub use sample::{STALE_NAN_BITS, Samples, is_stale, stale_nan};
pub use write::{Appended, Metadata, MetricType, Refusal, RefusalKind, Row, WriteBatch, Writer};
