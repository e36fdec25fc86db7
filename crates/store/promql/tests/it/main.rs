//! What the crate does as a whole, on scripts of upstream and on a store in memory.

mod bounds;
mod conformance;
