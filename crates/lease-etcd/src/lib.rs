//! Leases in etcd.
mod acquire;
mod admin;
mod buckets;
mod connections;
mod error;
mod fence;
mod handle;
mod keys;
mod limits;
mod names;
mod options;
mod record;
mod release;
mod renew;
mod store;
mod transactions;
mod watch;

pub use options::EtcdStoreOptions;
pub use store::EtcdStore;

/// The store's name in errors and capabilities.
const STORE: &str = "etcd";
