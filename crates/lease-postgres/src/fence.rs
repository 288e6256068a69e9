//! A guard inside the application's own transaction.

use lease_core::{ErrorKind, FencingToken, LeaseHandle, LeaseName, Result};
use sqlx::{Postgres, Row, Transaction};

use crate::{
    PostgresStore,
    connections::{Access, Failure, Sent},
    error::here,
};

const OPERATION: &str = "fence";

impl PostgresStore {
    /// Lets a transaction in **the same database** commit only while the lease is held: real exclusion for the data in it,
    /// also against a holder that was paused.
    ///
    /// The table must have the index that [`PostgresStore::migrate`] makes where the options have
    /// [`fences`](crate::PostgresStoreOptions::fences) on; every process may then fence.
    ///
    /// It locks the lease's row against everybody who would take it over, and checks that the grant with this token is in
    /// force. Make it the **last statement before the commit**, as [`PostgresStore::commit_fenced`] does: nobody gets the lease
    /// before the transaction has ended, also when it has expired meanwhile. Renewals pass beside it.
    ///
    /// A transaction that is `repeatable read` or `serializable` fails here (`Unavailable`) when the lease was renewed since the
    /// transaction began, as with any row that changed; repeat it, or use `read committed`, the default.
    ///
    /// For data elsewhere send the token with the write: `update … set fence = $token where id = … and fence <= $token`.
    ///
    /// # Errors
    ///
    /// `Lost`: the lease is not held with this token any more; roll back. `Invalid`: the table lacks that index. Otherwise as every
    /// operation: roll back, too, which dropping the transaction does.
    ///
    /// # Cancel safety
    ///
    /// The transaction must be rolled back when it is dropped before its end.
    pub async fn fence(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        name: &LeaseName,
        token: FencingToken,
    ) -> Result<()> {
        let version = i64::try_from(token.get()).unwrap_or(i64::MAX);
        let statement = &self.0.statements().fence;
        let query = statement.query(&[name.as_str().into(), version.into()], 0).persistent(self.0.prepares());
        let answer = match query.fetch_all(&mut **transaction).await {
            Ok(rows) => rows.first().map(|row| Ok((row.try_get("is_held")?, row.try_get("is_kept")?))).transpose(),
            Err(source) => Err(source),
        };
        match answer {
            Ok(Some((true, true))) => Ok(()),
            Ok(Some((true, false))) => {
                let message = format!(
                    "the table {} has no unique index with the version, without which a fence is worth nothing: create it with \
                     PostgresStore::migrate() of a store whose options have fences on, or by hand with the text that its \
                     PostgresStore::ddl() gives. Roll back",
                    self.0.table().quoted()
                );
                Err(here(ErrorKind::Invalid, OPERATION, message))
            }
            Ok(_) => {
                let message = format!("the lease {name} is not held with the token {token} any more: roll back");
                Err(here(ErrorKind::Lost, OPERATION, message))
            }
            // Nothing is done before the commit.
            Err(source) => Err(self.0.error(OPERATION, Failure { source, sent: Sent::Perhaps, access: Access::Read })),
        }
    }

    /// Commits a transaction in **the same database** if the lease is held, and rolls it back otherwise: see
    /// [`PostgresStore::fence`].
    ///
    /// ```no_run
    /// # use lease_core::Lease;
    /// # use lease_postgres::{PostgresStore, sqlx};
    /// # async fn example(
    /// #     store: PostgresStore, pool: sqlx::PgPool, lease: Lease,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("update reports set state = 'done' where id = 7").execute(&mut *transaction).await?;
    /// store.commit_fenced(transaction, &lease).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Lost`: the lease is not held any more; nothing was done. `Indeterminate`: the connection was lost during the commit.
    /// Otherwise as [`PostgresStore::fence`]; nothing was done then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the commit was sent, nothing is done; dropped later, the outcome is unknown.
    pub async fn commit_fenced(&self, mut transaction: Transaction<'_, Postgres>, lease: &LeaseHandle) -> Result<()> {
        if let Err(error) = self.fence(&mut transaction, lease.name(), lease.token()).await {
            // Best effort: where it fails, the connection is gone, and the transaction with it.
            let _ = transaction.rollback().await;
            return Err(error);
        }
        let outcome = transaction.commit().await;
        outcome
            .map_err(|source| self.0.error(OPERATION, Failure { source, sent: Sent::Perhaps, access: Access::Write }))
    }

    /// The statement of [`PostgresStore::fence`], for transactions of other drivers.
    ///
    /// Its parameters are `$1`, the name of the lease (`text`), and `$2`, its token (`bigint`). Commit only if there is a row and both
    /// of its columns, `is_held` and `is_kept`, are true; otherwise roll back.
    #[must_use]
    pub fn fence_sql(&self) -> &str {
        self.0.statements().fence.text().as_str()
    }
}
