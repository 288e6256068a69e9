//! The store's own connections, which nobody else uses.
//!
//! A connection of the application's pool may have been left in a transaction. An answer from inside of that is no answer: it
//! may never be committed (S1, S9).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use lease_core::{Clock, Moment, SystemClock};
use sqlx::{Connection, PgConnection};
use tokio::{
    runtime::{self, Handle},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

use crate::connector::Connector;

/// A connection that rested for longer than this is tried before it is used: the server may have restarted.
const TRUSTED_REST: Duration = Duration::from_secs(1);

/// How long a connection that is tried may take to answer.
const TRIAL: Duration = Duration::from_secs(1);

/// How long a connection rests before it is closed. What a burst has opened is gone within a minute, with the next round.
const LONGEST_REST: Duration = Duration::from_secs(50);

/// How often those that rest are looked at.
const ROUNDS: Duration = Duration::from_secs(10);

/// The age at which a connection is replaced, so that a server's name may move and a session's memory is given back.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 60);

/// When that is tried again where the server takes no new one: it may be full.
const NEXT_REPLACEMENT: Duration = Duration::from_secs(60);

/// At most so many connections, of which those that are not in use rest for the next call.
pub(crate) struct Pool {
    connector: Arc<Connector>,
    most: usize,
    /// One for each connection that may be in use.
    places: Arc<Semaphore>,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last one was in use last.
    resting: Vec<Resting>,
    /// The task that closes what has rested, while there is anything.
    watch: Option<AbortHandle>,
}

struct Resting {
    connection: PgConnection,
    origin: Origin,
    since: Moment,
}

/// Where a connection was made, and how long it is good for.
#[derive(Clone, Copy)]
struct Origin {
    replaced_at: Moment,
    /// It is used on this one alone: on another it would fail, or hang, when this one has ended or is not driven.
    runtime: Option<runtime::Id>,
}

/// A connection in use.
pub(crate) struct Lent {
    pub(crate) connection: PgConnection,
    origin: Origin,
    /// None where the connection is beyond those that the pool counts.
    place: Option<OwnedSemaphorePermit>,
}

impl Pool {
    pub(crate) fn new(connector: Arc<Connector>, most: u32, timeout: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { connector, most, places: Arc::new(Semaphore::new(most)), timeout, state: Mutex::default() }
    }

    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// A connection that rests, else a new one. It waits for a place, and for the server, as long as the timeout says.
    pub(crate) async fn get(&self) -> Result<Lent, sqlx::Error> {
        let lent = async {
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let (connection, origin) = match self.rested().await {
                Some(resting) => self.replaced_if_old(resting).await,
                None => {
                    self.make_room();
                    (self.connector.connect().await?, Origin::here())
                }
            };
            Ok(Lent { connection, origin, place: Some(place) })
        };
        in_time(self.timeout, lent).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// A connection that rests, if there is one, beyond those that are counted: it takes no place from a call.
    pub(crate) fn get_uncounted(&self) -> Option<Lent> {
        let Resting { connection, origin, since } = self.lock().take_last()?;
        is_fresh(since).then_some(Lent { connection, origin, place: None })
    }

    /// A new connection beyond those that are counted.
    pub(crate) async fn connect_uncounted(&self) -> Result<Lent, sqlx::Error> {
        let connection = in_time(self.timeout, self.connector.connect()).await;
        let connection = connection.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        Ok(Lent { connection, origin: Origin::here(), place: None })
    }

    /// The one that was in use last and still answers.
    async fn rested(&self) -> Option<Resting> {
        loop {
            let mut resting = self.lock().take_last()?;
            if is_fresh(resting.since) || matches!(in_time(TRIAL, resting.connection.ping()).await, Some(Ok(()))) {
                return Some(resting);
            }
        }
    }

    /// A new one instead of one that is old, if the server takes a new one; else the old one goes on, as leases must. For that moment
    /// there are both.
    async fn replaced_if_old(&self, resting: Resting) -> (PgConnection, Origin) {
        let Resting { connection, origin, .. } = resting;
        if SystemClock.now() < origin.replaced_at {
            return (connection, origin);
        }
        match in_time(TRIAL, self.connector.connect()).await {
            Some(Ok(connection)) => (connection, Origin::here()),
            _ => (connection, Origin { replaced_at: SystemClock.now() + NEXT_REPLACEMENT, ..origin }),
        }
    }

    /// Closes one that rests where the next one would be too many: on another runtime than this there may be as many.
    fn make_room(&self) {
        let in_use = self.in_use();
        let mut state = self.lock();
        if !state.resting.is_empty() && state.resting.len() + in_use > self.most {
            drop(state.resting.remove(0));
        }
    }

    fn in_use(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }

    /// Keeps a connection for the next call.
    pub(crate) fn put(self: &Arc<Self>, lent: Lent) {
        let now = SystemClock.now();
        let Lent { connection, origin, place } = lent;
        let in_use = self.in_use();
        let mut state = self.lock();
        let is_counted = place.is_some();
        // One beyond those that are counted may stay: else a pool of one would connect anew for each hint.
        let is_welcome = is_counted || state.resting.len() + in_use <= self.most;
        // Where nothing can be spawned nobody would close it.
        if let Some(runtime) = Handle::try_current().ok().filter(|_| is_welcome) {
            state.resting.push(Resting { connection, origin, since: now });
            if state.watch.is_none() {
                let watch = Watch { pool: Arc::downgrade(self), is_over: false };
                state.watch = Some(runtime.spawn(watch.until_none_is_left()).abort_handle());
            }
        }
        drop(state);
        drop(place);
    }

    /// Those that rested for long enough, and whether none is left, so that nobody has to watch.
    fn take_rested(&self, now: Moment) -> (Vec<Resting>, bool) {
        let mut state = self.lock();
        let rested =
            state.resting.extract_if(.., |resting| now.saturating_since(resting.since) >= LONGEST_REST).collect();
        if state.resting.is_empty() {
            state.watch = None;
        }
        (rested, state.resting.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The one of this runtime that was in use last.
    fn take_last(&mut self) -> Option<Resting> {
        let here = this_runtime();
        let last = self.resting.iter().rposition(|resting| resting.origin.runtime == here)?;
        Some(self.resting.remove(last))
    }
}

impl Origin {
    fn here() -> Self {
        Self { replaced_at: SystemClock.now() + LONGEST_LIFE, runtime: this_runtime() }
    }
}

fn this_runtime() -> Option<runtime::Id> {
    Handle::try_current().ok().map(|here| here.id())
}

/// Nothing of a store outlives it.
impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(watch) = self.lock().watch.take() {
            watch.abort();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("most", &self.most).field("resting", &self.lock().resting.len()).finish()
    }
}

impl Lent {
    /// Waits until an abandoned call is over on the server, for a while, and ends the connection: its answer would be read as the
    /// answer of the next call (S24). Until then its place is taken, so that the server has no more sessions of ours than it was
    /// told.
    pub(crate) fn abandon(self, patience: Duration) {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let mut lent = self;
                let _ = in_time(patience, lent.connection.ping()).await;
            });
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("is_counted", &self.place.is_some()).finish_non_exhaustive()
    }
}

fn is_fresh(since: Moment) -> bool {
    SystemClock.now().saturating_since(since) < TRUSTED_REST
}

/// Nothing, when the time is over.
pub(crate) async fn in_time<T>(patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    let clock = SystemClock;
    tokio::select! {
        outcome = work => Some(outcome),
        () = clock.sleep_until(clock.now() + patience) => None,
    }
}

/// The task that closes what has rested. Should it end before nothing is left, as with its runtime, nobody watches any more.
struct Watch {
    pool: Weak<Pool>,
    is_over: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| !self.is_over) {
            pool.lock().watch = None;
        }
    }
}

