//! Leases in Redis and Valkey.
mod acquire;
mod admin;
mod answer;
mod batch;
mod connections;
mod error;
mod fence;
mod keys;
mod listener;
mod options;
mod preflight;
mod release;
mod renew;
mod scripts;
mod store;
mod url;

pub use fence::FENCED_WRITE_SCRIPT;
pub use options::{RedisStoreOptions, WaitReplicas};
pub use store::RedisStore;

/// The store's name in errors and capabilities.
const STORE: &str = "redis";
