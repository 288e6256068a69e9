//! Push: one blocking query on the prefix, repeated for as long as the store lives.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lease_core::{Clock, Error, LeaseName, SystemClock};
use lease_document::{Change, Changes};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{kv::Kv, requests::All, wire::Pair};

/// How long a query without changes waits. The agent adds a sixteenth at most.
const WAIT: Duration = Duration::from_secs(15);
/// How long an answer is waited for, before the agent counts as silent.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pause after an answer without news: Consul also answers when something outside of an empty prefix has changed.
const NO_NEWS: Duration = Duration::from_millis(250);
/// The pause after a failure, and the longest one after several: an answer that is too large costs its bytes each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Every change brings all documents. Pauses behind the answers keep a store below this many bytes per second …
const BYTES_PER_SECOND: u32 = 1024 * 1024;
/// … but for what comes in a burst after quiet times, as much as this time allows: a change here and there is heard of at once.
const BURST: Duration = Duration::from_secs(8);

/// The feed of changes, and the task that fills it once somebody listens.
#[derive(Debug)]
pub(crate) struct Watch {
    kv: Arc<Kv>,
    changes: Changes,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    pub(crate) fn new(kv: Arc<Kv>) -> Self {
        Self { kv, changes: Changes::new(), task: Mutex::default() }
    }

    /// Returns the feed. The task is started on the current runtime, once, and again if its runtime has ended.
    pub(crate) fn changes(&self) -> Changes {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            *task = Some(runtime.spawn(follow(Arc::clone(&self.kv), self.changes.clone())));
        }
        self.changes.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

async fn follow(kv: Arc<Kv>, changes: Changes) {
    let (mut since, mut indexes) = (None, HashMap::new());
    let (mut is_failing, mut pause) = (false, PAUSE);
    // When all that was read would have come at the allowed speed.
    let mut paid_at = SystemClock.now();
    loop {
        match kv.all(since, WAIT, PATIENCE).await {
            Ok(All { pairs, index, bytes }) => {
                let is_first = since.is_none();
                // An index that has gone back is that of other data.
                since = Some(index.max(1)).filter(|index| since.is_none_or(|since| *index >= since));
                let has_news = tell(&kv, &changes, &mut indexes, pairs);
                if is_first {
                    changes.connected();
                }
                (is_failing, pause) = (false, PAUSE);
                let (now, bytes) = (SystemClock.now(), u32::try_from(bytes).unwrap_or(u32::MAX));
                paid_at = paid_at.max(now) + Duration::from_secs(1) * bytes / BYTES_PER_SECOND;
                let owed = paid_at.saturating_since(now).saturating_sub(BURST);
                pass(if has_news { owed } else { owed.max(NO_NEWS) }).await;
            }
            Err(error) => {
                changes.disconnected();
                since = None;
                if !std::mem::replace(&mut is_failing, true) {
                    warn(&error);
                }
                pass(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Tells of each key that has another index than before, and of each that is gone. Returns whether there is any.
fn tell(kv: &Kv, changes: &Changes, indexes: &mut HashMap<LeaseName, u64>, pairs: Vec<Pair>) -> bool {
    let mut before = std::mem::take(indexes);
    let mut has_news = false;
    for pair in pairs {
        // A key of other software is no lease.
        let Some(name) = kv.keys.name(&pair.key) else { continue };
        if before.remove(&name) != Some(pair.modify_index) {
            let value = pair.value();
            has_news = true;
            changes.notify(&name, value.as_deref().map_or(Change::Unknown, Change::Written));
        }
        indexes.insert(name, pair.modify_index);
    }
    before.keys().for_each(|name| changes.notify(name, Change::Deleted));
    has_news || !before.is_empty()
}

fn warn(error: &Error) {
    tracing::warn!(target: "lease", store = crate::STORE, %error, "leases are not watched: waiters poll until they are again");
}

async fn pass(duration: Duration) {
    SystemClock.sleep_until(SystemClock.now() + duration).await;
}
