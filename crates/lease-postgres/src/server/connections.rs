//! Runs statements on the store's connections.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use lease_core::GrantId;
use sqlx::postgres::PgRow;

use super::{call::Call, connector::Connector, pool::Pool};
use crate::{
    PostgresStoreOptions, STORE,
    failure::{Access, Failure, answer_to_another_call},
    sql::{Statement, StatementTimeout, Value},
};

/// The store's connections. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pool: Arc<Pool<Connector>>,
    prepared_statements: bool,
    /// The number of the next call.
    calls: Arc<AtomicI64>,
}

impl Connections {
    pub(crate) fn new(connector: Connector, options: &PostgresStoreOptions) -> Self {
        let pool = Pool::new(Arc::new(connector), options.max_connections, options.connect_timeout);
        // A random start, so that stores behind one pooler have different numbers; small enough that they stay positive.
        let first = (GrantId::random().as_u128() >> 66) as i64;
        let calls = Arc::new(AtomicI64::new(first));
        Self { pool: Arc::new(pool), prepared_statements: options.prepared_statements, calls }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<Connector>> {
        &self.pool
    }

    /// Returns whether statements are prepared.
    pub(crate) fn prepares(&self) -> bool {
        self.prepared_statements && !self.pool.connector().is_behind_pooler()
    }

    /// Runs a statement as a transaction of its own, and reads its answer to the end: only the end says that it was committed.
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
            let timeout = StatementTimeout::Usual;
            call.run_as_message(timeout, statement.message(access, timeout, values, number)).await
        };
        call.end(self.of_this_call(statement, number, outcome), access).await
    }

    /// As [`Connections::run`], for a statement that goes through the table and may take longer.
    pub(crate) async fn run_for(
        &self,
        timeout: StatementTimeout,
        access: Access,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<PgRow>, Failure> {
        let mut call = self.begin().await?;
        let number = self.next_call();
        let outcome = call.run_as_message(timeout, statement.message(access, timeout, values, number)).await;
        call.end(self.of_this_call(statement, number, outcome), access).await
    }

    /// Begins a call that runs its statements itself.
    pub(crate) async fn begin(&self) -> Result<Call, Failure> {
        Call::begin(&self.pool).await
    }

    fn next_call(&self) -> i64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Rejects the answer to another call, so that its connection is closed (S25): a driver or a pooler may mix up answers.
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
        let server = self.pool.connector().server();
        tracing::error!(
            store = STORE,
            server,
            "received the answer to another call, and closed the connection: the driver or a pooler mixes up answers"
        );
        Err(answer_to_another_call())
    }
}
