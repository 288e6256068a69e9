//! The trait that a backend implements.

use std::fmt::Debug;

use async_trait::async_trait;
use lease_core::{Error, ErrorKind, LeaseName, Result};

use crate::{About, Changes, Looked, Page, Put, Sample, Version};

/// A store of versioned documents, one for each name. A backend knows nothing of grants, expiry, nonces and tokens:
/// [`DocumentStore`](crate::DocumentStore) makes leases of it.
///
/// * Calls are plain requests. A backend does not repeat them, and has no timeout of its own: the client has both. Switch the
///   retries of a driver off.
/// * An `Err` of [`Unavailable`](ErrorKind::Unavailable) means that the request certainly had no effect, and
///   [`Indeterminate`](ErrorKind::Indeterminate) that this is unknown, as after a broken connection.
/// * An answer that carries the time of the server passes it on as a [`Sample`]: by it expiry is judged. An answer from a cache
///   carries none.
///
/// # Cancel safety
///
/// The future of a call may be dropped at any time. A request that was already sent may then be executed: it is conditional on a
/// version, and the store reads before it concludes anything.
#[async_trait]
pub trait Documents: Debug + Send + Sync + 'static {
    /// Returns what this backend can do. Must return the same value during its life.
    fn about(&self) -> About;

    /// Reads the document of this name, as it is at some moment between the call and its answer. A backend whose reads may be
    /// older must number its versions.
    async fn get(&self, name: &LeaseName) -> Result<Looked>;

    /// Writes the document if it still has the version `expected`, or, with `None`, if there is none. The comparison and the
    /// write are one atomic step in the store.
    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put>;

    /// Reads at most about `limit` documents whose names begin with `prefix` and come after `after`, in the byte order of their
    /// names. Keys that are [escaped](crate::escape) have this order.
    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page>;

    /// Deletes the document if it still has this version, and returns whether it did. Comparison and deletion are one atomic step
    /// in the store. Only [`purge`](crate::DocumentStore::purge) calls it. By default it is
    /// [`Unsupported`](ErrorKind::Unsupported), which is right for every store that ignores the condition of a deletion: `purge`
    /// then reduces the records.
    async fn delete_if(&self, name: &LeaseName, expected: &Version) -> Result<bool> {
        let _ = (name, expected);
        Err(Error::new(ErrorKind::Unsupported, "purge", "this store cannot delete on condition of a version"))
    }

    /// Asks for the store's clock. Called only where answers do not carry it. By default there is none, and expiry is judged by
    /// watching (S2).
    async fn clock(&self) -> Result<Option<Sample>> {
        Ok(None)
    }

    /// Returns the feed of documents that were changed, for a store with push. Called within a runtime, on which the backend may
    /// start to watch; it may be called again. Never blocks. By default there are no hints, and waiters poll.
    fn changes(&self) -> Changes {
        Changes::never()
    }
}
