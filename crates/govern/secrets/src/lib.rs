//! Secrets: versioned, sealed under a root key.
