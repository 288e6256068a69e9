//! Leases in Kubernetes, for [`lease_core`].
#![doc = include_str!("../README.md")]

mod config;
mod error;
mod events;
mod leases;
mod limit;
mod names;
mod object;
mod objects;
mod open;
mod options;
mod preflight;
mod rbac;
mod spec;
mod status;
mod store;
mod watch;

pub use options::KubernetesStoreOptions;
pub use rbac::rbac_manifest;
pub use store::KubernetesStore;

/// The name of the store in errors and capabilities.
const STORE: &str = "kubernetes";
