//! Sends hints after the answer that they are about (S20).
//!
//! A transaction that notifies takes, at its commit, one lock for all databases of the server, and waits there for all others that
//! notify. A hint is therefore not part of the statement that it is about, which must neither fail because of it nor keep its rows
//! locked meanwhile.

use std::{
    collections::{BTreeSet, HashSet},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use lease_core::LeaseName;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::runtime::{self, Handle};

use crate::{
    server::{Connector, Pool, Pooled},
    sql::{Statements, Value},
    timeout::within,
};

/// The largest number of names in one message.
const MAX_NAMES: usize = 256;

/// The largest number of queued names. Hints beyond it are dropped: the waiters of those names poll.
const MAX_QUEUED: usize = 16 * 1024;

/// How long sending one message may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends hints, one message after the other, on a connection that no call waits for. Each runtime has a sending task of its own,
/// so that one that is not driven delays no hints of another one (L10).
#[derive(Debug)]
pub(crate) struct Notifier {
    pool: Arc<Pool<Connector>>,
    statements: Arc<Statements>,
    channel: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queued: BTreeSet<LeaseName>,
    /// The runtimes that have a sending task.
    sending: HashSet<runtime::Id>,
}

impl Notifier {
    pub(crate) fn new(pool: Arc<Pool<Connector>>, statements: Arc<Statements>, channel: String) -> Self {
        Self { pool, statements, channel, state: Mutex::default() }
    }

    /// Hints to the waiters of these names. Never blocks, and never fails: a lost hint is backed up by a poll.
    ///
    /// If an idle connection is available, the message is sent before this returns, so that it is not lost if the process ends
    /// right after a release.
    pub(crate) fn notify<'a>(self: &Arc<Self>, names: impl IntoIterator<Item = &'a LeaseName>) {
        let mut state = self.lock();
        for name in names {
            if state.queued.len() >= MAX_QUEUED {
                tracing::debug!(channel = self.channel, "too many hints are queued: the waiters of further names poll");
                break;
            }
            state.queued.insert(name.clone());
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if state.queued.is_empty() || !state.sending.insert(runtime.id()) {
            return;
        }
        drop(state);
        let sender = Sender { notifier: Arc::clone(self), runtime: runtime.id(), is_done: false };
        let mut sender: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(sender.run());
        if sender.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
            runtime.spawn(sender);
        }
    }

    async fn send(&self, names: &[LeaseName]) -> Result<(), sqlx::Error> {
        let values = [Value::from(self.channel.as_str()), names.iter().map(LeaseName::as_str).collect()];
        let message = self.statements.notify.to_sql(&values);
        // An idle connection may have died unnoticed.
        if let Some(pooled) = self.pool.get_idle_beyond_limit()
            && self.send_on(pooled, message.clone()).await.is_ok()
        {
            return Ok(());
        }
        self.send_on(self.pool.connect_beyond_limit().await?, message).await
    }

    async fn send_on(&self, mut pooled: Pooled<PgConnection>, message: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(message)).execute(&mut pooled.connection).await?;
        self.pool.put(pooled);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending task of a runtime. If it ends early, the next hint starts another one.
struct Sender {
    notifier: Arc<Notifier>,
    runtime: runtime::Id,
    is_done: bool,
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.is_done {
            self.notifier.lock().sending.remove(&self.runtime);
        }
    }
}

impl Sender {
    /// Sends until the queue is empty.
    async fn run(mut self) {
        loop {
            let names: Vec<LeaseName> = {
                let mut state = self.notifier.lock();
                let names: Vec<_> = (0..MAX_NAMES).map_while(|_| state.queued.pop_first()).collect();
                // Under the same lock, so that a name that is queued next starts another task.
                if names.is_empty() {
                    state.sending.remove(&self.runtime);
                }
                names
            };
            if names.is_empty() {
                self.is_done = true;
                return;
            }
            let outcome = within(SEND_TIMEOUT, self.notifier.send(&names)).await;
            if let Err(error) = outcome.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                let channel = self.notifier.channel.as_str();
                tracing::warn!(%error, channel, names = names.len(), "notifications were not sent: waiters poll");
            }
        }
    }
}
