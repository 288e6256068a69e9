//! Removing the records of names that nobody leases any more.

use std::time::Duration;

use lease_core::{ErrorKind, LeaseName, Result};

use crate::{
    Document, Documents, Version,
    left::watched_for,
    listing::{PAGE, next_page},
    record::Record,
    seen::Seen,
    shared::Shared,
};

/// What a purge has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// The documents that were deleted.
    pub deleted: usize,
    /// The documents that were reduced to the token and the nonce of the last grant, because without them tokens could fall
    /// (S9), or because the store cannot delete on condition of a version.
    pub reduced: usize,
}

pub(crate) async fn purge<D: Documents>(shared: &Shared<D>, prefix: &str, older_than: Duration) -> Result<Purged> {
    let (mut purged, mut after) = (Purged::default(), None);
    let mut can_delete = shared.capabilities.tokens_survive.removal;
    while let Some(page) = next_page(shared, prefix, &mut after, PAGE).await? {
        for (name, document) in page.documents {
            let Some(seen) = ended(shared, &name, document, older_than)? else { continue };
            if can_delete {
                match shared.documents.delete_if(&name, &seen.version).await {
                    Ok(deleted) => {
                        purged.deleted += usize::from(deleted);
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::Unsupported => can_delete = false,
                    Err(error) => return Err(error),
                }
            }
            purged.reduced += usize::from(reduce(shared, &name, seen.next(), &seen.version).await?);
        }
        if !page.has_more {
            break;
        }
    }
    Ok(purged)
}

/// Returns the record if its last grant ended at least `older_than` ago.
fn ended<D: Documents>(
    shared: &Shared<D>,
    name: &LeaseName,
    document: Document,
    older_than: Duration,
) -> Result<Option<Seen>> {
    let seen = shared.see(shared.context("purge", name), document, older_than)?;
    if seen.foreign.is_some() {
        // Another program may still use it.
        return Ok(None);
    }
    let is_old = match (shared.store_time(), seen.record.until()) {
        (Some(time), Some(until)) => time.earliest >= until.saturating_add(older_than),
        // It must have been observed unchanged for as long (S2).
        _ => {
            let needed = watched_for(seen.record.lasts()).saturating_add(older_than);
            shared.observed_for(name, &seen.version) >= needed
        }
    };
    Ok((is_old && !seen.is_in_force()).then_some(seen))
}

/// Reduces the record on condition that nobody has changed it. Returns whether it did.
async fn reduce<D: Documents>(
    shared: &Shared<D>,
    name: &LeaseName,
    mut record: Record,
    expected: &Version,
) -> Result<bool> {
    // The end stays as it is: the next purge must not take this write for a new grant.
    if !record.reduce() {
        return Ok(false);
    }
    let context = shared.context("purge", name);
    let bytes = record.next_bytes().map_err(|error| context.not_serialized(error))?;
    Ok(shared.documents.put_if(name, bytes, Some(expected)).await?.version.is_some())
}
