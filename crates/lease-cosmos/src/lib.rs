//! Leases in a container of Azure Cosmos DB for NoSQL, for [`lease_core`].
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lease_core::LeaseClient;
//! use lease_cosmos::CosmosStoreOptions;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = CosmosStoreOptions::new().with_key(std::env::var("COSMOS_KEY")?);
//! let store = options.connect("https://account.documents.azure.com", "operations", "leases").await?;
//!
//! let client = LeaseClient::new(store);
//! let lease = client.acquire("nightly-report", Duration::from_secs(30)).await?;
//! println!("acquired with token {}", lease.token());
//! lease.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! * **One item per name.** Its id, which is the partition key, is the escaped name. Its `value` is readable JSON with the holder. It
//!   stays after the end of the grant, with the last token and nonce (S13).
//! * **Every write has a condition**: an item is created (409 if there is one), or replaced under `If-Match` (412 if it has
//!   changed). Never is an item upserted, for which a condition on its absence would be ignored.
//! * **A stale read decides nothing.** Each write has a number above the one before, and each request carries the session tokens of
//!   the answers before it. A read that is older than what this process has seen is repeated, and a write on its grounds is refused.
//! * **Fencing tokens** are counted, and raised to the service's clock in µs (S10). They rise over releases, expiry and purges.
//! * **The clock of the service judges expiry** (S3), by the time in its answers. Many servers answer: their clocks are assumed to
//!   agree within twice a slack of 2 s. See [`expiry_judge`](CosmosStoreOptions::expiry_judge).
//!
//! # What it does not promise
//!
//! * **Exclusion of effects elsewhere.** Send the token with the write; see the page of [`lease_core`].
//! * **Anything with several write regions.** A condition holds within one region only, so two regions could grant the same lease.
//!   Such an account is refused.
//! * **That a fail-over of the write region keeps all grants.** With a consistency weaker than `Strong`, the last writes may not have
//!   reached the new region: a lease may then have two holders until the old one's next renewal, and tokens go on by the clock.
//! * **That a renewal which arrives late is refused.** One that was sent before the expiry, and that reaches the service after it and
//!   before any rival, extends the grant: the item has not changed (the form of S7 of this store).
//! * **That tokens survive the deletion of an item by hand**, if a grant follows within the same second.
//! * **Push.** Waiters poll every second or two.
//!
//! # What it needs
//!
//! * An account with one write region, and the default consistency `Session`, `BoundedStaleness` or `Strong`.
//! * A container with the partition key `/id`, and without a time to live. Leave the indexing policy as it is, or index `/id` alone,
//!   which makes writes cheaper:
//!
//!   ```sh
//!   az cosmosdb sql container create --account-name account --resource-group group --database-name operations \
//!       --name leases --partition-key-path /id --throughput 400
//!   ```
//! * A key of the account, or an identity with the role `Cosmos DB Built-in Data Contributor`.
//!
//! # What it costs
//!
//! | operation | requests | request units, about |
//! |---|---|---|
//! | acquire | 2; 1 if the name is held | 7; 1 |
//! | renew, release | 1; 2 more after a conflict | 10 |
//! | inspect, break | 1; 2 | 1; 11 |
//! | list | a query over all partitions, and all of its pages | 3 and more |
//!
//! A lease of 30 s that is renewed every 10 s takes one request unit per second. When the throughput is used up, requests fail as
//! `Unavailable`, with the time to wait that the service asks for; renewals are tried again before the lease ends.
//!
//! The client is [`reqwest`], and not the vendor's, whose release is a beta and which brings another provider of TLS: four kinds of
//! requests are all that leases need.

mod answer;
mod container;
mod credential;
mod documents;
mod error;
mod http;
mod items;
mod open;
mod options;
mod session;
mod store;

pub use options::CosmosStoreOptions;
/// The HTTP client, whose type is part of the signature of [`CosmosStoreOptions::connect_with`]. A new major version of it is a new
/// major version of this crate.
pub use reqwest;
pub use store::CosmosStore;

/// The name of the store in errors and capabilities.
const STORE: &str = "cosmos";

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
