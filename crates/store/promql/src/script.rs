//! Test scripts of upstream's `promqltest`: what to load, what to ask, what to expect.
//!
//! [`parse_script`] reads a script whole; running it is the caller's. A script is a row of commands,
//! each ended by an empty line or a comment:
//!
//! ```text
//! load 1m
//!   requests{job="a"} 1+2x5 _ stale {{schema:0 sum:3 count:2 buckets:[1 1]}}
//!
//! eval instant at 5m sum(requests)
//!   expect no_warn
//!   {} 11
//! ```
//!
//! Times are milliseconds from 0, at which every series starts. Start timestamps (`@st` lines) are
//! not read: samples here have none.

use std::{fmt, sync::Arc};

use metrics_api::{Histogram, Labels};

mod command;
mod expect;
mod histogram;
mod series;

pub use command::parse_script;
pub use series::parse_series;

/// A script that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    pub commands: Vec<Command>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Forget all that was loaded.
    Clear {
        line: usize,
    },
    Load(Load),
    Eval(Box<Eval>),
}

/// Samples to add to what is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// From 1.
    pub line: usize,
    pub interval_ms: i64,
    /// Classic histograms are to be loaded once more, as native ones of custom buckets.
    pub with_nhcb: bool,
    /// Each series once, in the order of the script.
    pub series: Vec<LoadedSeries>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LoadedSeries {
    pub labels: Labels,
    /// In order of time.
    pub samples: Vec<(i64, Value)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Also the marker that ends a series.
    Float(f64),
    Histogram {
        histogram: Arc<Histogram>,
        /// The script says what is known of a counter reset; otherwise it is not to be compared.
        reset_is_given: bool,
    },
}

/// A query, and what it should answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Eval {
    /// From 1.
    pub line: usize,
    /// It reads as an expression: that is checked when the script is read.
    pub query: String,
    pub when: When,
    pub expect: Expect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Instant { at_ms: i64 },
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

/// What an answer has to be like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// It has to fail, with a message like this.
    pub fail: Option<Match>,
    /// Series have to come in the order in which they are expected.
    pub ordered: bool,
    /// Unless this is empty: each has to match a warning, and each warning has to match one.
    pub warnings: Vec<Match>,
    /// There may be no warning.
    pub no_warnings: bool,
    /// As `warnings`.
    pub infos: Vec<Match>,
    pub no_infos: bool,
    /// Where the points of a range vector lie, which an instant query answers.
    pub range_vector: Option<PointTimes>,
    pub result: Expected,
}

/// Times of the points of expected series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointTimes {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    Scalar(f64),
    String(String),
    /// Each series once, in the order of the script; none is an empty answer.
    Series(Vec<ExpectedSeries>),
}

impl Default for Expected {
    fn default() -> Self {
        Self::Series(Vec::new())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedSeries {
    pub labels: Labels,
    /// One per step, `None` where there is no point; of an instant query, one.
    pub values: Vec<Option<Value>>,
}

/// How a message has to read.
#[derive(Debug, Clone)]
pub enum Match {
    Any,
    Exact(String),
    /// Matches anywhere in the message.
    Regex(regex::Regex),
}

impl Match {
    #[must_use]
    pub fn matches(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted == message,
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any message"),
            Self::Exact(wanted) => write!(f, "{wanted:?}"),
            Self::Regex(regex) => write!(f, "a match of {:?}", regex.as_str()),
        }
    }
}

impl PartialEq for Match {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// A script that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ScriptError {
    /// From 1.
    pub line: usize,
    pub why: String,
}

#[cfg(test)]
mod tests;
