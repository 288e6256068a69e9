//! lease-memory
