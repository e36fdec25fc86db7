//! Evaluation of a tree over the metrics port.
