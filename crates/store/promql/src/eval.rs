//! Tree to values.
//!
//! [`Engine::prepare`] asks the store for the series that an expression selects, and
//! [`Prepared::run`] computes. The second part takes CPU and may touch the disk: it is for a
//! blocking thread.
//!
//! Evaluation is series at a time. A series' samples are read once, two indexes move forward through
//! them, and the row of its steps goes straight to whoever asked: `sum by (job) (rate(x[5m]))` holds
//! one row of each group and one series, whatever the number of series. Only what needs all series
//! of a step at once (matching of vectors, sorting) keeps them all.
//!
//! Names are removed at the end, as upstream does with its `promql-delayed-name-removal`: what goes
//! without that feature gives the same answer with it.

use std::{collections::HashMap, fmt, sync::Arc};

use base::{Class, Fault, Tenant};
use metrics_api::{Budget, Histogram, Labels, Reader};

pub use self::annotation::ANNOTATIONS_MAX;
pub use self::prepare::Prepared;
pub use self::text::histogram as histogram_text;
use crate::{
    ast::Expr,
    parse::{self, ParseErrors},
};

mod aggregate;
mod aggregate_k;
mod aligned;
mod annotation;
mod binary;
mod call;
mod date;
mod info;
mod labels;
mod leaf;
mod node;
mod over_time;
mod pairs;
mod prepare;
mod range;
mod range_histogram;
mod rate;
mod row;
mod selector;
mod text;
mod vector_function;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How far back an instant selector looks for a sample.
    pub lookback_ms: i64,
    /// Step of a subquery that gives none.
    pub subquery_step_ms: i64,
    /// Threads that one query may use.
    pub parallel_max: usize,
    /// `__type__` tells counters, and notes about metrics that are none say so.
    pub type_and_unit_labels: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { lookback_ms: 300_000, subquery_step_ms: 60_000, parallel_max: 2, type_and_unit_labels: false }
    }
}

/// When to evaluate. Milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Instant(i64),
    /// Both ends included.
    Range {
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    },
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// The text of the expression; annotations name places in it.
    pub text: Arc<str>,
    pub expr: Arc<Expr>,
    pub when: When,
    /// Instead of the engine's, when given.
    pub lookback_ms: Option<i64>,
}

impl Query {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`Error::Parse`] when it is none.
    pub fn parse(text: &str, when: When) -> Result<Self, Error> {
        let expr = Arc::new(parse::parse(text).map_err(Error::Parse)?);
        Ok(Self { text: Arc::from(text), expr, when, lookback_ms: None })
    }
}

/// Evaluates expressions over a store.
#[derive(Debug, Clone)]
pub struct Engine {
    reader: Arc<dyn Reader>,
    options: Options,
}

impl Engine {
    pub fn new(reader: Arc<dyn Reader>, options: Options) -> Self {
        Self { reader, options }
    }

    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Selects the series that the query needs. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Parse`] for a range or step that has no value; [`Error::Limit`] for more steps or
    /// series than the budget allows; a store that fails.
    pub async fn prepare(
        &self,
        tenant: &Tenant,
        query: Query,
        budget: Arc<Budget>,
    ) -> Result<Prepared, Error> {
        prepare::prepare(&*self.reader, self.options, tenant, query, budget).await
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// A series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct InstantSample {
    pub labels: Labels,
    pub time_ms: i64,
    pub value: Sample,
}

/// A series with its points in order of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    pub labels: Labels,
    pub floats: Vec<(i64, f64)>,
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar {
        time_ms: i64,
        value: f64,
    },
    String {
        time_ms: i64,
        value: String,
    },
    /// In the order that the expression gives.
    Vector(Vec<InstantSample>),
    /// In order of labels.
    Matrix(Vec<Points>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub series: u64,
    pub samples: u64,
    pub memory_bytes_peak: u64,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub value: Value,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub stats: Stats,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The expression, or a duration in it. HTTP 400, `bad_data`.
    #[error(transparent)]
    Parse(ParseErrors),
    /// The time of the query is none. HTTP 400, `bad_data`.
    #[error("{0}")]
    BadQuery(String),
    /// The expression cannot be evaluated on these series. HTTP 422, `execution`.
    #[error("{0}")]
    Execution(String),
    /// A bound of the query. HTTP 422, `execution`.
    #[error("{0}")]
    Limit(metrics_api::Error),
    /// HTTP 503, `timeout`.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// HTTP 503, `canceled`.
    #[error("query was canceled in expression evaluation")]
    Cancelled,
    /// The store. HTTP 500, `internal`.
    #[error("expanding series: {0}")]
    Store(#[source] metrics_api::Error),
}

impl Error {
    /// The `errorType` of upstream's API.
    #[must_use]
    pub fn api_type(&self) -> &'static str {
        match self {
            Self::Parse(_) | Self::BadQuery(_) => "bad_data",
            Self::Execution(_) | Self::Limit(_) => "execution",
            Self::Timeout => "timeout",
            Self::Cancelled => "canceled",
            Self::Store(_) => "internal",
        }
    }

    /// The status of upstream's API.
    #[must_use]
    pub fn api_status(&self) -> u16 {
        match self {
            Self::Parse(_) | Self::BadQuery(_) => 400,
            Self::Execution(_) | Self::Limit(_) => 422,
            Self::Timeout | Self::Cancelled => 503,
            Self::Store(_) => 500,
        }
    }

    fn execution(why: impl fmt::Display) -> Self {
        Self::Execution(why.to_string())
    }

    fn same_labels() -> Self {
        Self::execution("vector cannot contain metrics with the same labelset")
    }
}

impl From<metrics_api::Error> for Error {
    fn from(error: metrics_api::Error) -> Self {
        use metrics_api::Error as Store;
        match error {
            Store::Limit { .. } => Self::Limit(error),
            Store::Timeout { .. } => Self::Timeout,
            Store::Cancelled => Self::Cancelled,
            other => Self::Store(other),
        }
    }
}

impl Fault for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Parse(_) => "promql.parse",
            Self::BadQuery(_) => "promql.query",
            Self::Execution(_) => "promql.execution",
            Self::Limit(_) => "promql.limit",
            Self::Timeout => "promql.timeout",
            Self::Cancelled => "promql.cancelled",
            Self::Store(_) => "promql.store",
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Parse(_) | Self::BadQuery(_) | Self::Execution(_) => Class::Invalid,
            Self::Limit(_) => Class::Limit,
            Self::Timeout | Self::Cancelled => Class::Timeout,
            Self::Store(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Limit(error) | Self::Store(error) => error.hint(),
            Self::Timeout => Some("ask for a shorter time or fewer series".into()),
            _ => None,
        }
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;

/// Which selector of the expression holds which series.
type Places = HashMap<crate::ast::Place, usize>;
