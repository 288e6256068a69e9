//! Lists leases: by the index if it is complete, and otherwise by a scan of the database.

mod index;
mod missing;
mod scan;

use std::sync::Arc;

use lease_core::{ErrorKind, LeaseName, LeaseRecord, Result};

pub(crate) use self::index::Index;
use self::scan::scan;
use crate::{error::redis_error, shared::Shared};

/// The name of the operation in errors.
const LIST: &str = "list";

/// How many scans are attempted while the database changes meanwhile.
const MAX_SCANS: u32 = 3;

/// Returns at most `limit` leases in force whose names begin with `prefix` and come after `after`, in order.
pub(crate) async fn list(
    shared: &Shared,
    index: &Arc<Index>,
    prefix: &str,
    after: Option<&LeaseName>,
    limit: usize,
) -> Result<Vec<LeaseRecord>> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    if let Some(records) = index.list(prefix, after, limit).await? {
        return Ok(records);
    }
    for _ in 0..MAX_SCANS {
        if let Some(records) = scan(shared, prefix, after, limit).await? {
            return Ok(records);
        }
    }
    let message = format!(
        "{} was reconnected, or slots were moved to another server, during the scan: try again",
        shared.connections().server()
    );
    Err(redis_error(ErrorKind::Unavailable, LIST, message))
}
