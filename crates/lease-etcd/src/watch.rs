//! One watch stream for all who wait, and for all who hold.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use etcd_client::{EventType, WatchFilterType, WatchOptions, WatchStream};
use lease_core::{Endings, FencingToken, LeaseName, WakeupRegistry, Wakeups};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    connections::{Connections, Reply},
    error::{Access, Cure, Failure, classify},
    keys::{Keys, Role},
};

/// How long to wait before watching again; doubled each time up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

const OPERATION: &str = "watch";

/// Hands changes to those who wait for them, and deletions to those whose keys they were.
///
/// A task that the first subscription starts keeps one stream with two watches, and ends with the store: one of what is
/// deleted below the prefix, by a release, a break or an expiry (the server leaves out what is put, so that renewals wake
/// nobody), and one of the announcements. When the stream ends it begins anew, on the connection in use by then and at
/// the revision of then, and everybody is hinted once: what was missed, compacted or not, costs an attempt (S20).
#[derive(Debug)]
pub(crate) struct Watch {
    watching: Watching,
    /// Of the last runtime in which somebody subscribed, if that is gone.
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Clone)]
struct Watching {
    connections: Arc<Connections>,
    keys: Keys,
    registry: WakeupRegistry,
    endings: Endings,
    /// Whether both watches stand at this moment.
    stands: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn new(connections: Arc<Connections>, keys: Keys) -> Self {
        let (registry, endings) = (WakeupRegistry::default(), Endings::default());
        let watching = Watching { connections, keys, registry, endings, stands: Arc::default() };
        Self { watching, task: Mutex::default() }
    }

    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let wakeups = self.watching.registry.subscribe(name);
        self.ensure_task();
        // In this order: either it stands, or the one who makes it stand finds the subscription.
        if self.watching.stands.load(Ordering::SeqCst) {
            self.watching.registry.wake(name);
        }
        wakeups
    }

    pub(crate) fn endings(&self) -> Endings {
        self.ensure_task();
        self.watching.endings.clone()
    }

    /// Starts the task, also where the runtime of the last one has ended. Outside a runtime nobody can wait.
    fn ensure_task(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            *task = Some(runtime.spawn(self.watching.clone().run()));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Watching {
    /// Watches, beginning anew as often as it takes.
    async fn run(self) {
        let mut left = self.connections.left();
        let mut backoff = FIRST_BACKOFF;
        loop {
            let failure = match self.open().await {
                Ok((number, stream)) => {
                    let end = tokio::select! {
                        end = self.follow(stream, &mut backoff) => end,
                        // Calls have found the connection dead: so may be this stream, without a sign.
                        _ = left.wait_for(|left| *left == number) => continue,
                    };
                    let failure = classify(OPERATION, Access::Read, end);
                    if failure.cure == Cure::Reconnect {
                        self.connections.leave(number, &failure.error.to_string());
                    }
                    failure
                }
                Err(failure) => failure,
            };
            tracing::warn!(error = %failure.error, "waiters poll, and holders learn by renewing, until the watch is back");
            let clock = self.connections.clock();
            clock.sleep_until(clock.now() + backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn open(&self) -> Result<(u64, WatchStream), Failure> {
        let (deleted, end) = self.keys.all();
        let (announced, end_announced) = self.keys.announcements();
        let deletions = WatchOptions::new().with_range(end).with_filters([WatchFilterType::NoPut]).with_watch_id(1);
        let announcements = WatchOptions::new().with_range(end_announced).with_watch_id(2);
        let call = |client: etcd_client::Client| -> Reply<WatchStream> {
            let (deleted, deletions) = (deleted.clone(), Some(deletions.clone()));
            let (announced, announcements) = (announced.clone(), Some(announcements.clone()));
            Box::pin(async move {
                let mut stream = client.watch_client().watch(deleted, deletions).await?;
                stream.watch(announced, announcements).await?;
                Ok(stream)
            })
        };
        self.connections.numbered_call(OPERATION, Access::Read, call).await
    }

    /// Hands on what comes, until the stream ends.
    async fn follow(&self, mut stream: WatchStream, backoff: &mut Duration) -> etcd_client::Error {
        let mut _standing = None;
        let mut created = 0;
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return etcd_client::Error::WatchError("the stream ended".to_owned()),
                Err(error) => return error,
            };
            if message.canceled() {
                // Compacted away from under a slow reader, or without the right to read: the reason says it.
                return etcd_client::Error::WatchError(format!("canceled: {}", message.cancel_reason()));
            }
            if message.created() {
                created += 1;
                if created == 2 {
                    _standing = Some(Standing::set(&self.stands));
                    *backoff = FIRST_BACKOFF;
                    // Hints may have been missed before.
                    self.registry.wake_all();
                }
            }
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
                        self.endings.tell(&name, token);
                    }
                }
            }
        }
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
