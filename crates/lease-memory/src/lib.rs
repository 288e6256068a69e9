//! The reference store of [`lease_core`]: leases inside one process.
//!
//! It is for programs of a single process that use the same code as larger ones, and for tests, also under tokio's paused
//! time (see [`MemoryStore::with_clock`]). It keeps every rule of the contract that a store without a disk can keep, in as
//! few lines as possible. Authors of providers should read it first: `record.rs` has the rules, and `store.rs` the mutex
//! around them.
//!
//! Clones of a [`MemoryStore`] share the same leases, so several clients in one process contend like several processes:
//!
//! ```
//! use std::time::Duration;
//!
//! use lease_core::{AcquireRequest, Acquired, GrantId, HolderId, LeaseName, LeaseStore};
//! use lease_memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let other = store.clone();
//!
//! let request = |holder: &str| {
//!     let (name, holder) = (LeaseName::new("nightly-report").unwrap(), HolderId::new(holder).unwrap());
//!     AcquireRequest::new(name, holder, GrantId::random(), Duration::from_secs(30))
//! };
//! let [first] = &store.acquire(&[request("replica-1")]).await[..] else { unreachable!("one request, one answer") };
//! assert!(matches!(first, Ok(Acquired::Granted(_))));
//! let [second] = &other.acquire(&[request("replica-2")]).await[..] else { unreachable!("one request, one answer") };
//! assert!(matches!(second, Ok(Acquired::Held { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! Leases and tokens end with the process, and no other process sees them.

mod record;
mod store;

pub use store::MemoryStore;

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
