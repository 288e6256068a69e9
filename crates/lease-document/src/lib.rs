//! Leases in any store that can write a document on condition that it has not changed: a row version, an `ETag`, a generation, a
//! revision, a compare-and-swap.
//!
//! This crate is for authors of providers for [`lease_core`]. A backend implements [`Documents`]: read a document, write it if it
//! still has the version that was read, and list. [`DocumentStore`] makes a [`LeaseStore`](lease_core::LeaseStore) of it, which
//! keeps the rules of the contract.
//!
//! # A backend
//!
//! ```
//! use std::{collections::BTreeMap, sync::Mutex};
//!
//! use async_trait::async_trait;
//! use lease_core::{Capabilities, Clock, ExpiryJudge, LeaseClient, LeaseName, Result, SystemClock};
//! use lease_document::{About, Document, DocumentStore, Documents, Looked, Page, Put, Sample, Version};
//!
//! /// Documents in this process. The number of writes is the version.
//! #[derive(Debug, Default)]
//! struct Map(Mutex<(u64, BTreeMap<LeaseName, Document>)>);
//!
//! fn clock() -> Sample {
//!     Sample::new(SystemClock.now().since_origin(), std::time::Duration::from_nanos(1))
//! }
//!
//! #[async_trait]
//! impl Documents for Map {
//!     fn about(&self) -> About {
//!         let capabilities = Capabilities::new("map").with_expiry_judge(ExpiryJudge::Process);
//!         About::new(capabilities).with_tokens_from_versions(true)
//!     }
//!
//!     async fn get(&self, name: &LeaseName) -> Result<Looked> {
//!         let map = self.0.lock().unwrap();
//!         Ok(Looked::new(map.1.get(name).cloned()).with_clock(clock()))
//!     }
//!
//!     async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
//!         let mut map = self.0.lock().unwrap();
//!         if map.1.get(name).map(|document| &document.version) != expected {
//!             return Ok(Put::conflict().with_clock(clock()));
//!         }
//!         map.0 += 1;
//!         let version = Version::new(map.0.to_string()).with_number(map.0);
//!         map.1.insert(name.clone(), Document::new(value, version.clone()));
//!         Ok(Put::written(version).with_clock(clock()))
//!     }
//!
//!     async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
//!         let map = self.0.lock().unwrap();
//!         let documents = map.1.iter().filter(|(name, _)| {
//!             name.as_str().starts_with(prefix) && after.is_none_or(|after| *name > after)
//!         });
//!         let page = documents.take(limit).map(|(name, document)| (name.clone(), document.clone()));
//!         Ok(Page::new(page.collect()).with_clock(clock()))
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let client = LeaseClient::new(DocumentStore::new(Map::default()));
//! let lease = client.acquire("nightly-report", std::time::Duration::from_secs(30)).await?;
//! assert!(client.try_acquire("nightly-report", std::time::Duration::from_secs(30)).await?.acquired().is_none());
//! lease.release().await?;
//! # Ok::<(), lease_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! # How it proves itself
//!
//! Implement `Harness` of `lease-testkit` and run `lease_testkit::conformance!` and `elections!`. The capabilities of the store
//! select what is asserted. Besides the faults that every store with a server needs, the harness implements `delay_requests`. Its
//! `tolerance` includes how late an expiry may be seen: twice the width of the clock's interval, and four times the slack.
//!
//! # Who judges expiry
//!
//! By default the store's clock does (S3). Each answer that carries it is a [`Sample`], which together with the moments of sending
//! and receiving bounds the clock's offset to that of this process; several answers narrow the interval. A holder writes an end that
//! is late by any reading, and a contender takes over when the end has passed by every reading. Takeovers are late by the widths of
//! both intervals, that of the holder and that of the contender, and never early. Where many servers answer, their clocks are assumed
//! to agree within twice a declared slack ([`ExpiryJudge::ServersWallClocks`](lease_core::ExpiryJudge::ServersWallClocks)). Takeovers
//! are then later by twice the slack if the clocks agree, and by up to four times the slack if they do not. If they differ by more
//! than twice the slack, a name can have two holders.
//!
//! When answers contradict each other, the store logs `the store's clock has jumped, or its servers disagree` (warn, target `lease`),
//! and takes leases over later until the longest lease that it has seen would have ended.
//! [`clock_uncertainty`](DocumentStore::clock_uncertainty) is for a gauge.
//!
//! With [`ExpiryJudge::Contenders`](lease_core::ExpiryJudge::Contenders) no clock is believed: a contender takes over what it has
//! itself observed unchanged for long enough (S2). A process that tries only once then never takes over from a holder that has
//! crashed.
//!
//! # Documents that other programs know
//!
//! Some stores have leases of their own, which other programs take and renew, and people look at. A backend can keep the record
//! beside such a lease. It writes there what the record [shows](Shown), and remembers in the document what that was. A read
//! that finds another lease there than the one that belongs to the record says so
//! ([`Document::with_foreign`](Document::with_foreign)): another program has taken it since. Such a [`Foreign`] lease is judged by
//! watching (S2), the holder of the record has lost, and tokens go on from the record.
//!
//! # What it costs, and what it does not promise
//!
//! | operation | requests |
//! |---|---|
//! | acquire | 2; 1 if the name is held |
//! | renew, release | 1, from what this process wrote last; 2 more after a conflict |
//! | inspect, break | 1; 2 |
//!
//! * A renewal that reaches the store after the expiry and before any rival extends the grant: nothing has changed
//!   ([`extends_late_renewals`](lease_core::Capabilities::extends_late_renewals), the form of S7 here).
//! * Processes may disagree about the moment of an expiry ([`agrees_on_expiry`](lease_core::Capabilities::agrees_on_expiry)).
//! * After a loss of data, a renewal may displace a rival whose record has the same number, for which the rival learns at its next
//!   renewal ([`displaces_after_data_loss`](lease_core::Capabilities::displaces_after_data_loss)). A backend with numbers whose
//!   tokens do not come from them declares it itself.
//! * A document is kept for every name that was ever leased. [`DocumentStore::purge`] removes old ones. Where the backend cannot
//!   delete on condition of a version, or tokens would not survive it, it makes them smaller instead.

mod about;
mod acquire;
mod attempt;
mod breaking;
mod changes;
mod document;
mod documents;
mod error;
mod escape;
mod foreign;
#[cfg(feature = "http")]
pub mod http;
mod known;
mod left;
mod listing;
mod named;
mod purge;
mod record;
mod release;
mod renew;
mod seen;
mod shared;
mod shown;
mod store;
mod store_clock;

pub use about::About;
pub use changes::{Change, Changes};
pub use document::{Document, Looked, Page, Put, Version};
pub use documents::Documents;
pub use escape::{escape, escape_prefix, unescape};
pub use foreign::Foreign;
pub use purge::Purged;
pub use shown::Shown;
pub use store::{DocumentStore, DocumentStoreBuilder};
pub use store_clock::Sample;

/// What [`lease_store`] needs where it is used.
#[doc(hidden)]
pub mod __private {
    pub use async_trait::async_trait;
    pub use lease_core::{
        AcquireRequest, Acquired, Break, Capabilities, FencingToken, LeaseName, LeaseRecord, LeaseStore,
        ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
    };
}
