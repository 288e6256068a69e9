//! A guard inside the application's own transaction.

use lease_core::{ErrorKind, FencingToken, LeaseName, Result};
use sqlx::{Postgres, Row, Transaction};

use crate::{
    PostgresStore,
    connections::{Access, Failure, Sent},
    error::here,
};

impl PostgresStore {
    /// Lets a transaction in **the same database** commit only while the lease is held: real exclusion for the data in it,
    /// also against a holder that was paused.
    ///
    /// It locks the lease's row against everybody who would take it over, and checks that the grant with this token is in
    /// force. Make it the **last statement before the commit**: until the transaction ends, the row's lock is in the way of
    /// the lease's own renewal, too, and a transaction that stays open for longer costs the lease. Nobody gets it before
    /// that transaction has ended, though.
    ///
    /// A transaction that is `repeatable read` or `serializable` fails here (`Unavailable`) when the lease was renewed since the
    /// transaction began, as with any row that changed; repeat it, or use `read committed`, the default.
    ///
    /// For data elsewhere send the token with the write: `update … set fence = $token where id = … and fence <= $token`.
    ///
    /// ```no_run
    /// # use lease_core::{FencingToken, LeaseName};
    /// # use lease_postgres::PostgresStore;
    /// # async fn example(
    /// #     store: PostgresStore, pool: sqlx::PgPool, name: LeaseName, token: FencingToken,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// // `name` and `token` are those of the lease: lease.name(), lease.token()
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("update reports set state = 'done' where id = 7").execute(&mut *transaction).await?;
    /// store.fence(&mut transaction, &name, token).await?;
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Lost`: the lease is not held with this token any more; roll back. Otherwise as every operation: roll back, too, which
    /// dropping the transaction does.
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
        const OPERATION: &str = "fence";
        let version = i64::try_from(token.get()).unwrap_or(i64::MAX);
        let query = sqlx::query(self.0.statements().fence.clone())
            .persistent(self.0.prepares())
            .bind(name.as_str())
            .bind(version);
        let is_held = match query.fetch_all(&mut **transaction).await {
            Ok(rows) => match rows.first() {
                Some(row) => row.try_get("is_held"),
                None => Ok(false),
            },
            Err(source) => Err(source),
        };
        match is_held {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!("the lease {name} is not held with the token {token} any more: roll back");
                Err(here(ErrorKind::Lost, OPERATION, message))
            }
            // Nothing is done before the commit.
            Err(source) => Err(self.0.error(OPERATION, Failure { source, sent: Sent::Perhaps, access: Access::Read })),
        }
    }
}
