//! One watch stream for all who wait, and for all who hold.

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

/// How long to wait before watching again; doubled each time up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// How long a stream may take to show that it lives, when calls have found its connection dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Where hints may have been missed, everybody is hinted within this time: not all stores of all processes at once.
const SPREAD: Duration = Duration::from_secs(1);

/// So often the task says that its runtime runs it, and so long it may say nothing.
const BEAT: Duration = Duration::from_secs(1);
const LONGEST_SILENCE: Duration = Duration::from_secs(3);

/// More names than these that are subscribed to while no watch stands have to wait for their polls.
const MOST_NEWCOMERS: usize = 10_000;

const OPERATION: &str = "watch";

/// Hands changes to those who wait for them, and deletions to those whose keys they were.
///
/// A task that the first subscription starts keeps one stream with two watches, and ends with the store: one of what is
/// deleted below the prefix, by a release, a break or an expiry (the server leaves out what is put, so that renewals wake
/// nobody), and one of the announcements. When the stream ends it goes on, on the connection in use by then, after the last
/// revision that it has seen: nothing is missed, and nobody is hinted for nothing. Only where that is compacted away, or
/// the cluster's history is another one, it begins anew, and everybody is hinted once (S20).
#[derive(Debug)]
pub(crate) struct Watch {
    watching: Watching,
    /// Of the last runtime in which somebody subscribed, if the one before does not run it any more.
    task: Mutex<Option<(runtime::Id, JoinHandle<()>)>>,
}

#[derive(Debug, Clone)]
struct Watching {
    connections: Arc<Connections>,
    keys: Keys,
    registry: WakeupRegistry,
    revocations: Revocations,
    /// Whether both watches stand at this moment.
    stands: Arc<AtomicBool>,
    /// Who has come while they did not.
    newcomers: Arc<Mutex<HashSet<LeaseName>>>,
    /// When the task was run last.
    beat: Arc<Mutex<Moment>>,
}

