//! Watches all nodes below the chroot, for waiters and for holders.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use lease_core::{Clock, LeaseName, SystemClock};
use lease_document::{Change, Changes};
use tokio::task::JoinHandle;
use zookeeper_client::{AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState, WatchedEvent};

use crate::{content, error::Access, paths::Paths, session::Session};

/// The pause before the watch is set again.
const PAUSE: Duration = Duration::from_millis(100);
/// How many changed nodes are read at once.
const READS_AT_ONCE: usize = 64;

/// A persistent recursive watch on the chroot, which needs ZooKeeper 3.6.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: Changes,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { changes: Changes::new(), task: Mutex::default() }
    }

    /// Returns the feed, and sees that a task feeds it: the last one may have ended with its runtime.
    pub(crate) fn start(&self, session: &Arc<Session>, paths: &Paths) -> Changes {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            self.changes.disconnected();
            let watching =
                Watching { session: Arc::downgrade(session), paths: paths.clone(), changes: self.changes.clone() };
            *task = Some(tokio::spawn(watching.run()));
        }
        self.changes.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

struct Watching {
    session: Weak<Session>,
    paths: Paths,
    changes: Changes,
}

impl Watching {
    /// Watches by one session after the other, until the store is dropped.
    async fn run(self) {
        while let Some(session) = self.session.upgrade() {
            if let Ok(client) = session.client("watch") {
                drop(session);
                let chroot = self.paths.chroot();
                match client.watch(chroot, AddWatchMode::PersistentRecursive).await {
                    Ok(watcher) => self.follow(&client, watcher).await,
                    Err(cause) => {
                        let Some(session) = self.session.upgrade() else { return };
                        let error = session.failed(&client, cause, "watch", Access::Read, chroot);
                        tracing::debug!(target: "lease", store = crate::STORE, %error, "the watch could not be set: trying again");
                    }
                }
                self.changes.disconnected();
            } else {
                drop(session);
            }
            SystemClock.sleep_until(SystemClock.now() + PAUSE).await;
        }
    }

    /// Follows a watch until its session ends. Events are taken at once, since the driver queues them without a limit. Those of nodes
    /// that this process wrote are read side by side, each once for any number of events: its grant may have ended.
    async fn follow(&self, client: &Client, mut watcher: PersistentWatcher) {
        self.changes.connected();
        let mut changed = BTreeSet::new();
        let mut reads = FuturesUnordered::new();
        loop {
            while reads.len() < READS_AT_ONCE
                && let Some(name) = changed.pop_first()
            {
                reads.push(self.read(client, name));
            }
            tokio::select! {
                event = watcher.changed() => {
                    if self.take(event, &mut changed).is_break() {
                        return;
                    }
                }
                Some(()) = reads.next() => {}
            }
        }
    }

    fn take(&self, event: WatchedEvent, changed: &mut BTreeSet<LeaseName>) -> ControlFlow<()> {
        match (event.event_type, event.session_state) {
            // Events of the time in between are lost (ZOOKEEPER-4698), so everybody looks.
            (EventType::Session, SessionState::SyncConnected) => self.changes.connected(),
            (EventType::Session, SessionState::Disconnected) => self.changes.disconnected(),
            (EventType::Session, _) => return ControlFlow::Break(()),
            (EventType::NodeDeleted, _) => {
                if let Some(name) = self.paths.name(&event.path) {
                    self.changes.notify(&name, Change::Deleted);
                }
            }
            _ => match self.paths.name(&event.path) {
                Some(name) if self.changes.is_own(&name) => drop(changed.insert(name)),
                Some(name) => self.changes.notify(&name, Change::Unknown),
                None => {}
            },
        }
        ControlFlow::Continue(())
    }

    /// Reads a node of this process that was changed, and tells of it. The answer is at least as new as the event, because both come from one server.
    async fn read(&self, client: &Client, name: LeaseName) {
        match client.get_data(&self.paths.of(&name)).await {
            Ok((data, stat)) => self.changes.notify(&name, Change::Written(&content::value(data, &stat))),
            Err(Error::NoNode) => self.changes.notify(&name, Change::Deleted),
            Err(_) => self.changes.notify(&name, Change::Unknown),
        }
    }
}
