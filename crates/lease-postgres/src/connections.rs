//! Calls: how a statement is run, and what becomes of its connection.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use lease_core::{ErrorKind, GrantId, Result};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgDatabaseError, PgRow, PgSeverity},
};

use crate::{
    PostgresStoreOptions,
    connector::Connector,
    error::{classify, here},
    pool::{Lent, Pool, in_time},
    statement::{Bound, Statement, Value},
    url,
};

/// How long an answer is waited for beyond the time that the statement may take. The server ends a statement by itself, but it may
/// be frozen or cut off, or its commit may wait for a standby.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// How long the end of a transaction that failed is waited for.
const SETTLING: Duration = Duration::from_secs(1);

/// Connects by a URL. One connection is tried, so that what is wrong is said at once and in its own words.
pub(crate) async fn open(url: &str, options: &PostgresStoreOptions) -> Result<Connections> {
    const OPERATION: &str = "connect";
    let server = url::parse(url).map_err(|why| here(ErrorKind::Invalid, OPERATION, why))?;
    let connections = Connections::new(Connector::new(server), options);
    match connections.begin().await {
        Ok(call) => call.finish(),
        Err(failure) => return Err(classify(OPERATION, &connections.pool.connector().place(), failure)),
    }
    Ok(connections)
}

/// How far a failed call had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There was no connection.
    No,
    /// The statement may have reached the server.
    Perhaps,
}

/// What a call does with the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) source: sqlx::Error,
    pub(crate) sent: Sent,
    pub(crate) access: Access,
}

impl Failure {
    /// The answer came, and could not be read: a defect.
    pub(crate) fn unreadable(source: sqlx::Error) -> Self {
        Self { source, sent: Sent::Perhaps, access: Access::Write }
    }

    /// The server's code for what went wrong.
    pub(crate) fn sqlstate(&self) -> Option<String> {
        sqlstate(&self.source)
    }

    /// Whether rows were locked by somebody else: a single one, or so many that the time of the statement was over.
    pub(crate) fn is_locked(&self) -> bool {
        self.sqlstate().as_deref() == Some("55P03") || self.is_out_of_time()
    }

    /// Whether the time of the statement was over.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.sqlstate().as_deref() == Some("57014")
    }
}

pub(crate) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Whether the server says that it is a replica, or read-only.
pub(crate) fn is_of_replica(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    error.is_some_and(|error| match error.code() {
        "25006" => true,
        // A transaction that begins as one that writes: it is the only setting of a message that the server may refuse with this code.
        "0A000" => {
            error.routine().is_some_and(|routine| routine == "call_bool_check_hook" || routine.contains("read_only"))
        }
        _ => false,
    })
}

/// Whether a prepared statement is older than the table: "cached plan must not change result type".
fn is_outdated_plan(error: &sqlx::Error) -> bool {
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    // By the place in the server: the words depend on its language, and the code stands for much else.
    error.is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

/// Whether the server said by this error that it ended the session: what came before may have been committed.
pub(crate) fn is_end_of_session(error: &sqlx::Error) -> bool {
    let severity = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
        .map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

/// The store's connections.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pool: Arc<Pool>,
    prepared_statements: bool,
    /// The number of the next call. No other store begins at the same.
    calls: Arc<AtomicI64>,
}

impl Connections {
    pub(crate) fn new(connector: Connector, options: &PostgresStoreOptions) -> Self {
        let pool = Pool::new(Arc::new(connector), options.max_connections, options.connect_timeout);
        // Half of the numbers, so that they stay positive.
        let first = (GrantId::random().as_u128() >> 66) as i64;
        let calls = Arc::new(AtomicI64::new(first));
        Self { pool: Arc::new(pool), prepared_statements: options.prepared_statements, calls }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn prepares(&self) -> bool {
        self.prepared_statements && !self.pool.connector().is_behind_pooler()
    }

    /// Runs a statement as a transaction by itself, and reads its answer to the end: only the end says that it was committed.
    pub(crate) async fn run(
        &self,
        access: Access,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, Failure> {
        let mut call = self.begin().await?;
        let number = self.next_call();
        let outcome = if self.prepares() {
            call.run_prepared(statement, values, number).await
        } else {
            call.run_as_message(Bound::Usual, statement.message(access, Bound::Usual, values, number)).await
        };
        call.answered(self.of_this_call(statement, number, outcome), access).await
    }

    /// As [`Connections::run`], for statements that go through the table and may take longer than the others.
    pub(crate) async fn run_for(
        &self,
        bound: Bound,
        access: Access,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, Failure> {
        let mut call = self.begin().await?;
        let number = self.next_call();
        let outcome = call.run_as_message(bound, statement.message(access, bound, values, number)).await;
        call.answered(self.of_this_call(statement, number, outcome), access).await
    }

    fn next_call(&self) -> i64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// An answer that belongs to another call is not believed, and its connection ends (S25): a driver or a pooler may have
    /// lost count.
    fn of_this_call(
        &self,
        statement: &Statement,
        number: i64,
        outcome: Result<Vec<PgRow>, sqlx::Error>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let rows = outcome?;
        if statement.is_answer(number, &rows) {
            return Ok(rows);
        }
        let place = self.pool.connector().place();
        tracing::error!(store = crate::STORE, place, "an answer belonged to another call: the connection ends");
        Err(another_calls())
    }

    pub(crate) async fn begin(&self) -> Result<Call, Failure> {
        match self.pool.get().await {
            Ok(lent) => Ok(Call {
                pool: Arc::clone(&self.pool),
                lent: Some(lent),
                is_in_block: false,
                longest: Bound::Usual.longest(),
            }),
            Err(source) => Err(Failure { source, sent: Sent::No, access: Access::Read }),
        }
    }
}

/// What is said of an answer that does not belong to its call.
pub(crate) fn another_calls() -> sqlx::Error {
    sqlx::Error::Protocol("the answer belonged to another call".to_owned())
}

/// Waits for the answer to a statement of this bound.
async fn answer_to<T>(bound: Bound, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    answer_within(bound.longest() + ANSWER, work).await
}

/// Waits for an answer for so long.
pub(crate) async fn answer_within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    in_time(limit, work).await.unwrap_or_else(|| {
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))))
    })
}

