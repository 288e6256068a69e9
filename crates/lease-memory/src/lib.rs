//! The reference store of [`lease_core`]: leases inside one process.
//!
//! For programs of a single process that want the same code as their larger siblings, and for tests, where it can run under
//! tokio's paused time: see [`MemoryStore::with_clock`]. It keeps every rule of the contract that a store without a disk can keep, in as few lines as
//! that takes: whoever writes a provider reads it first. `record.rs` has the rules, `store.rs` the mutex around them.
//!
//! Clones of a [`MemoryStore`] see the same leases, so that several clients in one process contend like several
//! processes:
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
//! let wish = |holder: &str| {
//!     let (name, holder) = (LeaseName::new("nightly-report").unwrap(), HolderId::new(holder).unwrap());
//!     AcquireRequest::new(name, holder, GrantId::random(), Duration::from_secs(30))
//! };
//! let [mine] = &store.acquire(&[wish("replica-1")]).await[..] else { unreachable!("one request, one answer") };
//! assert!(matches!(mine, Ok(Acquired::Granted(_))));
//! let [theirs] = &other.acquire(&[wish("replica-2")]).await[..] else { unreachable!("one request, one answer") };
//! assert!(matches!(theirs, Ok(Acquired::Held { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! What it cannot do: leases and tokens end with the process, and nobody outside of it sees them.
mod record;
mod store;

pub use store::MemoryStore;

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
