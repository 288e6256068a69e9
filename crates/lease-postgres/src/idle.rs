//! Connections between two calls that follow each other closely.
//!
//! The pool of the driver asks each connection that comes back for a sign of life: a round trip for every call, on both sides.
//! Here a few connections stay out of the pool until they have rested for a moment; then they go back, so that whoever shares
//! the pool, or closes it, waits no longer than that.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, Moment, SystemClock};
use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::runtime::Handle;

/// The most connections that stay out of the pool; never more than half of what it may have.
const MOST: u32 = 4;

/// How long a connection rests before it goes back.
const REST: Duration = Duration::from_millis(100);

/// How long a connection stays out of the pool at the most, even if it never rests: the pool has rules for its age.
const LONGEST_STAY: Duration = Duration::from_secs(60);

/// A connection, and since when it is out of the pool.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) connection: PoolConnection<Postgres>,
    since: Moment,
}

/// The connections that rest.
pub(crate) struct Idle {
    pool: PgPool,
    most: usize,
    wanting: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// With the moment in which each began to rest; the last one was in use last.
    resting: Vec<(Out, Moment)>,
    is_watched: bool,
}

impl Idle {
    pub(crate) fn new(pool: PgPool) -> Self {
        let most = MOST.min(pool.options().get_max_connections() / 2);
        Self { pool, most: most.try_into().unwrap_or(0), wanting: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// A connection that rests, else one of the pool.
    pub(crate) async fn get(&self) -> Result<Out, sqlx::Error> {
        let _wanting = Wanting::begin(&self.wanting);
        match self.take() {
            Some(out) => Ok(out),
            None => Ok(Out { connection: self.pool.acquire().await?, since: SystemClock.now() }),
        }
    }

    /// The one that was in use last.
    fn take(&self) -> Option<Out> {
        let (out, rests_since) = self.lock().resting.pop()?;
        if self.pool.is_closed() {
            return None;
        }
        // Nobody watched, and the server may have gone meanwhile: the pool finds out.
        let is_fresh = SystemClock.now().saturating_since(rests_since) < REST * 2;
        is_fresh.then_some(out)
    }

    /// Keeps a connection for a moment, or gives it back to the pool.
    pub(crate) fn put(self: &Arc<Self>, out: Out) {
        let now = SystemClock.now();
        let mut state = self.lock();
        let is_welcome = state.resting.len() < self.most
            && now.saturating_since(out.since) < LONGEST_STAY
            && !self.pool.is_closed()
            // Else somebody would wait at the pool for what rests here.
            && self.wanting.load(Ordering::SeqCst) == 0;
        if let Some(runtime) = Handle::try_current().ok().filter(|_| is_welcome) {
            state.resting.push((out, now));
            if !state.is_watched {
                state.is_watched = true;
                runtime.spawn(Watch(Arc::downgrade(self)).until_none_is_left());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, a call wants a connection.
struct Wanting<'a>(&'a AtomicUsize);

impl<'a> Wanting<'a> {
    fn begin(wanting: &'a AtomicUsize) -> Self {
        wanting.fetch_add(1, Ordering::SeqCst);
        Self(wanting)
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if Handle::try_current().is_err() {
            // Where nothing can be spawned they cannot be given back, but closed.
            self.lock().resting.drain(..).for_each(|(out, _)| drop(out.connection.detach()));
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("most", &self.most).field("resting", &self.lock().resting.len()).finish()
    }
}

/// The task that gives back what has rested. At its end, however that comes, nobody watches any more.
struct Watch(Weak<Idle>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(idle) = self.0.upgrade() {
            idle.lock().is_watched = false;
        }
    }
}

impl Watch {
    async fn until_none_is_left(self) {
        let clock = SystemClock;
        loop {
            clock.sleep_until(clock.now() + REST / 2).await;
            let Some(idle) = self.0.upgrade() else { return };
            let now = clock.now();
            let mut state = idle.lock();
            let rested: Vec<_> =
                state.resting.extract_if(.., |(_, since)| now.saturating_since(*since) >= REST).collect();
            state.is_watched = !state.resting.is_empty();
            let is_done = !state.is_watched;
            drop(state);
            drop(rested);
            if is_done {
                return;
            }
        }
    }
}
