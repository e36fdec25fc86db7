//! The wire types of /api/stead/v1.
