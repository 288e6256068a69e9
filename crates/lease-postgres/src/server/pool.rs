//! The store's own connections, which the application cannot use.
//!
//! A connection of the application's pool may have been left in a transaction. An answer from inside that transaction proves
//! nothing, because it may never be committed (S1, S9).

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use lease_core::{Clock, Moment, SystemClock};
use sqlx::Connection;
use tokio::{
    runtime::{self, Handle},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::AbortHandle,
};

use crate::timeout::within;

/// A connection that was idle for longer than this is pinged before it is used, because the server may have restarted.
const PING_AFTER_IDLE: Duration = Duration::from_secs(1);

/// How long a ping, a replacement or a close may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that has not answered a ping for so long may be dead, and then others are, too.
const SLOW_PING: Duration = Duration::from_millis(100);

/// How long a connection may be idle before it is closed: with [`REAPER_INTERVAL`], within a minute after a burst.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How often idle connections are checked.
const REAPER_INTERVAL: Duration = Duration::from_secs(10);

/// The age at which a connection is replaced, so that the server's name may move and the memory of a session is given back.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// When the replacement is tried again if the server refuses a new connection, because it may be full.
const REPLACEMENT_RETRY: Duration = Duration::from_secs(60);

/// Opens connections for a pool.
pub(crate) trait Connect: Send + Sync + 'static {
    type Connection: Connection + 'static;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send;
}

/// A limited number of connections, which are kept for the next call while they are idle.
pub(crate) struct Pool<O: Connect> {
    connector: Arc<O>,
    max_connections: usize,
    /// One permit for each connection in use.
    permits: Arc<Semaphore>,
    /// For the one connection that is opened although its caller has stopped waiting.
    spare: Arc<Semaphore>,
    /// How long [`Pool::get`] waits.
    timeout: Duration,
    state: Mutex<State<O::Connection>>,
}

struct State<C> {
    /// In the order in which they became idle.
    idle: Vec<Idle<C>>,
    /// The task that closes idle connections, while there are any. It may have ended with its runtime.
    reaper: Option<AbortHandle>,
}

struct Idle<C> {
    connection: C,
    origin: Origin,
    since: Moment,
}

/// Where a connection was opened, and when it is to be replaced.
#[derive(Clone, Copy)]
struct Origin {
    replaced_at: Moment,
    /// The only runtime on which it is used: on another one it would fail or hang when its own has ended or is not driven.
    runtime: Option<runtime::Id>,
}

/// A connection in use.
pub(crate) struct Pooled<C> {
    pub(crate) connection: C,
    origin: Origin,
    /// `None` for a connection beyond the limit of the pool.
    permit: Option<OwnedSemaphorePermit>,
}

impl<O: Connect> Pool<O> {
    pub(crate) fn new(connector: Arc<O>, max_connections: u32, timeout: Duration) -> Self {
        let max_connections = usize::try_from(max_connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(max_connections));
        let state = Mutex::new(State { idle: Vec::new(), reaper: None });
        Self { connector, max_connections, permits, spare: Arc::new(Semaphore::new(1)), timeout, state }
    }

    pub(crate) fn connector(&self) -> &Arc<O> {
        &self.connector
    }

