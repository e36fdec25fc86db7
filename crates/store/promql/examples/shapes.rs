//! Times shapes of queries over a store in memory.
fn main() {}
