//! Listens for hints, on one connection for all waiters of a runtime.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lease_core::{Clock, LeaseName, SystemClock, WakeupRegistry, Wakeups};
use sqlx::{
    AssertSqlSafe, Executor,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    runtime::{self, Handle},
    task::JoinHandle,
};

use crate::{
    server::Connector,
    sql::{are_settings_applied, is_refused_setting},
    timeout::within,
};

/// How long to wait before connecting again; doubled each time, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A connection without a notification for this long is tested, because it may have died unnoticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long connecting, or a heartbeat, may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Passes notifications on to waiters.
///
/// The first subscription on a runtime starts a task that keeps a connection and ends with the store. A runtime that is not driven
/// delays no waiter of another one (L10). Behind a pooler there is no task. A missed notification costs
/// waiters time, never safety, because they poll as well (S20).
#[derive(Debug)]
pub(crate) struct Listener {
    connector: Arc<Connector>,
    channel: String,
    /// The key of the advisory lock that each listener shares.
    lock: i64,
    tasks: Mutex<Vec<Task>>,
}

/// The subscription of the waiters of one runtime, and the task that listens for it. If that task has not started, or has ended,
/// the next subscription within a runtime starts one.
#[derive(Debug)]
struct Task {
    runtime: Option<runtime::Id>,
    subscription: Subscription,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Subscription {
    connector: Arc<Connector>,
    channel: String,
    lock: i64,
    registry: WakeupRegistry,
    /// Whether notifications arrive now.
    is_established: Arc<AtomicBool>,
}

impl Listener {
    pub(crate) fn new(connector: Arc<Connector>, channel: String, lock: i64) -> Self {
        Self { connector, channel, lock, tasks: Mutex::default() }
    }

    /// Subscribes to hints for a name. Outside a runtime, no task is started: the next subscription within one starts it.
    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let runtime = Handle::try_current().ok();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = self.task(&mut tasks, runtime.as_ref().map(Handle::id));
        let wakeups = task.subscription.registry.subscribe(name);
        if let Some(runtime) = runtime.filter(|_| task.has_ended() && !self.connector.is_behind_pooler()) {
            task.runtime = Some(runtime.id());
            task.handle = Some(runtime.spawn(task.subscription.clone().run()));
        }
        // After the registration: either the subscription is established here, or the task that establishes it wakes this waiter.
        if task.subscription.is_established.load(Ordering::SeqCst) {
            task.subscription.registry.wake(name);
        }
        wakeups
    }

    /// Returns the task of this runtime, or one that has ended.
    fn task<'a>(&self, tasks: &'a mut Vec<Task>, here: Option<runtime::Id>) -> &'a mut Task {
        tasks.retain(|task| !task.has_ended() || !task.subscription.registry.is_empty());
        let is_here = |task: &Task| !task.has_ended() && here.is_none_or(|here| task.runtime == Some(here));
        let at = tasks.iter().position(is_here).or_else(|| tasks.iter().position(Task::has_ended));
        let at = at.unwrap_or_else(|| {
            let subscription = Subscription {
                connector: Arc::clone(&self.connector),
                channel: self.channel.clone(),
                lock: self.lock,
                registry: WakeupRegistry::default(),
                is_established: Arc::default(),
            };
            tasks.push(Task { runtime: None, subscription, handle: None });
            tasks.len() - 1
        });
        &mut tasks[at]
    }
}

impl Task {
    fn has_ended(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

impl Subscription {
    /// Listens, and connects again whenever the connection is lost. Ends if there turns out to be a pooler.
    async fn run(self) {
        let clock = SystemClock;
        let mut backoff = FIRST_BACKOFF;
        while !self.connector.is_behind_pooler() {
            match self.listen(&mut backoff).await {
                Err(error) if is_refused_setting(&error) => self.connector.found_pooler(),
                Err(error) => {
                    let retry_after = backoff;
                    tracing::warn!(%error, channel = self.channel, ?retry_after, "no notifications: waiters poll");
                }
                Ok(()) => {}
            }
            clock.sleep_until(clock.now() + backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    /// Listens until the connection is lost.
    async fn listen(&self, backoff: &mut Duration) -> Result<(), sqlx::Error> {
        let own = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.connector.options().clone());
        let mut listener = PgListener::connect_with(&own).await?;
        // Notifications of the time without a connection are lost, so a reconnect must not go unnoticed.
        listener.eager_reconnect(false);
        if !in_time(are_settings_applied(&mut listener)).await? {
            self.connector.found_pooler();
            return Ok(());
        }
        // Before `LISTEN`: a release that did not see this lock, and sent no hint, has committed before all waiters are woken
        // below.
        let lock = format!("select pg_catalog.pg_advisory_lock_shared('{}'::int8)", self.lock);
        in_time(listener.execute(AssertSqlSafe(lock))).await?;
        in_time(listener.listen(&self.channel)).await?;

        let _established = Established::set(&self.is_established);
        *backoff = FIRST_BACKOFF;
        // Notifications may have been missed.
        self.registry.wake_all();
        let clock = SystemClock;
        loop {
            tokio::select! {
                message = listener.try_recv() => match message? {
                    Some(message) => self.wake(message.payload()),
                    None => return Ok(()),
                },
                () = clock.sleep_until(clock.now() + HEARTBEAT) => {
                    in_time(listener.execute("select 1")).await?;
                }
            }
        }
    }

    /// Wakes the waiters of the name in a notification. A payload that is not a name comes from other software, and wakes all.
    fn wake(&self, payload: &str) {
        match LeaseName::new(payload) {
            Ok(name) => self.registry.wake(&name),
            Err(_) => self.registry.wake_all(),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    within(TIMEOUT, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Marks a subscription as established until it is dropped, even if the task is aborted.
struct Established<'a>(&'a AtomicBool);

impl<'a> Established<'a> {
    fn set(is_established: &'a AtomicBool) -> Self {
        is_established.store(true, Ordering::SeqCst);
        Self(is_established)
    }
}

impl Drop for Established<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
