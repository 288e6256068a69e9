//! lease-postgres
