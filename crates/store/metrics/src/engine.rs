//! Journal, head, recovery, compaction and the ports over them.
