//! Reading leases.

use std::time::Duration;

use lease_core::{LeaseName, LeaseRecord, Result};

use crate::{
    Documents, Page,
    attempt::{Attempt, Look},
    shared::Shared,
};

/// The most documents of a page.
pub(crate) const PAGE: usize = 256;

pub(crate) async fn inspect<D: Documents>(shared: &Shared<D>, name: &LeaseName) -> Result<Option<LeaseRecord>> {
    match Attempt::new(shared, "inspect", name).look().await? {
        Look::Absent => Ok(None),
        Look::Found(seen) | Look::Written(seen) => Ok(seen.inspect(name)),
    }
}

/// Reads the page behind a name, and sets that to the last name of the page. Returns `None` if there is nothing behind it.
pub(crate) async fn next_page<D: Documents>(
    shared: &Shared<D>,
    prefix: &str,
    after: &mut Option<LeaseName>,
    limit: usize,
) -> Result<Option<Page>> {
    let sent = shared.now();
    let page = shared.documents.list(prefix, after.as_ref(), limit).await?;
    shared.hear(sent, page.clock).await?;
    let Some((last, _)) = page.documents.last() else { return Ok(None) };
    *after = Some(last.clone());
    Ok(Some(page))
}

/// Reads pages until there are enough leases in force, or no more documents.
pub(crate) async fn list<D: Documents>(
    shared: &Shared<D>,
    prefix: &str,
    after: Option<&LeaseName>,
    limit: usize,
) -> Result<Vec<LeaseRecord>> {
    let (mut leases, mut after) = (Vec::new(), after.cloned());
    while leases.len() < limit {
        let Some(page) = next_page(shared, prefix, &mut after, PAGE.min(limit.max(16))).await? else { break };
        for (name, document) in page.documents {
            let seen = shared.see(shared.context("list", &name), document, Duration::ZERO)?;
            leases.extend(seen.inspect(&name));
        }
        if !page.has_more {
            break;
        }
    }
    leases.truncate(limit);
    Ok(leases)
}
