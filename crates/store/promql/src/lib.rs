//! PromQL as Prometheus 3 has it: text to tree, tree to text, and tree to values.
//!
//! - [`parse`] reads an expression into the tree of [`ast`], checks its types, and says every
//!   mistake with its place. [`function`] is the table of functions it knows.
//! - The tree prints itself (`Display`), so that what is printed reads back as the same tree.
//! - [`complete`] says what may be typed at a place of an unfinished expression.
//! - [`eval`] computes values of a tree over [`metrics_api::Reader`].
//!
//! It stores nothing and knows no HTTP. The language is upstream's (`prometheus/prometheus`,
//! `promql/parser`), written anew from its grammar; where the two differ on what is accepted, this
//! crate is wrong.

#![forbid(unsafe_code)]

pub mod ast;
mod check;
pub mod complete;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod eval;
pub mod function;
pub mod histogram;
mod json;
mod lex;
pub mod literal;
pub mod parse;
mod print;
#[cfg(feature = "script")]
pub mod script;

pub use ast::Expr;
pub use function::Function;
pub use json::to_json;
pub use parse::{ParseError, ParseErrors, parse, parse_metric, parse_selector};
pub use print::pretty;