impl Watch {
    pub(crate) fn new(connections: Arc<Connections>, keys: Keys) -> Self {
        let (registry, revocations) = (WakeupRegistry::default(), Revocations::default());
        let beat = Arc::new(Mutex::new(connections.clock().now()));
        let (stands, newcomers) = Default::default();
        let watching = Watching { connections, keys, registry, revocations, stands, newcomers, beat };
        Self { watching, task: Mutex::default() }
    }

    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let wakeups = self.watching.registry.subscribe(name);
        self.ensure_task();
        self.watching.hint_when_it_stands(name);
        wakeups
    }

    pub(crate) fn revocations(&self) -> Revocations {
        self.ensure_task();
        self.watching.revocations.clone()
    }

    /// Starts the task, also where the runtime of the last one has ended, or runs nothing. Outside a runtime nobody can wait.
    fn ensure_task(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        let lives = task
            .as_ref()
            .is_some_and(|(home, task)| !task.is_finished() && (*home == runtime.id() || self.watching.has_beaten()));
        if !lives {
            *self.watching.beat() = self.watching.connections.clock().now();
            let next = (runtime.id(), runtime.spawn(self.watching.clone().run()));
            if let Some((_, silent)) = task.replace(next) {
                silent.abort();
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

/// How far the watches have come in the history of a cluster.
#[derive(Debug, Clone, Copy)]
struct Place {
    cluster: u64,
    /// Up to these revisions everything was handed on: of the deletions, of the announcements.
    seen: [i64; 2],
}

/// A stream with both watches.
struct Open {
    stream: WatchStream,
    place: Place,
    /// Whether hints may have been missed before.
    is_anew: bool,
}

/// Why a stream is followed no longer.
enum End {
    /// What comes next in it is compacted away.
    Compacted,
    /// Its connection is dead.
    Silent,
    Failed(etcd_client::Error),
}

impl Watching {
    async fn run(self) {
        let clock = self.connections.clock();
        let beats = async {
            loop {
                *self.beat() = clock.now();
                clock.sleep_until(clock.now() + BEAT).await;
            }
        };
        tokio::join!(self.watch(), beats);
    }

    /// Watches, going on as often as it takes.
    async fn watch(&self) {
        let (mut place, mut backoff) = (None, FIRST_BACKOFF);
        loop {
            let failure = match self.open(place).await {
                Ok((number, open)) => {
                    let is_first = place.is_none();
                    place = Some(open.place);
                    match self.follow(number, open, is_first, &mut place, &mut backoff).await {
                        End::Silent => {
                            self.connections.leave(number, "the watch is dead");
                            continue;
                        }
                        End::Compacted => {
                            // Not the first one: who waits has waited.
                            place = place.map(|place| Place { seen: [i64::MAX; 2], ..place });
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
            tracing::warn!(error = %failure.error, "waiters poll, and holders learn by renewing, until the watch is back");
            let clock = self.connections.clock();
            clock.sleep_until(clock.now() + backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn open(&self, place: Option<Place>) -> Result<(u64, Open), Failure> {
        let (deleted, end) = self.keys.all();
        let (announced, end_announced) = self.keys.announcements();
        let look = GetOptions::new().with_range(end.as_slice()).with_limit(1).with_keys_only();
        let deletions = WatchOptions::new()
            .with_range(end)
            .with_filters([WatchFilterType::NoPut])
            .with_watch_id(1)
            .with_progress_notify();
        let announcements = WatchOptions::new().with_range(end_announced).with_watch_id(2).with_progress_notify();
        let call = |client: etcd_client::Client| -> Reply<Open> {
            let (deleted, deletions, look) = (deleted.clone(), deletions.clone(), look.clone());
            let (announced, announcements) = (announced.clone(), announcements.clone());
            Box::pin(async move {
                // A read that all members agree on: it tells where the history is, which a member that is behind does not,
                // and whether the login is good, which a watch does not.
                let now = client.kv_client().get(deleted.clone(), Some(look)).await?;
                let (cluster, revision) = now.header().map_or((0, 0), |now| (now.cluster_id(), now.revision()));
                let goes_on =
                    place.filter(|place| place.cluster == cluster && place.seen.iter().all(|seen| *seen <= revision));
                let place = goes_on.unwrap_or(Place { cluster, seen: [revision; 2] });
                let [deletions, announcements] = [(deletions, place.seen[0]), (announcements, place.seen[1])]
                    .map(|(watch, seen)| Some(watch.with_start_revision(seen + 1)));
                let mut stream = client.watch_client().watch(deleted, deletions).await?;
                stream.watch(announced, announcements).await?;
                Ok(Open { stream, place, is_anew: goes_on.is_none() })
            })
        };
        self.connections.numbered_call(OPERATION, Access::Read, call).await
    }

    /// Hands on what comes, until the stream ends.
    async fn follow(
        &self,
        number: u64,
        Open { mut stream, is_anew, .. }: Open,
        is_first: bool,
        place: &mut Option<Place>,
        backoff: &mut Duration,
    ) -> End {
        let clock = self.connections.clock();
        let mut left = self.connections.left();
        let mut _standing = None;
        let mut created = 0;
        // Calls have found its connection dead: so may be this stream, without a sign. It is asked, once.
        let (mut is_asked, mut answers_until) = (false, None);
        let mut hint_all_at = None;
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                _ = async { left.wait_for(|_| !self.connections.is_in_use(number)).await.is_ok() }, if !is_asked => {
                    is_asked = true;
                    answers_until = Some(clock.now() + SIGN_OF_LIFE);
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
                // Without the right to read: the reason says it.
                return End::Failed(etcd_client::Error::WatchError(format!("canceled: {}", message.cancel_reason())));
            }
            if message.created() {
                created += 1;
                if created == 2 {
                    *backoff = FIRST_BACKOFF;
                    _standing = Some(Standing::set(&self.stands));
                    let newcomers = std::mem::take(&mut *self.newcomers());
                    if is_anew && is_first {
                        self.registry.wake_all();
                    } else {
                        newcomers.iter().for_each(|name| self.registry.wake(name));
                    }
                    if is_anew && !is_first {
                        hint_all_at = Some(clock.now() + SPREAD.mul_f64(rand::random_range(0.0..1.0)));
                    }
                }
            } else if let Some(place) = place {
                place.advance(&message);
            }
            self.hand_on(&message);
        }
    }

    fn hand_on(&self, message: &WatchResponse) {
        for event in message.events() {
            let parsed = event.kv().and_then(|pair| self.keys.parse(pair.key()));
            // That an announcement itself expires is no news.
            if let Some((name, role)) = parsed
                && (role != Role::Announcement || event.event_type() == EventType::Put)
            {
                self.registry.wake(&name);
                // A revision lies between the token of the grant that it ended and the next one.
                if role == Role::Grant
                    && let Some(revision) = event.kv().and_then(|pair| pair.mod_revision().try_into().ok())
                    && let Some(token) = FencingToken::new(revision)
                {
                    self.revocations.notify(&name, token);
                }
            }
        }
    }

    fn hint_when_it_stands(&self, name: &LeaseName) {
        let mut newcomers = self.newcomers();
        if newcomers.len() < MOST_NEWCOMERS {
            newcomers.insert(name.clone());
        }
        // In this order: either it stands, or the one who makes it stand finds the newcomer.
        if self.stands.load(Ordering::SeqCst) {
            newcomers.remove(name);
            self.registry.wake(name);
        }
    }

    fn newcomers(&self) -> MutexGuard<'_, HashSet<LeaseName>> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_beaten(&self) -> bool {
        self.connections.clock().now().saturating_since(*self.beat()) < LONGEST_SILENCE
    }

    fn beat(&self) -> MutexGuard<'_, Moment> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What is up to this message was handed on, in the watch that it is of. (One that was asked for is of none: etcd before
    /// 3.5.8 may send it before what it says was sent.)
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

/// Says that the watches stand, until it is dropped: also when the task is cut short.
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
