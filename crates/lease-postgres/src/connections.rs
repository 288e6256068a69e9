//! Connections: how they are made, lent, and never used again after an abandoned call.

use std::{str::FromStr, sync::Arc, time::Duration};

use lease_core::{Clock, ErrorKind, Result, SystemClock};
use sqlx::{
    Connection, PgConnection, PgPool, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query::Query,
};

use crate::{
    PostgresStoreOptions,
    error::{classify, here},
    idle::{Idle, Out},
};

/// A connection that was idle for longer than this is tried before it is used: the server may have restarted.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A pool of the store's own. One connection is tried, so that what is wrong is said in its own words: a pool would retry
/// until its time is over and say only that.
pub(crate) async fn open(url: &str, options: &PostgresStoreOptions) -> Result<PgPool> {
    const OPERATION: &str = "connect";
    let server = parse(url).ok_or_else(|| {
        // The URL is not repeated, nor what the parser says of it: it has the password in it.
        here(
            ErrorKind::Invalid,
            OPERATION,
            "the URL of the server cannot be read: write postgres://user:password@host:port/database?sslmode=…, with the \
             special characters of the user and the password percent-encoded",
        )
    })?;
    let clock = SystemClock;
    let deadline = clock.now() + options.connect_timeout;
    let connection = tokio::select! {
        connection = PgConnection::connect_with(&server) => connection,
        () = clock.sleep_until(deadline) => Err(sqlx::Error::PoolTimedOut),
    };
    match connection {
        // Its end is not waited for for long: a server that stalls here has answered already.
        Ok(connection) => tokio::select! {
            _ = connection.close() => {}
            () = clock.sleep_until(deadline) => {}
        },
        Err(source) => {
            return Err(classify(
                OPERATION,
                &server_of(&server),
                Failure { source, sent: Sent::No, access: Access::Read },
            ));
        }
    }
    Ok(PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(options.connect_timeout)
        // A test before each use would double the round trips of every operation.
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > TRUSTED_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(server))
}

fn parse(url: &str) -> Option<PgConnectOptions> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return None;
    }
    // An unencoded `/`, `?` or `#` in the password ends the host too early; the rest of the password would be taken for
    // parameters and show up in logs.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if !authority.contains('@') && rest.contains('@') {
        return None;
    }
    let options = PgConnectOptions::from_str(url).ok()?;
    Some(if options.get_application_name().is_none() { options.application_name("lease-postgres") } else { options })
}

fn server_of(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => format!("the server at {}", socket.display()),
        None => format!("the server at {}:{}", options.get_host(), options.get_port()),
    }
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
        self.source.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
    }
}

/// The store's connections.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pool: PgPool,
    idle: Arc<Idle>,
    prepared_statements: bool,
}

impl Connections {
    pub(crate) fn new(pool: PgPool, prepared_statements: bool) -> Self {
        Self { idle: Arc::new(Idle::new(pool.clone())), pool, prepared_statements }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn prepares(&self) -> bool {
        self.prepared_statements
    }

    /// Runs a statement as a transaction by itself, and reads its answer to the end: only the end says that it was committed.
    pub(crate) async fn run(
        &self,
        access: Access,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Failure> {
        let mut call = self.begin().await?;
        let outcome = if self.prepared_statements {
            query.fetch_all(call.connection()).await
        } else {
            run_unprepared(call.connection(), query).await
        };
        match outcome {
            Ok(rows) => {
                call.finish();
                Ok(rows)
            }
            Err(source) => Err(call.failed(source, access).await),
        }
    }

    pub(crate) async fn begin(&self) -> Result<Call, Failure> {
        match self.idle.get().await {
            Ok(out) => Ok(Call { idle: Arc::clone(&self.idle), out: Some(out) }),
            Err(source) => Err(Failure { source, sent: Sent::No, access: Access::Read }),
        }
    }
}

/// Preparing and executing are two messages with an answer each, between which a pooler may change the server, unless they
/// are in one transaction.
async fn run_unprepared(
    connection: &mut PgConnection,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    match query.persistent(false).fetch_all(&mut *transaction).await {
        Ok(rows) => transaction.commit().await.map(|()| rows),
        Err(error) => {
            if error.as_database_error().is_some() {
                transaction.rollback().await?;
            }
            Err(error)
        }
    }
}

/// A connection that a call is on. Dropped before the call has come to its end, it is closed: the answer of that call would
/// be read as the answer of the next (S24).
#[derive(Debug)]
pub(crate) struct Call {
    idle: Arc<Idle>,
    out: Option<Out>,
}

impl Call {
    #[allow(clippy::expect_used, reason = "it is taken only by what consumes the call")]
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.out.as_mut().expect("a call has its connection until its end").connection
    }

    /// The call has come to its end; the connection goes back.
    pub(crate) fn finish(mut self) {
        if let Some(out) = self.out.take() {
            self.idle.put(out);
        }
    }

    /// The call has failed. The connection goes back only where the server itself said so and goes on.
    ///
    /// The server tells the error first and ends the transaction afterwards. That end is waited for: until then it keeps the
    /// locks that it had, and a second try would meet them.
    pub(crate) async fn failed(mut self, source: sqlx::Error, access: Access) -> Failure {
        let goes_on = source
            .as_database_error()
            .is_some_and(|error| error.code().is_some_and(|code| !code.starts_with("57P") && !code.starts_with("08")));
        if goes_on && self.connection().ping().await.is_ok() {
            self.finish();
        }
        Failure { source, sent: Sent::Perhaps, access }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(out) = self.out.take() {
            // Detached rather than closed in the background: the pool has its place back at once, and nothing is spawned,
            // which would panic outside a runtime.
            drop(out.connection.detach());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_urls_of_postgres_only_and_none_with_a_stray_password() {
        for url in [
            "postgres://app:secret@db:5433/app?sslmode=require",
            "postgresql://app@db/app",
            "postgres://db/app?user=app&password=secret",
            "postgres:///app?host=/run/postgresql",
        ] {
            assert!(parse(url).is_some(), "{url}");
        }
        for url in [
            "",
            "db:5432",
            "mysql://app:secret@db/app",
            "postgres://app:se/cret@db/app",
            "postgres://app:123?secret@db/app",
            "postgres://app:1#secret@db/app",
            "postgres://app:secret@db:port/app",
            "postgres://app:secret@db/app?sslmode=sometimes",
        ] {
            assert!(parse(url).is_none(), "{url}");
        }
    }
}
