//! Leases in PostgreSQL.
mod acquire;
mod admin;
mod batch;
mod connections;
mod error;
mod fence;
mod listener;
mod options;
mod release;
mod renew;
mod row;
mod schema;
mod statements;
mod store;

pub use options::PostgresStoreOptions;
pub use store::PostgresStore;

/// The store's name in errors and capabilities.
const STORE: &str = "postgres";