impl Watch {
    async fn until_none_is_left(mut self) {
        let clock = SystemClock;
        loop {
            clock.sleep_until(clock.now() + ROUNDS).await;
            let Some(pool) = self.pool.upgrade() else { return };
            let (rested, is_done) = pool.take_rested(clock.now());
            self.is_over = is_done;
            drop(pool);
            for Resting { connection, .. } in rested {
                // Best effort: a server that is gone need not be told.
                let _ = in_time(TRIAL, connection.close()).await;
            }
            if is_done {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Row};

    use super::*;
    use crate::url::parse;

    async fn pid(connection: &mut PgConnection) -> i32 {
        let row = sqlx::raw_sql("select pg_backend_pid() as pid").fetch_one(connection).await.unwrap();
        row.try_get("pid").unwrap()
    }

    /// Gets one and puts it back.
    async fn used(pool: &Arc<Pool>) -> i32 {
        let mut lent = pool.get().await.unwrap();
        let pid = pid(&mut lent.connection).await;
        pool.put(lent);
        pid
    }

    /// Leases that are held go on while the server takes no new session.
    #[tokio::test]
    async fn an_old_connection_is_replaced_unless_the_server_is_full() {
        let server = integration_tests::Postgres::shared().await;
        let role = format!("few_{}", lease_core::GrantId::random());
        let mut admin = PgConnection::connect(server.url()).await.unwrap();
        let mut limit = async |limit: i32, change: &str| {
            let text = format!("{change} role {role} login connection limit {limit}");
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut admin).await.unwrap();
        };
        limit(1, "create").await;
        let url = server.url().replace("postgres://postgres@", &format!("postgres://{role}@"));
        let connector = Arc::new(Connector::new(parse(&url).unwrap()));
        let pool = Arc::new(Pool::new(connector, 8, Duration::from_secs(5)));
        let first = used(&pool).await;
        let grow_old = || pool.lock().resting.iter_mut().for_each(|resting| resting.origin.replaced_at = resting.since);
        assert_eq!(used(&pool).await, first);
        grow_old();
        assert_eq!(used(&pool).await, first, "the server is full");
        assert!(pool.lock().resting[0].origin.replaced_at > SystemClock.now(), "it is tried again soon, not each time");
        limit(2, "alter").await;
        grow_old();
        assert_ne!(used(&pool).await, first);
        assert_eq!(pool.lock().resting.len(), 1);
    }

    #[tokio::test]
    async fn what_has_rested_is_closed_within_a_minute() {
        let server = integration_tests::Postgres::shared().await;
        let connector = Arc::new(Connector::new(parse(server.url()).unwrap()));
        let pool = Arc::new(Pool::new(connector, 8, Duration::from_secs(5)));
        used(&pool).await;
        let now = SystemClock.now();
        assert!(pool.take_rested(now + LONGEST_REST - Duration::from_secs(1)).0.is_empty());
        let (rested, is_done) = pool.take_rested(now + Duration::from_secs(60) - ROUNDS);
        assert!(rested.len() == 1 && is_done);
    }
}
