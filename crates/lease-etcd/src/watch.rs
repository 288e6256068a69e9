//! The watch stream of a store, for waiters and for holders.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use etcd_client::{EventType, GetOptions, WatchFilterType, WatchOptions, WatchResponse, WatchStream};
use lease_core::{FencingToken, LeaseName, Moment, Revocations, WakeupRegistry, Wakeups};
use tokio::{
    runtime::{self, Handle},
    task::JoinHandle,
};

use crate::{
    connections::{Connections, Reply},
    error::{Access, Cure, Failure, classify},
    keys::{Keys, Role},
};

/// The pause before the watch is started again. It doubles with each failure, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Time limit for a sign of life of a stream, after its connection was left by calls.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(1);

/// After hints may have been missed, all waiters are hinted after a random part of this time, so that the stores of all
/// processes do not do so at once.
const HINT_SPREAD: Duration = Duration::from_secs(1);

/// The interval at which the task shows that its runtime runs it, and the silence after which it counts as stopped.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_secs(3);

/// The maximum number of names that get a hint as soon as the watch is established. The others wait for their polls.
const MAX_NEWCOMERS: usize = 10_000;

const OPERATION: &str = "watch";

/// Notifies waiters of changes, and holders of the deletion of their keys.
///
/// The first subscription starts a task, which ends with the store. The task keeps one stream with two watches. The first one
/// is for deletions below the prefix, by a release, a break or an expiry; the server filters out puts, so that renewals wake
/// no waiter. The second one is for announcements. When the stream ends, the task opens a new one on the connection in use,
/// and continues after the last revision that it has received. So no hint is missed, and none is repeated. If that revision
/// was compacted, or the cluster has another history, the watch starts at the current revision, and all waiters are hinted
/// once (S20).
#[derive(Debug)]
pub(crate) struct Watch {
    watching: Watching,
    /// The task, and the runtime that runs it. A subscription on another runtime replaces the task if it is not run any more.
    task: Mutex<Option<(runtime::Id, JoinHandle<()>)>>,
}

#[derive(Debug, Clone)]
struct Watching {
    connections: Arc<Connections>,
    keys: Keys,
    registry: WakeupRegistry,
    revocations: Revocations,
    /// Whether both watches are established at this moment.
    is_established: Arc<AtomicBool>,
    /// The names that were subscribed to while the watches were not established.
    newcomers: Arc<Mutex<HashSet<LeaseName>>>,
    /// The last moment when the task was run.
    heartbeat: Arc<Mutex<Moment>>,
}

