//! Fences: a guard inside the application's own transaction.

use lease_core::{ErrorKind, FencingToken, LeaseHandle, LeaseName, Result};
use sqlx::{Postgres, Row, Transaction};

use crate::{
    PostgresStore,
    error::store_error,
    failure::{Access, Failure, Sent},
};

const OPERATION: &str = "fence";

impl PostgresStore {
    /// Lets a transaction in **the same database** commit only while the lease is held. This is real exclusion for the data in
    /// that database, even against a holder that was paused.
    ///
    /// The table must have the index that [`PostgresStore::migrate`] creates if the options have
    /// [`fences`](crate::PostgresStoreOptions::fences) on. Every process may then fence.
    ///
    /// The fence locks the lease's row against a take-over, and checks that the grant with this token is in force. Make it the
    /// **last statement before the commit**, as [`PostgresStore::commit_fenced`] does: no other holder is granted the lease
    /// before the transaction has ended, even if the lease expires meanwhile. Renewals are not blocked.
    ///
    /// In a `repeatable read` or `serializable` transaction, the fence fails with [`ErrorKind::Unavailable`] if the lease was
    /// renewed since the transaction began, as for any row that has changed. Repeat the transaction, or use `read committed`, the
    /// default.
    ///
    /// For data elsewhere, send the token with the write: `update … set fence = $token where id = … and fence <= $token`.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Lost`] if the lease is no longer held with this token.
    /// * [`ErrorKind::Invalid`] if the table lacks the index.
    /// * [`ErrorKind::Unavailable`] if the server cannot be reached, or any other kind of a failed call.
    ///
    /// After any error the transaction must be rolled back; dropping it does so.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the transaction must be rolled back.
    pub async fn fence(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        name: &LeaseName,
        token: FencingToken,
    ) -> Result<()> {
        let shared = &self.0;
        let version = i64::try_from(token.get()).unwrap_or(i64::MAX);
        let query = shared.statements().fence.query(&[name.as_str().into(), version.into()], 0);
        let answer = match query.persistent(shared.connections().prepares()).fetch_all(&mut **transaction).await {
            Ok(rows) => rows.first().map(|row| Ok((row.try_get("is_held")?, row.try_get("is_kept")?))).transpose(),
            Err(source) => Err(source),
        };
        match answer {
            Ok(Some((true, true))) => Ok(()),
            Ok(Some((true, false))) => {
                let message = format!(
                    "the table {} has no unique index with the version, without which a fence protects nothing: create it with \
                     PostgresStore::migrate() of a store whose options have fences on, or by hand with the text of its \
                     PostgresStore::ddl(). Roll back",
                    shared.table().quoted()
                );
                Err(store_error(ErrorKind::Invalid, OPERATION, message))
            }
            Ok(_) => {
                let message = format!("the lease {name} is no longer held with the token {token}: roll back");
                Err(store_error(ErrorKind::Lost, OPERATION, message))
            }
            // Nothing is done before the commit.
            Err(source) => Err(shared.error(OPERATION, Failure { source, sent: Sent::Perhaps, access: Access::Read })),
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
    /// * [`ErrorKind::Lost`] if the lease is no longer held; the transaction was rolled back.
    /// * [`ErrorKind::Indeterminate`] if the connection was lost during the commit: the outcome is unknown.
    /// * Otherwise as for [`PostgresStore::fence`]; the transaction was rolled back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the commit was sent, the transaction is rolled back. If it is dropped later, the outcome
    /// is unknown.
    pub async fn commit_fenced(&self, mut transaction: Transaction<'_, Postgres>, lease: &LeaseHandle) -> Result<()> {
        if let Err(error) = self.fence(&mut transaction, lease.name(), lease.token()).await {
            // Best effort: if it fails, the connection is broken, which ends the transaction as well.
            let _ = transaction.rollback().await;
            return Err(error);
        }
        let outcome = transaction.commit().await;
        outcome
            .map_err(|source| self.0.error(OPERATION, Failure { source, sent: Sent::Perhaps, access: Access::Write }))
    }

    /// Returns the statement of [`PostgresStore::fence`], for transactions of other drivers.
    ///
    /// Its parameters are `$1`, the name of the lease (`text`), and `$2`, its token (`bigint`). Commit only if it returns a row
    /// whose two columns, `is_held` and `is_kept`, are both true; otherwise roll back.
    #[must_use]
    pub fn fence_sql(&self) -> &str {
        self.0.statements().fence.text().as_str()
    }
}
