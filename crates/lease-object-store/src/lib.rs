//! Leases in object storage, for [`lease_core`].

mod answer;
mod builders;
mod call;
mod connector;
mod error;
mod keys;
mod listing;
mod objects;
mod open;
mod options;
mod preflight;
mod service;
mod store;
mod tls;
mod version;

pub use connector::Connector;
pub use lease_document::Purged;
/// The driver, whose types are part of the signature of [`ObjectLeaseStore::with_store`]. A new major version of the driver is a new
/// major version of this crate.
pub use object_store;
pub use options::ObjectLeaseStoreOptions;
pub use store::ObjectLeaseStore;
