//! Leases in object storage, for [`lease_core`]: Amazon S3 and what speaks its protocol, Azure Blob Storage, Google Cloud Storage.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use lease_core::LeaseClient;
//! use lease_object_store::ObjectLeaseStore;
//!
//! # async fn example() -> lease_core::Result<()> {
//! // Credentials and the region come from the environment.
//! let store = ObjectLeaseStore::connect("s3://my-bucket/leases").await?;
//!
//! let client = LeaseClient::new(store);
//! if let Some(lease) = client.try_acquire("nightly-report", Duration::from_secs(30)).await?.acquired() {
//!     println!("acquired with token {}", lease.token());
//!     lease.release().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An application that has a store of [`object_store`] brings it. Here it is in memory, and contenders judge expiry:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use lease_core::LeaseClient;
//! use lease_object_store::{ObjectLeaseStore, object_store::memory::InMemory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> lease_core::Result<()> {
//! let store = ObjectLeaseStore::with_store(Arc::new(InMemory::new())).await?;
//! let (one, two) = (LeaseClient::new(store.clone()), LeaseClient::new(store));
//!
//! let lease = one.acquire("nightly-report", Duration::from_secs(30)).await?;
//! assert!(!two.try_acquire("nightly-report", Duration::from_secs(30)).await?.is_acquired());
//! lease.release().await?;
//! assert!(two.try_acquire("nightly-report", Duration::from_secs(30)).await?.is_acquired());
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! Each request is charged. The figures are list prices of S3 in us-east-1, for which the other services ask about as much: $5 for a
//! million writes, $0.40 for a million reads.
//!
//! | what | requests | a day | dollars a day |
//! |---|---|---|---|
//! | acquire; a try for a name that is held | 1 read and 1 write; 1 read | | |
//! | a lease with a ttl of 30 s, renewed every 10 s | 1 write each | 8 640 writes | 0.043 |
//! | the same with a ttl of 5 min | 1 write each | 864 writes | 0.0043 |
//! | a client that waits for a name, by default every 5 to 10 s | 1 read each | 11 520 reads | 0.0046 |
//! | a release | 1 write | | |
//! | a list, a purge | 1 list for 256 names, charged as a write, and 1 read each; a purge writes each record that it reduces | | |
//! | connecting | 1 read and 2 writes, which are refused; 1 write more for the first store with a prefix | | |
//!
//! All waiters of one client for one name are one. [`ObjectLeaseStoreOptions::poll_interval`] sets how often it looks: there is no
//! push, so a waiter wins up to twice this interval after a release, and when the lease expires after a crash.
//!
//! # What it promises
//!
//! * **One object per name**, `prefix/` and the [escaped](lease_document::escape) name, with a readable JSON record. Every change is a
//!   conditional write (`If-None-Match`, `If-Match`, a generation), and no two writes are alike. It is made by
//!   [`lease_document`], whose page has the details.
//! * **A service that ignores conditions is refused** when the store connects: an object must not be created twice, nor replaced in a
//!   version that it does not have. That a condition and its write are one step cannot be found out this way: S3, Azure and Google
//!   promise it, and some emulators do not keep it.
//! * **The service's clock judges expiry** (S3), by the header `Date` of its answers. It has whole seconds, which several answers
//!   narrow; an answer of a cache shows nothing. Many servers answer, and their clocks are assumed to agree within twice a slack of
//!   2 s, by which every lease is longer for others than for its holder. A takeover after a crash comes 4 to 6 s after the ttl where
//!   the clocks agree, up to 10 s where they do not, and never early. The slack is set with
//!   [`ServersWallClocks`](lease_core::ExpiryJudge::ServersWallClocks).
//! * **Or contenders judge it** (S2), who believe no clock: [`Contenders`](lease_core::ExpiryJudge::Contenders). Then a process that
//!   tries only once never takes over from a holder that has crashed.
//! * **Tokens** are counted in the record, and raised to the service's clock in µs where it judges (S10). They rise over releases,
//!   expiry, restarts, and jumps of the clock.
//! * **An answer that was lost** is looked for (S13). Requests are not repeated by the driver. A request without an answer, and a 5xx
//!   to a write, leave the outcome unknown until a read shows it.
//! * **No error, log line or `Debug` output has a credential.**
//!
//! # What it does not promise
//!
//! * **Exclusion of effects elsewhere.** Send the token with the write; see the page of [`lease_core`].
//! * **Exclusion if the servers' clocks disagree by more than twice the slack**, or if a proxy sets `Date` by its own clock and another
//!   one does not. Choose `Contenders` there. A clock that jumps forwards ends leases early for processes that have not seen it
//!   before; tokens order the holders, and the older one learns it at its next renewal. A jump backwards blocks the names of crashed
//!   holders until the clock has caught up.
//! * **Short ttls.** At least 2 s, and 5 s on Google Cloud Storage, which takes one write a second for each object and refuses others.
//!   30 s and more are sensible.
//! * **That a renewal arrives under throttling.** A refusal (429, `SlowDown`) is [`Unavailable`](lease_core::ErrorKind::Unavailable):
//!   the renewal is repeated until the lease ends. S3 takes 3 500 writes a second below a prefix, and more as it learns.
//! * **That tokens rise after an object was deleted** and the name is leased again within the same second, or with `Contenders`.
//! * **Directory buckets** of S3, which list in no order. **Replicated buckets** in two regions that are both written: each side
//!   grants.
//! * **That a renewal which arrives late is refused.** One that was sent before the expiry, and that is done after it and before any
//!   rival's write, extends the grant (the form of S7 of this store).
//!
//! # When the service fails
//!
//! While the service does not answer, nothing is acquired or renewed, and holders stop at their deadlines. A write that has an answer
//! is kept: within a region, no grant is lost.
//!
//! On Azure and S3, replication to another region comes after the answer. A fail-over to it, such as the unplanned one of a
//! geo-redundant account of Azure, loses the last grants and renewals: a lease may then have two holders until the old one's next
//! renewal, and tokens go on by the clock. Use an account or bucket in one region for leases, or stop the holders before the fail-over.
//! A bucket of Google in two or more regions never shows an older record; what is not yet in the other region is not available until
//! its region is.
//!
//! The log shows, under the target `lease`: `in jeopardy` (warn), once for each lease whose renewal failed, with the reason; then
//! `out of jeopardy` (info) or `lost` (warn). Typical reasons, with the status and the word of the service behind them:
//!
//! | reason | what to do |
//! |---|---|
//! | `no answer within …`, `the service cannot be reached`, `the service did not answer` | look at the network of the process, and at the status page of the service |
//! | `the service has failed` | the same; calls are repeated |
//! | `too many requests` | longer ttls and poll intervals, fewer leases below a prefix; on Google, a second at least between two renewals of a lease |
//! | `the request is refused` | rights or credentials were changed: the message names what is needed |
//! | `the credentials have expired, or this machine's clock is wrong` | renew them, or set the clock |
//! | `no credentials could be obtained` | the identity service of the machine or pod does not answer |
//! | `the store has no record of it`, as the reason of a loss | the object was deleted, by an operator or a lifecycle rule |
//!
//! `the store's clock has jumped, or its servers disagree` (warn): leases are taken over later for a while. If it comes again and again,
//! a proxy sets `Date`: let `Contenders` judge. `the bucket keeps old versions` (warn): see [What stays behind](#what-stays-behind).
//!
//! # What it needs
//!
//! A bucket or container, and these rights below the prefix. Deleting is not needed, except on Google Cloud Storage.
//!
//! | | rights | credentials from the environment |
//! |---|---|---|
//! | S3 | `s3:GetObject`, `s3:PutObject` on the objects; `s3:ListBucket` on the bucket, without which S3 answers a missing object like a forbidden one; `kms:GenerateDataKey` and `kms:Decrypt` on the key of a bucket that is encrypted with one of KMS | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`), as on EKS; a pod identity or task role (`AWS_CONTAINER_CREDENTIALS_…`); else the instance profile. `AWS_REGION`; `AWS_ENDPOINT_URL` for other services. Profiles in `~/.aws` are not read |
//! | Azure | the role *Storage Blob Data Contributor* on the container, or a SAS with read, create, write and list | `AZURE_STORAGE_ACCOUNT_NAME`, and one of: `AZURE_STORAGE_ACCOUNT_KEY`; `AZURE_STORAGE_SAS_TOKEN`; a service principal (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`); a workload identity (`AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`), as on AKS; else the managed identity, with `AZURE_CLIENT_ID` for one that is assigned by the user |
//! | Google | `storage.objects.get`, `.create`, `.delete` (which overwriting needs), `.list`: the role *Storage Object User* | `GOOGLE_SERVICE_ACCOUNT` (a path), `GOOGLE_SERVICE_ACCOUNT_KEY` (JSON), `GOOGLE_APPLICATION_CREDENTIALS`; else those of `gcloud`, and then of the machine or the workload identity |
//!
//! [`ObjectLeaseStoreOptions::with_option`] sets all of these by the driver's keys.
//!
//! # What stays behind
//!
//! An object of some hundred bytes stays for every name that was ever leased, and the probe. [`ObjectLeaseStore::purge`] makes records
//! smaller and deletes none, because these services, or the driver, do not delete on condition of a version. A lifecycle rule may
//! delete objects below the prefix that were not written for 30 days, or for ten times the longest ttl if that is longer. Not with
//! `Contenders`: without the record, tokens begin anew.
//!
//! In a bucket with **versioning** every renewal adds a version, 8 640 a day and lease. Let a lifecycle rule delete noncurrent versions
//! after a day. Connecting logs a warning where the service shows it, on S3 and Azure.
//!
//! With **soft delete**, what a renewal overwrites is kept and charged, too, and nothing warns of it: 7 days by default on Google Cloud
//! Storage, where it is on for every new bucket, and in Azure accounts where it is on. At 8 640 renewals a day that is 60 000 copies of
//! each lease. Switch it off for the bucket of the leases, or keep them in a bucket or account without it; lifecycle rules do not
//! shorten it.
//!
//! # Commands for operators
//!
//! ```sh
//! aws s3 ls s3://my-bucket/leases/                        # all names that were ever leased
//! aws s3 cp 's3://my-bucket/leases/nightly!2Dreport' -    # who has it, until when, and its token; quoted, because of the `!`
//! ```
//!
//! [`ObjectLeaseStore::key`] returns the key of a name.
//! To end a grant without losing exclusion, use [`LeaseClient::break_lease`](lease_core::LeaseClient::break_lease) with `AfterExpiry`.
//! To delete the object is to break the lease at once: there is no exclusion until its holder's next renewal.

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

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
