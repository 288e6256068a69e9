//! Hints that go out after the answer (S20).
//!
//! A transaction that notifies takes, at its commit, one lock for all databases of the server, and waits there for whatever else
//! notifies. So a hint is no part of the statement that it tells of: neither may that fail by it, nor keep its rows locked meanwhile.

use std::{
    collections::{BTreeSet, HashSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use lease_core::LeaseName;
use sqlx::AssertSqlSafe;
use tokio::runtime::{self, Handle};

use crate::{
    pool::{Lent, Pool, in_time},
    statement::Value,
    statements::Statements,
};

/// The most names in one message.
const MOST_AT_ONCE: usize = 256;

/// The most names that wait. More are not hinted: those who wait for them poll.
const MOST_WAITING: usize = 16 * 1024;

/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends hints, one message after the other, on a connection that no call waits for. Each runtime sends for itself: one that idles
/// keeps no hints of another one (L10).
#[derive(Debug)]
pub(crate) struct Announcer {
    pool: Arc<Pool>,
    statements: Arc<Statements>,
    channel: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<LeaseName>,
    sending: HashSet<runtime::Id>,
}

impl Announcer {
    pub(crate) fn new(pool: Arc<Pool>, statements: Arc<Statements>, channel: String) -> Self {
        Self { pool, statements, channel, state: Mutex::default() }
    }

    /// Hints to those who wait for these names. Waits for nothing, and fails silently: there is always a poll behind a hint.
    ///
    /// Where a connection is at hand, the message is on its way when this returns, so that a process that ends right after
    /// the release has sent it.
    pub(crate) fn announce<'a>(self: &Arc<Self>, names: impl IntoIterator<Item = &'a LeaseName>) {
        let mut state = self.lock();
        for name in names {
            if state.waiting.len() >= MOST_WAITING {
                tracing::debug!(channel = self.channel, "too many hints wait: those who wait for more names poll");
                break;
            }
            state.waiting.insert(name.clone());
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if state.waiting.is_empty() || !state.sending.insert(runtime.id()) {
            return;
        }
        drop(state);
        let sending = Sending { announcer: Arc::clone(self), runtime: runtime.id(), is_done: false };
        let mut sending: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(sending.until_all_are_sent());
        if sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
            runtime.spawn(sending);
        }
    }

    async fn send(&self, names: &[LeaseName]) -> Result<(), sqlx::Error> {
        let values = [Value::from(self.channel.as_str()), names.iter().map(LeaseName::as_str).collect()];
        let message = self.statements.notify.complete(&values);
        // What rests may have died unnoticed.
        if let Some(lent) = self.pool.get_uncounted()
            && self.send_on(lent, message.clone()).await.is_ok()
        {
            return Ok(());
        }
        self.send_on(self.pool.connect_uncounted().await?, message).await
    }

    async fn send_on(&self, mut lent: Lent, message: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(message)).execute(&mut lent.connection).await?;
        self.pool.put(lent);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that sends. However it ends, the next hint starts another one.
struct Sending {
    announcer: Arc<Announcer>,
    runtime: runtime::Id,
    is_done: bool,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_done {
            self.announcer.lock().sending.remove(&self.runtime);
        }
    }
}

impl Sending {
    async fn until_all_are_sent(mut self) {
        loop {
            let names: Vec<LeaseName> = {
                let mut state = self.announcer.lock();
                let names: Vec<_> = (0..MOST_AT_ONCE).map_while(|_| state.waiting.pop_first()).collect();
                // Under the lock: whoever comes next finds that nobody sends any more.
                if names.is_empty() {
                    state.sending.remove(&self.runtime);
                }
                names
            };
            if names.is_empty() {
                self.is_done = true;
                return;
            }
            let outcome = in_time(PATIENCE, self.announcer.send(&names)).await;
            if let Err(error) = outcome.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                let channel = self.announcer.channel.as_str();
                tracing::warn!(%error, channel, names = names.len(), "hints were not sent: waiters poll");
            }
        }
    }
}
