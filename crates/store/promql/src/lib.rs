//! PromQL as Prometheus 3 has it: tree to values.
//!
//! [`eval`] computes values of an expression over [`metrics_api::Reader`]; [`histogram`] is the
//! arithmetic of native histograms. Reading and printing expressions is `promql-syntax`'s, whose
//! names are here too, so that who evaluates needs one crate.
//!
//! It stores nothing and knows no HTTP. What an expression means is upstream's
//! (`prometheus/prometheus`, `promql`), written anew; where the two differ, this crate is wrong.

#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod eval;
pub mod histogram;
#[cfg(feature = "script")]
pub mod script;

pub use promql_syntax::{
    Expr, Function, ParseError, ParseErrors, ast, function, literal, parse, parse_metric, parse_selector,
    pretty, to_json,
};
