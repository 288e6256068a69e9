//! One call: a connection in use, and what becomes of it.

use std::{io, sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgRow};

use super::{
    connector::Connector,
    pool::{Pool, Pooled},
};
use crate::{
    failure::{Access, Failure, Sent},
    sql::{Statement, StatementTimeout, Value},
    sqlstate::{is_end_of_session, is_from_replica, is_outdated_plan, sqlstate},
    timeout::within,
};

/// How long an answer is waited for beyond the time-out of the statement. The server ends a statement by itself, but it may be
/// frozen or cut off, or its commit may wait for a standby.
pub(crate) const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// How long the end of a failed transaction is waited for.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// A call in progress. If it is dropped before its end, its connection is closed (S24).
#[derive(Debug)]
pub(crate) struct Call {
    pool: Arc<Pool<Connector>>,
    pooled: Option<Pooled<PgConnection>>,
    /// Whether an error leaves the session in a transaction block.
    is_in_block: bool,
    /// How long the statement may run on the server after the call was abandoned.
    statement_timeout: StatementTimeout,
}

impl Call {
    /// Begins a call on a connection of the pool.
    pub(super) async fn begin(pool: &Arc<Pool<Connector>>) -> Result<Self, Failure> {
        match pool.get().await {
            Ok(pooled) => Ok(Self {
                pool: Arc::clone(pool),
                pooled: Some(pooled),
                is_in_block: false,
                statement_timeout: StatementTimeout::Usual,
            }),
            Err(source) => Err(Failure { source, sent: Sent::No, access: Access::Read }),
        }
    }

    #[allow(clippy::expect_used, reason = "it is taken only by what consumes the call")]
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.pooled.as_mut().expect("a call has its connection until its end").connection
    }

    /// Runs a statement that is prepared once for the connection. It is prepared anew if other software has changed the table, so
    /// that the types of the answer have changed; nothing was done then.
    pub(super) async fn run_prepared(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
        number: i64,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let timeout = StatementTimeout::Usual;
        let outcome = answer_to(timeout, statement.query(values, number).fetch_all(self.connection())).await;
        if !outcome.as_ref().is_err_and(is_outdated_plan) {
            return outcome;
        }
        answer_to(timeout, self.connection().clear_cached_statements()).await?;
        answer_to(timeout, statement.query(values, number).fetch_all(self.connection())).await
    }

    /// Runs a whole transaction that is one message, so that the server never waits for this process while a row is locked.
    pub(super) async fn run_as_message(
        &mut self,
        timeout: StatementTimeout,
        message: String,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        self.is_in_block = true;
        self.statement_timeout = timeout;
        answer_to(timeout, sqlx::raw_sql(AssertSqlSafe(message)).fetch_all(self.connection())).await
    }

    /// Ends the call with the outcome of its statement.
    pub(super) async fn end(
        self,
        outcome: Result<Vec<PgRow>, sqlx::Error>,
        access: Access,
    ) -> Result<Vec<PgRow>, Failure> {
        match outcome {
            Ok(rows) => {
                self.finish();
                Ok(rows)
            }
            Err(source) => Err(self.fail(source, access).await),
        }
    }

    /// Ends a call that was answered; the connection is returned to the pool.
    pub(crate) fn finish(mut self) {
        if let Some(pooled) = self.pooled.take() {
            self.pool.put(pooled);
        }
    }

    /// Ends a call that failed. The connection is returned to the pool only if the server itself reported the error and keeps the
    /// session, and the error does not say that the session was in a transaction already (class 25).
    ///
    /// The server reports the error first and ends the transaction afterwards. That end is waited for: until then the transaction
    /// keeps its locks, and a second try would meet them.
    pub(crate) async fn fail(mut self, source: sqlx::Error, access: Access) -> Failure {
        if is_no_answer(&source) {
            return Failure { source, sent: Sent::Perhaps, access };
        }
        let is_usable = !is_end_of_session(&source)
            && !is_from_replica(&source)
            && sqlstate(&source).is_some_and(|code| !["57P", "08", "25"].iter().any(|end| code.starts_with(end)));
        if is_usable && within(ROLLBACK_TIMEOUT, self.roll_back()).await.is_some_and(|outcome| outcome.is_ok()) {
            self.finish();
        } else {
            // Closed, not abandoned: no answer is outstanding.
            drop(self.pooled.take());
        }
        Failure { source, sent: Sent::Perhaps, access }
    }

    async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        if self.is_in_block {
            sqlx::raw_sql("rollback").execute(self.connection()).await.map(|_| ())
        } else {
            self.connection().ping().await
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(pooled) = self.pooled.take() {
            pooled.abandon(self.statement_timeout.duration());
        }
    }
}

/// Waits for the answer to a statement.
async fn answer_to<T>(
    timeout: StatementTimeout,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within_or_timed_out(timeout.duration() + ANSWER_GRACE, work).await
}

/// Waits for an answer, at most for `limit`.
pub(crate) async fn within_or_timed_out<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    within(limit, work).await.unwrap_or_else(|| {
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))))
    })
}

/// Returns whether there was no answer: the statement may still run.
fn is_no_answer(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}
