//! PromQL as Prometheus 3 has it: text to tree, and tree to text.
//!
//! - [`parse`] reads an expression into the tree of [`ast`], checks its types, and says every
//!   mistake with its place. [`function`] is the table of functions it knows.
//! - The tree prints itself (`Display`), so that what is printed reads back as the same tree.
//!
//! It computes nothing: values of a tree are the business of the crate `promql`. The language is
//! upstream's (`prometheus/prometheus`, `promql/parser`), written anew from its grammar; where the
//! two differ on what is accepted, this crate is wrong.

#![forbid(unsafe_code)]

pub mod ast;
mod check;
pub mod function;
mod json;
mod lex;
pub mod literal;
pub mod parse;
mod print;

pub use ast::Expr;
pub use function::Function;
pub use json::to_json;
pub use parse::{ParseError, ParseErrors, parse, parse_metric, parse_selector};
pub use print::pretty;
