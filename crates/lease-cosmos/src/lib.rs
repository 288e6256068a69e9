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
//!   changed). An item is never upserted: the service would ignore a condition on its absence.
//! * **A stale read decides nothing.** Each write has a number above the one before, and each request carries the session tokens of
//!   the answers before it. A read that is older than what this process has seen is repeated, and a write on its grounds is refused.
//! * **Fencing tokens** are counted, and raised to the service's clock in µs (S10). They rise over releases, expiry and purges.
//! * **The clock of the service judges expiry** (S3), by the time in its answers. Many servers answer: their clocks are assumed to
//!   agree within twice a slack of 2 s. A takeover after a crash comes 4 to 6 s after the ttl where the clocks agree, up to 10 s where
//!   they do not, and never early. See [`expiry_judge`](CosmosStoreOptions::expiry_judge).
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
//! * **Push.** Waiters poll, by default every 5 to 10 s ([`CosmosStoreOptions::poll_interval`]): each wins that much later after a
//!   release.
//! * **Exclusion if the servers' clocks differ by more than twice the slack.** A name can then have two holders; tokens order them.
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
//! * A key of the account that is not read-only, or an identity with the role `Cosmos DB Built-in Data Contributor`. This role is not
//!   one of Azure's own, and the portal does not give it:
//!
//!   ```sh
//!   az cosmosdb sql role assignment create --account-name account --resource-group group --principal-id PRINCIPAL \
//!       --role-definition-name "Cosmos DB Built-in Data Contributor" --scope "/dbs/operations/colls/leases"
//!   ```
//! * A host whose clock is right within fifteen minutes, because requests are signed with its time.
//!
//! # What it costs
//!
//! | operation | requests | request units, about |
//! |---|---|---|
//! | acquire | 2; 1 if the name is held | 7 for a new name, then 11; 1 |
//! | renew, release | 1; 2 more after a conflict | 10 |
//! | inspect, break | 1; 2 | 1; 11 |
//! | waiting for a name, in each client | by default 1 every 5 to 10 s | 1 |
//! | list, purge | for each 256 names, a query over all partitions for these and all later names; a purge writes each item that it reduces | 3 and more for each page; 10 for each item |
//!
//! A lease of 30 s that is renewed every 10 s takes one request unit per second, and a client that waits a seventh of one. By list
//! prices, 400 request units per second, the least that a container can have by itself, cost about $23 a month, and a million request
//! units without provisioned throughput (serverless) about $0.25: $0.02 a day for the lease, and $0.003 for the client that waits.
//!
//! When the throughput is used up, requests fail as `Unavailable`, with the time to wait that the service asks for; renewals are tried
//! again before the lease ends.
//!
//! # What stays behind
//!
//! One item of about a kilobyte stays for every name that was ever leased. [`CosmosStore::purge`] makes those of old names smaller and
//! deletes none. The item of a name that is not leased any more may be deleted by hand. A time to live would delete those of leases that
//! are held, too: `connect` refuses it.
//!
//! # Commands for operators
//!
//! In the Data Explorer of the portal, or by any client for queries:
//!
//! ```sql
//! SELECT c.id, c["value"] FROM c                               -- all names that were ever leased, who had them, until when, the token
//! SELECT c["value"] FROM c WHERE c.id = "reports!2Fnightly"    -- one lease; `CosmosStore::id` returns the id
//! ```
//!
//! To delete the item is to break the lease at once: there is no exclusion until its holder's next renewal. To end a grant without
//! losing exclusion, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease) with `AfterExpiry`.
//!
//! # What a fail-over does
//!
//! While a region fails, calls fail, and holders stop at their deadlines. Writes to a region that takes none any more are `Unavailable`
//! (`Cosmos DB answers 403/3`); the endpoint of the account leads to the new region. With the consistency `Strong` all grants are kept.
//! With another one the last writes may be lost, and tokens go on by the clock; see [What it does not promise](#what-it-does-not-promise).
//!
//! The log shows, under the target `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason; then
//! `out of jeopardy` (info) or `lost` (warn). `the store's clock has jumped, or its servers disagree` (warn): leases are taken over
//! later for a while. Typical reasons are:
//!
//! | reason | what to do |
//! |---|---|
//! | `no answer within …`, `the endpoint cannot be reached`, `the service has not answered` | look at the network of the process, and at the status page of the service |
//! | `Cosmos DB answers 429` | raise the request units of the container, or use longer ttls |
//! | `Cosmos DB answers 401`, `403` | the key was replaced, the role or the firewall was changed, or the clock of this host is wrong |
//! | `Cosmos DB answers 410`, `449`, `5…`, `404/1002` | nothing: calls are repeated |
//! | `something answers … that is no Cosmos DB account` | a proxy, or a wrong endpoint |
//! | `the store has no record of it`, as the reason of a loss | the item was deleted, or a fail-over has lost it |
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