/// Whether nothing was heard: the statement may be at work yet.
fn is_no_answer(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// A connection that a call is on. Dropped before the call has come to its end, it is closed (S24).
#[derive(Debug)]
pub(crate) struct Call {
    pool: Arc<Pool>,
    lent: Option<Lent>,
    /// Whether an error leaves the session in a transaction block.
    is_in_block: bool,
    /// How long it may be at work on the server after it was abandoned.
    longest: Duration,
}

impl Call {
    #[allow(clippy::expect_used, reason = "it is taken only by what consumes the call")]
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.lent.as_mut().expect("a call has its connection until its end").connection
    }

    /// Runs a statement that is prepared once for the connection, and anew where its answer would have other types by now, because other
    /// software has changed the table. Nothing was done then.
    async fn run_prepared(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
        number: i64,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let outcome = answer_to(Bound::Usual, statement.query(values, number).fetch_all(self.connection())).await;
        if !outcome.as_ref().is_err_and(is_outdated_plan) {
            return outcome;
        }
        answer_to(Bound::Usual, self.connection().clear_cached_statements()).await?;
        answer_to(Bound::Usual, statement.query(values, number).fetch_all(self.connection())).await
    }

    /// Runs a whole transaction that is one message: the server never waits for us while it has a row locked.
    async fn run_as_message(&mut self, bound: Bound, message: String) -> Result<Vec<PgRow>, sqlx::Error> {
        self.is_in_block = true;
        self.longest = bound.longest();
        answer_to(bound, sqlx::raw_sql(AssertSqlSafe(message)).fetch_all(self.connection())).await
    }

    async fn answered(self, outcome: Result<Vec<PgRow>, sqlx::Error>, access: Access) -> Result<Vec<PgRow>, Failure> {
        match outcome {
            Ok(rows) => {
                self.finish();
                Ok(rows)
            }
            Err(source) => Err(self.failed(source, access).await),
        }
    }

    /// The call has come to its end; the connection goes back.
    pub(crate) fn finish(mut self) {
        if let Some(lent) = self.lent.take() {
            self.pool.put(lent);
        }
    }

    /// The call has failed. The connection goes back only where the server itself said so and goes on, outside of any
    /// transaction (class 25).
    ///
    /// The server tells the error first and ends the transaction afterwards. That end is waited for: until then it keeps the
    /// locks that it had, and a second try would meet them.
    pub(crate) async fn failed(mut self, source: sqlx::Error, access: Access) -> Failure {
        if is_no_answer(&source) {
            return Failure { source, sent: Sent::Perhaps, access };
        }
        let goes_on = !is_end_of_session(&source)
            && !is_of_replica(&source)
            && sqlstate(&source).is_some_and(|code| !["57P", "08", "25"].iter().any(|end| code.starts_with(end)));
        if goes_on && in_time(SETTLING, self.settle()).await.is_some_and(|outcome| outcome.is_ok()) {
            self.finish();
        } else {
            // Not abandoned: there is no answer to come.
            drop(self.lent.take());
        }
        Failure { source, sent: Sent::Perhaps, access }
    }

    async fn settle(&mut self) -> Result<(), sqlx::Error> {
        if self.is_in_block {
            sqlx::raw_sql("rollback").execute(self.connection()).await.map(|_| ())
        } else {
            self.connection().ping().await
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.abandon(self.longest);
        }
    }
}