    /// Returns an idle connection, or else a new one. Waits for a permit and for the server, at most for the timeout.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<Pooled<O::Connection>, sqlx::Error> {
        let pooled = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            let (connection, origin) = match self.take_responsive().await {
                Some(idle) => self.replace_if_old(idle).await,
                None => {
                    self.make_room();
                    (self.open().await?, Origin::here())
                }
            };
            Ok(Pooled { connection, origin, permit: Some(permit) })
        };
        within(self.timeout, pooled).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Opens a connection. If the caller stops waiting, it is opened all the same, and is idle for the next call: otherwise calls
    /// with a timeout that is shorter than what connecting takes would never succeed, and each would cost the server a session. One
    /// at a time, so that a server that cannot be reached holds up nothing.
    async fn open(self: &Arc<Self>) -> Result<O::Connection, sqlx::Error> {
        let Ok(runtime) = Handle::try_current() else { return self.connector.connect().await };
        let (mut sender, opened) = oneshot::channel();
        let (connector, pool) = (Arc::clone(&self.connector), Arc::downgrade(self));
        let (spare, timeout) = (Arc::clone(&self.spare), self.timeout);
        runtime.spawn(async move {
            let mut connecting = pin!(connector.connect());
            let connected = tokio::select! {
                biased;
                connected = &mut connecting => connected,
                () = sender.closed() => {
                    let Ok(_permit) = spare.try_acquire() else { return };
                    within(timeout, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
                }
            };
            if let Err(Ok(connection)) = sender.send(connected)
                && let Some(pool) = pool.upgrade()
            {
                pool.put(Pooled { connection, origin: Origin::here(), permit: None });
            }
        });
        opened.await.unwrap_or(Err(sqlx::Error::PoolClosed))
    }

    /// Returns an idle connection without a permit, if there is one, so that no call has to wait for its permit.
    pub(crate) fn get_idle_beyond_limit(&self) -> Option<Pooled<O::Connection>> {
        let Idle { connection, origin, since } = self.take_last()?;
        is_fresh(since).then_some(Pooled { connection, origin, permit: None })
    }

    /// Opens a connection without a permit.
    pub(crate) async fn connect_beyond_limit(&self) -> Result<Pooled<O::Connection>, sqlx::Error> {
        let connection = within(self.timeout, self.connector.connect()).await;
        let connection = connection.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        Ok(Pooled { connection, origin: Origin::here(), permit: None })
    }

    /// Takes the idle connection that was used last and still answers.
    async fn take_responsive(self: &Arc<Self>) -> Option<Idle<O::Connection>> {
        loop {
            let mut idle = self.take_last()?;
            if is_fresh(idle.since) || self.answers(&mut idle.connection).await {
                return Some(idle);
            }
        }
    }

    /// Returns whether a connection answers. If it does not soon, the others are pinged, too.
    async fn answers(self: &Arc<Self>, connection: &mut O::Connection) -> bool {
        let mut ping = pin!(within(PING_TIMEOUT, connection.ping()));
        let answer = match within(SLOW_PING, &mut ping).await {
            Some(answer) => answer,
            None => {
                self.ping_idle();
                ping.await
            }
        };
        matches!(answer, Some(Ok(())))
    }

    /// Pings all idle connections of this runtime in the background, and keeps those that answer: where a network has dropped all
    /// of them, one after the other would take longer than leases last.
    fn ping_idle(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned()
            && let Some(Idle { connection, origin, .. }) = self.take_last()
        {
            let (mut pooled, pool) = (Pooled { connection, origin, permit: Some(permit) }, Arc::downgrade(self));
            runtime.spawn(async move {
                if let Some(Ok(())) = within(PING_TIMEOUT, pooled.connection.ping()).await
                    && let Some(pool) = pool.upgrade()
                {
                    pool.put(pooled);
                }
            });
        }
    }

    /// Replaces an old connection, if the server accepts a new one. Otherwise returns the old one, because leases must be renewed.
    /// For a moment both are open.
    async fn replace_if_old(&self, idle: Idle<O::Connection>) -> (O::Connection, Origin) {
        let Idle { connection, origin, .. } = idle;
        if SystemClock.now() < origin.replaced_at {
            return (connection, origin);
        }
        match within(PING_TIMEOUT, self.connector.connect()).await {
            Some(Ok(connection)) => (connection, Origin::here()),
            _ => (connection, Origin { replaced_at: SystemClock.now() + REPLACEMENT_RETRY, ..origin }),
        }
    }

    /// Closes an idle connection if a new one would exceed the limit: those of other runtimes cannot be used here, but count.
    fn make_room(&self) {
        let in_use = self.in_use();
        let mut state = self.lock();
        if !state.idle.is_empty() && state.idle.len() + in_use > self.max_connections {
            drop(state.idle.remove(0));
        }
    }

    fn in_use(&self) -> usize {
        self.max_connections.saturating_sub(self.permits.available_permits())
    }

    /// Keeps a connection for the next call.
    pub(crate) fn put(self: &Arc<Self>, pooled: Pooled<O::Connection>) {
        let now = SystemClock.now();
        let Pooled { connection, origin, permit } = pooled;
        let in_use = self.in_use();
        let mut state = self.lock();
        // One without a permit is kept where there is room: otherwise a pool of one would open a connection for each hint.
        let is_kept = permit.is_some() || state.idle.len() + in_use <= self.max_connections;
        // Outside a runtime there is no task to close it later.
        if let Some(runtime) = Handle::try_current().ok().filter(|_| is_kept) {
            state.idle.push(Idle { connection, origin, since: now });
            if state.reaper.as_ref().is_none_or(AbortHandle::is_finished) {
                // A runtime that has ended drops it at once, under the lock, which it must not take then.
                state.reaper = Some(runtime.spawn(close_expired(Arc::downgrade(self))).abort_handle());
            }
        }
        drop(state);
        drop(permit);
    }

    /// Takes the connections that were idle for too long. Returns also whether none is left, so that the reaper may end.
    fn take_expired(&self, now: Moment) -> (Vec<Idle<O::Connection>>, bool) {
        let mut state = self.lock();
        let expired = state.idle.extract_if(.., |idle| now.saturating_since(idle.since) >= IDLE_TIMEOUT).collect();
        if state.idle.is_empty() {
            state.reaper = None;
        }
        (expired, state.idle.is_empty())
    }

    /// Takes the idle connection of this runtime that was used last.
    fn take_last(&self) -> Option<Idle<O::Connection>> {
        let (mut state, here) = (self.lock(), this_runtime());
        let last = state.idle.iter().rposition(|idle| idle.origin.runtime == here)?;
        Some(state.idle.remove(last))
    }

    fn lock(&self) -> MutexGuard<'_, State<O::Connection>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origin {
    fn here() -> Self {
        Self { replaced_at: SystemClock.now() + MAX_LIFETIME, runtime: this_runtime() }
    }
}

