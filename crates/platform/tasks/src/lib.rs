//! Supervised tasks.