impl Watch {
    pub(crate) fn new(connections: Arc<Connections>, keys: Keys) -> Self {
        let (registry, revocations) = (WakeupRegistry::default(), Revocations::default());
        let heartbeat = Arc::new(Mutex::new(connections.clock().now()));
        let (is_established, newcomers) = Default::default();
        let watching = Watching { connections, keys, registry, revocations, is_established, newcomers, heartbeat };
        Self { watching, task: Mutex::default() }
    }

    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let wakeups = self.watching.registry.subscribe(name);
        self.ensure_task();
        self.watching.hint_when_established(name);
        wakeups
    }

    pub(crate) fn revocations(&self) -> Revocations {
        self.ensure_task();
        self.watching.revocations.clone()
    }

    /// Starts the task, unless it runs. It counts as stopped if its runtime has ended, or does not drive its tasks. Does
    /// nothing outside a runtime, where no caller can wait.
    fn ensure_task(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let is_running = task
            .as_ref()
            .is_some_and(|(home, task)| !task.is_finished() && (*home == runtime.id() || self.watching.is_alive()));
        if !is_running {
            *self.watching.heartbeat() = self.watching.connections.clock().now();
            let next = (runtime.id(), runtime.spawn(self.watching.clone().run()));
            if let Some((_, stopped)) = task.replace(next) {
                stopped.abort();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((_, task)) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// The positions of the watches in the history of a cluster.
#[derive(Debug, Clone, Copy)]
struct Position {
    cluster: u64,
    /// Everything up to these revisions was passed on: for the deletions, and for the announcements.
    seen: [i64; 2],
}

/// An open stream with both watches.
struct Open {
    stream: WatchStream,
    position: Position,
    /// Whether the stream does not continue an earlier one, so that hints may have been missed.
    is_restarted: bool,
}

/// The reason why a stream has ended.
enum End {
    /// The revision to continue from was compacted.
    Compacted,
    /// The stream gives no sign of life, on a connection that calls have left.
    Silent,
    Failed(etcd_client::Error),
}

impl Watching {
    async fn run(self) {
        let clock = self.connections.clock();
        let heartbeats = async {
            loop {
                *self.heartbeat() = clock.now();
                clock.sleep_until(clock.now() + HEARTBEAT_INTERVAL).await;
            }
        };
        tokio::join!(self.watch(), heartbeats);
    }

    /// Watches for ever. Opens a new stream whenever one ends.
    async fn watch(&self) {
        let (mut position, mut backoff) = (None, FIRST_BACKOFF);
        loop {
            let failure = match self.open(position).await {
                Ok((number, open)) => {
                    let is_first = position.is_none();
                    position = Some(open.position);
                    match self.follow(number, open, is_first, &mut position, &mut backoff).await {
                        End::Silent => {
                            self.connections.leave(number, "the watch is dead");
                            continue;
                        }
                        End::Compacted => {
                            // `position` stays set: this is not the first stream, and there may be waiters.
                            position = position.map(|position| Position { seen: [i64::MAX; 2], ..position });
                            continue;
                        }
                        End::Failed(error) => {
                            let failure = classify(OPERATION, Access::Read, error);
                            if failure.cure == Cure::Reconnect {
                                self.connections.leave(number, &failure.error.to_string());
                            }
                            failure
                        }
                    }
                }
                Err(failure) => failure,
            };
            tracing::warn!(
                error = %failure.error,
                "the etcd watch is interrupted: until it is back, waiters poll, and holders observe a loss at the next renewal"
            );
            let clock = self.connections.clock();
            clock.sleep_until(clock.now() + backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn open(&self, position: Option<Position>) -> Result<(u64, Open), Failure> {
        let (deleted, end) = self.keys.all();
        let (announced, end_announced) = self.keys.announcements();
        let read = GetOptions::new().with_range(end.as_slice()).with_limit(1).with_keys_only();
        let deletions = WatchOptions::new()
            .with_range(end)
            .with_filters([WatchFilterType::NoPut])
            .with_watch_id(1)
            .with_progress_notify();
        let announcements = WatchOptions::new().with_range(end_announced).with_watch_id(2).with_progress_notify();
        let call = |client: etcd_client::Client| -> Reply<Open> {
            let (deleted, deletions, read) = (deleted.clone(), deletions.clone(), read.clone());
            let (announced, announcements) = (announced.clone(), announcements.clone());
            Box::pin(async move {
                // A linearizable read. It returns the current revision, which a member that lags behind would not, and it
                // fails if the login is not valid, which a watch does not.
                let now = client.kv_client().get(deleted.clone(), Some(read)).await?;
                let (cluster, revision) = now.header().map_or((0, 0), |now| (now.cluster_id(), now.revision()));
                let continued = position.filter(|position| {
                    position.cluster == cluster && position.seen.iter().all(|seen| *seen <= revision)
                });
                let position = continued.unwrap_or(Position { cluster, seen: [revision; 2] });
                let [deletions, announcements] = [(deletions, position.seen[0]), (announcements, position.seen[1])]
                    .map(|(watch, seen)| Some(watch.with_start_revision(seen + 1)));
                let mut stream = client.watch_client().watch(deleted, deletions).await?;
                stream.watch(announced, announcements).await?;
                Ok(Open { stream, position, is_restarted: continued.is_none() })
            })
        };
        self.connections.numbered_call(OPERATION, Access::Read, call).await
    }

    /// Passes on the events of a stream until it ends.
    async fn follow(
        &self,
        number: u64,
        Open { mut stream, is_restarted, .. }: Open,
        is_first: bool,
        position: &mut Option<Position>,
        backoff: &mut Duration,
    ) -> End {
        let clock = self.connections.clock();
        let mut left = self.connections.left();
        let mut _established = None;
        let mut created = 0;
        // When calls have left the connection, this stream may be dead without a sign. It is asked for its progress, once.
        let (mut is_probed, mut answers_until) = (false, None);
        let mut hint_all_at = None;
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                _ = async { left.wait_for(|_| !self.connections.is_in_use(number)).await.is_ok() }, if !is_probed => {
                    is_probed = true;
                    answers_until = Some(clock.now() + PROGRESS_TIMEOUT);
                    match stream.request_progress().await {
                        Ok(()) => continue,
                        Err(error) => return End::Failed(error),
                    }
                }
                () = clock.sleep_until(answers_until.unwrap_or_else(|| clock.now())), if answers_until.is_some() => return End::Silent,
                () = clock.sleep_until(hint_all_at.unwrap_or_else(|| clock.now())), if hint_all_at.is_some() => {
                    hint_all_at = None;
                    self.registry.wake_all();
                    continue;
                }
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return End::Failed(etcd_client::Error::WatchError("the stream ended".to_owned())),
                Err(error) => return End::Failed(error),
            };
            answers_until = None;
            if message.canceled() {
                if message.compact_revision() > 0 {
                    return End::Compacted;
                }
                // For example without the right to read, which the reason says.
                return End::Failed(etcd_client::Error::WatchError(format!("canceled: {}", message.cancel_reason())));
            }
            if message.created() {
                created += 1;
                if created == 2 {
                    *backoff = FIRST_BACKOFF;
                    _established = Some(Established::set(&self.is_established));
                    let newcomers = std::mem::take(&mut *self.newcomers());
                    if is_restarted && is_first {
                        self.registry.wake_all();
                    } else {
                        newcomers.iter().for_each(|name| self.registry.wake(name));
                    }
                    if is_restarted && !is_first {
                        hint_all_at = Some(clock.now() + HINT_SPREAD.mul_f64(rand::random_range(0.0..1.0)));
                    }
                }
            } else if let Some(position) = position {
                position.advance(&message);
            }
            self.pass_on(&message);
        }
    }

    fn pass_on(&self, message: &WatchResponse) {
        for event in message.events() {
            let parsed = event.kv().and_then(|pair| self.keys.parse(pair.key()));
            // The deletion of an announcement is ignored.
            if let Some((name, role)) = parsed
                && (role != Role::Announcement || event.event_type() == EventType::Put)
            {
                self.registry.wake(&name);
                // The revision of the deletion is between the token of the grant that it ended and the next token.
                if role == Role::Grant
                    && let Some(revision) = event.kv().and_then(|pair| pair.mod_revision().try_into().ok())
                    && let Some(token) = FencingToken::new(revision)
                {
                    self.revocations.notify(&name, token);
                }
            }
        }
    }

    fn hint_when_established(&self, name: &LeaseName) {
        let mut newcomers = self.newcomers();
        if newcomers.len() < MAX_NEWCOMERS {
            newcomers.insert(name.clone());
        }
        // The order matters: either the watch is established here, or the task finds this name when it establishes the watch.
        if self.is_established.load(Ordering::SeqCst) {
            newcomers.remove(name);
            self.registry.wake(name);
        }
    }

    fn newcomers(&self) -> MutexGuard<'_, HashSet<LeaseName>> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_alive(&self) -> bool {
        self.connections.clock().now().saturating_since(*self.heartbeat()) < LONGEST_SILENCE
    }

    fn heartbeat(&self) -> MutexGuard<'_, Moment> {
        self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Position {
    /// Records that everything up to this message was passed on, for the watch that the message belongs to. (A progress
    /// notification that was requested belongs to no watch: etcd before 3.5.8 may send it before the events up to its
    /// revision.)
    fn advance(&mut self, message: &WatchResponse) {
        let Some(seen) = usize::try_from(message.watch_id() - 1).ok().and_then(|index| self.seen.get_mut(index)) else {
            return;
        };
        let revisions = message.events().iter().filter_map(|event| Some(event.kv()?.mod_revision()));
        let revision = match revisions.max() {
            Some(revision) => revision,
            None => message.header().map_or(0, etcd_client::ResponseHeader::revision),
        };
        *seen = revision.max(*seen);
    }
}

/// Marks the watches as established until it is dropped, even if the task is aborted.
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