fn this_runtime() -> Option<runtime::Id> {
    Handle::try_current().ok().map(|here| here.id())
}

/// Ends the reaper: no task outlives the store.
impl<O: Connect> Drop for Pool<O> {
    fn drop(&mut self) {
        if let Some(reaper) = self.lock().reaper.take() {
            reaper.abort();
        }
    }
}

impl<O: Connect> fmt::Debug for Pool<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("max_connections", &self.max_connections)
            .field("idle", &self.lock().idle.len())
            .finish_non_exhaustive()
    }
}

impl<C: Connection + 'static> Pooled<C> {
    /// Waits, at most for `limit`, until an abandoned call has ended on the server, and then closes the connection: the answer
    /// would be read as that of the next call (S24). The permit is kept until then, so that the server never has more sessions of
    /// this store than the limit.
    pub(crate) fn abandon(self, limit: Duration) {
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let mut pooled = self;
                let _ = within(limit, pooled.connection.ping()).await;
            });
        }
    }
}

impl<C> fmt::Debug for Pooled<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("has_permit", &self.permit.is_some()).finish_non_exhaustive()
    }
}

fn is_fresh(since: Moment) -> bool {
    SystemClock.now().saturating_since(since) < PING_AFTER_IDLE
}

/// Closes idle connections until there are none.
async fn close_expired<O: Connect>(pool: Weak<Pool<O>>) {
    let clock = SystemClock;
    loop {
        clock.sleep_until(clock.now() + REAPER_INTERVAL).await;
        let Some(pool) = pool.upgrade() else { return };
        let (expired, is_done) = pool.take_expired(clock.now());
        drop(pool);
        for Idle { connection, .. } in expired {
            // Best effort: a server that cannot be reached has closed it already.
            let _ = within(PING_TIMEOUT, connection.close()).await;
        }
        if is_done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, PgConnection, Row};

    use super::{
        super::{connector::Connector, url::parse},
        *,
    };

    async fn pid(connection: &mut PgConnection) -> i32 {
        let row = sqlx::raw_sql("select pg_backend_pid() as pid").fetch_one(connection).await.unwrap();
        row.try_get("pid").unwrap()
    }

    /// Gets one and puts it back.
    async fn used(pool: &Arc<Pool<Connector>>) -> i32 {
        let mut pooled = pool.get().await.unwrap();
        let pid = pid(&mut pooled.connection).await;
        pool.put(pooled);
        pid
    }

    /// Held leases must be renewed while the server accepts no new session.
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
        let grow_old = || pool.lock().idle.iter_mut().for_each(|idle| idle.origin.replaced_at = idle.since);
        assert_eq!(used(&pool).await, first);
        grow_old();
        assert_eq!(used(&pool).await, first, "the server is full");
        assert!(
            pool.lock().idle[0].origin.replaced_at > SystemClock.now(),
            "the replacement is tried again soon, not each time"
        );
        limit(2, "alter").await;
        grow_old();
        assert_ne!(used(&pool).await, first);
        assert_eq!(pool.lock().idle.len(), 1);
    }

    /// As to a server that is busy, or far away.
    struct SlowConnector(Connector);

    impl Connect for SlowConnector {
        type Connection = PgConnection;

        async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
            SystemClock.sleep_until(SystemClock.now() + Duration::from_millis(300)).await;
            self.0.connect().await
        }
    }

    #[tokio::test]
    async fn calls_that_are_shorter_than_connecting_takes_succeed_in_the_end() {
        let server = integration_tests::Postgres::shared().await;
        let connector = SlowConnector(Connector::new(parse(server.url()).unwrap()));
        let pool = Arc::new(Pool::new(Arc::new(connector), 8, Duration::from_secs(5)));
        let mut calls = 0;
        while within(Duration::from_millis(100), pool.get()).await.is_none() {
            calls += 1;
            assert!(calls < 100, "none has succeeded");
        }
        assert!(calls >= 2, "it was to be slow");
        // All other connects were cut off.
        SystemClock.sleep_until(SystemClock.now() + Duration::from_secs(1)).await;
        assert!(pool.lock().idle.len() <= 1);
    }

    /// Stops backends, and lets them go on when it is dropped.
    struct Stopped(Vec<i32>);

    impl Stopped {
        fn new(backends: Vec<i32>) -> Self {
            let stopped = Self(backends);
            stopped.signal("-STOP");
            stopped
        }

        fn signal(&self, signal: &str) {
            let pids = self.0.iter().map(i32::to_string);
            assert!(std::process::Command::new("kill").arg(signal).args(pids).status().unwrap().success());
        }
    }

    impl Drop for Stopped {
        fn drop(&mut self) {
            self.signal("-CONT");
        }
    }

    #[tokio::test]
    async fn s24_idle_connections_that_are_silent_are_found_together() {
        let server = integration_tests::Postgres::start_local(&[]).await.unwrap();
        let connector = Arc::new(Connector::new(parse(server.url()).unwrap()));
        let pool = Arc::new(Pool::new(connector, 8, Duration::from_secs(5)));
        let (mut pids, mut in_use) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            let mut pooled = pool.get().await.unwrap();
            pids.push(pid(&mut pooled.connection).await);
            in_use.push(pooled);
        }
        in_use.into_iter().for_each(|pooled| pool.put(pooled));
        pool.lock().idle.iter_mut().for_each(|idle| idle.since = idle.since - PING_AFTER_IDLE);
        let silent = Stopped::new(pids.clone());
        // As attempts of a call that wait for a second each.
        let attempt = PING_TIMEOUT + SLOW_PING;
        assert!(within(attempt / 2, pool.get()).await.is_none(), "a silent connection was used");
        assert!(within(attempt, pool.get()).await.is_some(), "more than one attempt is needed to find them");
        drop(silent);
    }

    #[tokio::test]
    async fn connections_that_are_slow_for_once_are_kept() {
        let server = integration_tests::Postgres::start_local(&[]).await.unwrap();
        let connector = Arc::new(Connector::new(parse(server.url()).unwrap()));
        let pool = Arc::new(Pool::new(connector, 2, Duration::from_secs(5)));
        let (mut first, mut second) = (pool.get().await.unwrap(), pool.get().await.unwrap());
        let pids = vec![pid(&mut first.connection).await, pid(&mut second.connection).await];
        pool.put(first);
        pool.put(second);
        pool.lock().idle.iter_mut().for_each(|idle| idle.since = idle.since - PING_AFTER_IDLE);
        let slow = Stopped::new(pids.clone());
        let getting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.get().await.unwrap() }
        });
        SystemClock.sleep_until(SystemClock.now() + SLOW_PING * 2).await;
        drop(slow);
        let (mut first, mut second) = (getting.await.unwrap(), pool.get().await.unwrap());
        let mut used = vec![pid(&mut first.connection).await, pid(&mut second.connection).await];
        used.reverse();
        assert_eq!(used, pids);
    }

    /// Tasks that still run while their runtime ends put connections back.
    #[test]
    fn s24_a_connection_is_put_back_while_its_runtime_ends() {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (ended, other) = (runtime(), runtime());
        let connecting = async {
            let server = integration_tests::Postgres::shared().await;
            let connector = Arc::new(Connector::new(parse(server.url()).unwrap()));
            let pool = Arc::new(Pool::new(connector, 8, Duration::from_secs(5)));
            let pooled = pool.get().await.unwrap();
            (pool, pooled)
        };
        let (pool, pooled) = ended.block_on(connecting);
        let handle = ended.handle().clone();
        ended.shutdown_background();
        let (sender, is_back) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _within = handle.enter();
            pool.put(pooled);
            sender.send(pool).unwrap();
        });
        let pool = is_back.recv_timeout(Duration::from_secs(10)).expect("it waits for itself");
        // The next one starts another task.
        other.block_on(used(&pool));
        assert!(pool.lock().reaper.as_ref().is_some_and(|reaper| !reaper.is_finished()));
    }

    #[tokio::test]
    async fn idle_connections_are_closed_within_a_minute() {
        let server = integration_tests::Postgres::shared().await;
        let connector = Arc::new(Connector::new(parse(server.url()).unwrap()));
        let pool = Arc::new(Pool::new(connector, 8, Duration::from_secs(5)));
        used(&pool).await;
        let now = SystemClock.now();
        assert!(pool.take_expired(now + IDLE_TIMEOUT - Duration::from_secs(1)).0.is_empty());
        let (expired, is_done) = pool.take_expired(now + Duration::from_secs(60) - REAPER_INTERVAL);
        assert!(expired.len() == 1 && is_done);
    }
}
