//! One `LISTEN` for all who wait on a runtime.

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

use crate::connector::{Connector, are_settings_applied, is_refused_setting};

/// How long to wait before connecting again; doubled each time up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A connection on which nothing came for this long is tried: it may have died without a sign.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long connecting, or a heartbeat, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hands notifications to those who wait for them.
///
/// A task that the first subscription of a runtime starts keeps a connection, and ends with the store. A runtime that idles holds
/// up no waiter of another one (L10). Through a pooler nobody listens. What is missed costs waiters time, never safety (S20):
/// they poll, too.
#[derive(Debug)]
pub(crate) struct Listener {
    connector: Arc<Connector>,
    channel: String,
    /// The advisory lock that says that somebody listens.
    lock: i64,
    tasks: Mutex<Vec<Task>>,
}

/// For the waiters of one runtime, or of none yet.
#[derive(Debug)]
struct Task {
    runtime: Option<runtime::Id>,
    listening: Listening,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Listening {
    connector: Arc<Connector>,
    channel: String,
    lock: i64,
    registry: WakeupRegistry,
    /// Whether the channel is listened to at this moment.
    stands: Arc<AtomicBool>,
}

impl Listener {
    pub(crate) fn new(connector: Arc<Connector>, channel: String, lock: i64) -> Self {
        Self { connector, channel, lock, tasks: Mutex::default() }
    }

    /// Outside a runtime nobody can wait: then it stands as soon as there is one.
    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let runtime = Handle::try_current().ok();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = self.task(&mut tasks, runtime.as_ref().map(Handle::id));
        let wakeups = task.listening.registry.subscribe(name);
        if let Some(runtime) = runtime.filter(|_| task.has_ended() && !self.connector.is_behind_pooler()) {
            task.runtime = Some(runtime.id());
            task.handle = Some(runtime.spawn(task.listening.clone().run()));
        }
        // In this order: either it stands, or the one who makes it stand finds the subscription.
        if task.listening.stands.load(Ordering::SeqCst) {
            task.listening.registry.wake(name);
        }
        wakeups
    }

    /// The one of this runtime, or one whose runtime has ended.
    fn task<'a>(&self, tasks: &'a mut Vec<Task>, here: Option<runtime::Id>) -> &'a mut Task {
        tasks.retain(|task| !task.has_ended() || !task.listening.registry.is_empty());
        let is_here = |task: &Task| !task.has_ended() && here.is_none_or(|here| task.runtime == Some(here));
        let at = tasks.iter().position(is_here).or_else(|| tasks.iter().position(Task::has_ended));
        let at = at.unwrap_or_else(|| {
            let (connector, channel, lock) = (Arc::clone(&self.connector), self.channel.clone(), self.lock);
            let listening =
                Listening { connector, channel, lock, registry: WakeupRegistry::default(), stands: Arc::default() };
            tasks.push(Task { runtime: None, listening, handle: None });
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

impl Listening {
    /// Listens until there turns out to be a pooler, connecting again as often as it takes.
    async fn run(self) {
        let clock = SystemClock;
        let mut backoff = FIRST_BACKOFF;
        while !self.connector.is_behind_pooler() {
            match self.listen(&mut backoff).await {
                Err(error) if is_refused_setting(&error) => self.connector.found_pooler(),
                Err(error) => {
                    tracing::warn!(%error, channel = self.channel, "waiters poll until notifications are back");
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
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.connector.options().clone());
        let mut listener = PgListener::connect_with(&own).await?;
        // What happens while it is away is not seen afterwards, so it must not come back unnoticed.
        listener.eager_reconnect(false);
        if !in_time(are_settings_applied(&mut listener)).await? {
            self.connector.found_pooler();
            return Ok(());
        }
        // In this order: whoever released before this could be told has committed when everybody looks, below.
        let listeners = format!("select pg_catalog.pg_advisory_lock_shared('{}'::int8)", self.lock);
        in_time(listener.execute(AssertSqlSafe(listeners))).await?;
        in_time(listener.listen(&self.channel)).await?;

        let _standing = Standing::set(&self.stands);
        *backoff = FIRST_BACKOFF;
        // Hints may have been missed before.
        self.registry.wake_all();
        let clock = SystemClock;
        loop {
            tokio::select! {
                message = listener.try_recv() => match message? {
                    Some(message) => self.hint(message.payload()),
                    None => return Ok(()),
                },
                () = clock.sleep_until(clock.now() + HEARTBEAT) => {
                    in_time(listener.execute("select 1")).await?;
                }
            }
        }
    }

    /// The payload is a name. Anything else comes from other software: somebody may have meant anybody.
    fn hint(&self, payload: &str) {
        match LeaseName::new(payload) {
            Ok(name) => self.registry.wake(&name),
            Err(_) => self.registry.wake_all(),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let clock = SystemClock;
    tokio::select! {
        outcome = work => outcome,
        () = clock.sleep_until(clock.now() + PATIENCE) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// Says that the channel is listened to, until it is dropped: also when the task is cut short.
struct Standing<'a>(&'a AtomicBool);

impl<'a> Standing<'a> {
    fn set(stands: &'a AtomicBool) -> Self {
        stands.store(true, Ordering::SeqCst);
        Self(stands)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
