//! Removes the rows of names that are not leased any more.

use std::time::Duration;

use lease_core::{ErrorKind, Result};
use sqlx::Row;

use crate::{
    PostgresStore,
    error::store_error,
    failure::{Access, Failure},
    sql::{StatementTimeout, in_microseconds},
};

/// How many names one statement goes through.
const BATCH: i64 = 1000;

/// The smallest age of a row that may be purged. No request is delayed for so long, by a network or a suspended process, while
/// its sender still waits for the answer.
const MIN_AGE: Duration = Duration::from_secs(3600);

impl PostgresStore {
    /// Removes the rows of leases that expired or were released at least `older_than` ago, in batches. Returns the number of
    /// removed rows. Correctness does not require it: a row is small, and there is one per name. The call reads all rows of the
    /// table.
    ///
    /// Tokens keep rising, because they follow the server's clock (S10); a row whose token is ahead of that clock is kept. The
    /// nonce of the last grant is removed with its row, so `older_than` must be at least an hour: well above the time for which a
    /// request can be delayed (S13).
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Invalid`] if `older_than` is less than an hour.
    /// * [`ErrorKind::Unavailable`] if the server cannot be reached, or any other kind of a failed call. Rows that were removed
    ///   before the failure stay removed.
    ///
    /// # Cancel safety
    ///
    /// Rows that were removed before stay removed.
    pub async fn purge(&self, older_than: Duration) -> Result<u64> {
        const OPERATION: &str = "purge";
        if older_than < MIN_AGE {
            let message = format!(
                "a row is kept for at least {MIN_AGE:?} after its end, so that no delayed request is granted a second time: pass at \
                 least that instead of {older_than:?}"
            );
            return Err(store_error(ErrorKind::Invalid, OPERATION, message));
        }
        let shared = &self.0;
        let statement = &shared.statements().purge;
        let (mut after, mut removed) = (None::<String>, 0);
        loop {
            let values = [after.as_deref().into(), in_microseconds(older_than).into(), BATCH.into()];
            let timeout = StatementTimeout::PurgeBatch;
            let rows = shared.connections().run_for(timeout, Access::Write, statement, &values).await;
            let batch = rows.and_then(|rows| {
                let row = rows.first().ok_or_else(|| Failure::unreadable(sqlx::Error::RowNotFound))?;
                let last: Option<String> = row.try_get("last_name").map_err(Failure::unreadable)?;
                Ok((last, row.try_get::<i64, _>("removed").map_err(Failure::unreadable)?))
            });
            let (last, count) = batch.map_err(|failure| shared.error(OPERATION, failure))?;
            removed += u64::try_from(count).unwrap_or(0);
            if last.is_none() {
                return Ok(removed);
            }
            after = last;
        }
    }
}
