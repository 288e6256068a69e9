//! The index: the names of all leases in order, by which a list finds them without a scan of the database.
//!
//! The index has a key of its own, which in a Cluster has another slot than most leases. So no script changes both at once, and
//! the index is only a hint: a name is added beside each attempt to acquire it, in the background until that succeeds; renewals
//! repeat it now and then, and names that ended a while ago are removed. The record of a lease decides whether it is in force.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use fred::prelude::Value;
use futures::future::join_all;
use lease_core::{
    AcquireRequest, Acquired, Clock, ErrorKind, LeaseName, LeaseRecord, Moment, RenewRequest, Renewed, Result,
    SystemClock,
};
use tokio::runtime::Handle;

use super::{LIST, missing::Missing, scan::has_grant_from_before};
use crate::{
    STORE,
    connections::CallOptions,
    error::redis_error,
    failure::Access,
    keys::slot,
    operations::{Acquire, Inspect, Inspected, Renew, perform},
    scripts::Script,
    shared::Shared,
};

/// The age in seconds from which the index is complete. Before that, processes of an earlier version may grant leases without
/// adding them, during an upgrade. An index is complete at once if nothing was granted before it existed.
const COMPLETE_AFTER: u64 = 24 * 3600;

/// By how many seconds the clocks of the servers of a Cluster may differ.
const CLOCK_DIFFERENCE: u64 = 10;

/// How long a name that was seen in the index, and in force, stays in the index at least.
const LISTED_FOR: Duration = Duration::from_secs(30);

/// How long ago a lease must have ended before its name is removed: longer than any process takes it to be listed.
const REMOVED_AFTER: Duration = Duration::from_secs(60);

/// The largest number of names that a process remembers to be listed.
const MAX_REMEMBERED: usize = 10_000;

/// How long an answer is delayed until the index has its names, which it nearly always has by then.
const ADD_TIMEOUT: Duration = Duration::from_millis(5);

/// How long the addition of names in the background waits after a failure. It doubles up to the longest.
const MIN_ADD_PAUSE: Duration = Duration::from_millis(50);
const MAX_ADD_PAUSE: Duration = Duration::from_secs(1);

/// One in this number of renewal calls adds its names again, because the server may have lost the index, or a fail-over a part of
/// it. An odd number, so that calls that alternate all have their turn.
const RENEWALS_PER_ADDITION: u64 = 17;

/// The number of names in one page of the index.
const PAGE: usize = 256;

/// After this number of added names, a page of twice the size is swept. So the index does not grow with ended leases, even if no
/// process lists.
const ADDITIONS_PER_SWEEP: u64 = PAGE as u64 / 2;

/// The index of a store, and what this process has observed of it.
pub(crate) struct Index {
    shared: Arc<Shared>,
    /// When each name was last seen in the index, and in force.
    listed: Mutex<HashMap<LeaseName, Moment>>,
    /// The names that are being added in the background.
    missing: Missing,
    /// The number of renewal calls.
    renewals: AtomicU64,
    /// The number of added names.
    additions: AtomicU64,
    /// Whether it was determined, or is being determined, that nothing was granted before the index existed.
    has_searched: AtomicBool,
    is_sweeping: AtomicBool,
    /// The last name that was swept.
    swept: Mutex<String>,
    /// Whether the user lacks the rights.
    is_refused: AtomicBool,
}

/// A page of the index.
struct Page {
    /// The time by the server's clock, in seconds since 1970.
    now: u64,
    /// When the index was created.
    since: u64,
    names: Vec<LeaseName>,
    /// The last name, if there may be more.
    next: Option<String>,
}

impl Index {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            listed: Mutex::default(),
            missing: Missing::default(),
            renewals: AtomicU64::new(0),
            additions: AtomicU64::new(0),
            has_searched: AtomicBool::new(false),
            is_sweeping: AtomicBool::new(false),
            swept: Mutex::default(),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Performs attempts to acquire, and adds their names.
    pub(crate) async fn acquire(self: &Arc<Self>, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let names = if self.is_refused() { Vec::new() } else { self.unlisted(requests) };
        let acquire = perform(&Acquire, &self.shared, requests);
        if names.is_empty() {
            return acquire.await;
        }
        let (answers, are_listed) = self.adding(&names, acquire).await;
        if are_listed {
            let is_in_force = |answer: &_| matches!(answer, Ok(Acquired::Granted(_) | Acquired::Held { .. }));
            let in_force = requests.iter().zip(&answers).filter(|(_, answer)| is_in_force(answer));
            self.remember(in_force.map(|(request, _)| request.name.clone()));
        } else {
            self.add_in_background(&names);
        }
        let more = names.len() as u64;
        let before = self.additions.fetch_add(more, Ordering::Relaxed);
        if before / ADDITIONS_PER_SWEEP != (before + more) / ADDITIONS_PER_SWEEP {
            self.sweep_in_background();
        }
        answers
    }

    /// Performs renewals, and adds their names now and then.
    pub(crate) async fn renew(self: &Arc<Self>, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let renewals = self.renewals.fetch_add(1, Ordering::Relaxed);
        let renew = perform(&Renew, &self.shared, requests);
        if self.is_refused() || renewals % RENEWALS_PER_ADDITION != RENEWALS_PER_ADDITION - 1 {
            return renew.await;
        }
        let names: Vec<LeaseName> = requests.iter().map(|request| request.claim.name.clone()).collect();
        let (answers, are_listed) = self.adding(&names, renew).await;
        if !are_listed {
            self.add_in_background(&names);
        }
        answers
    }

    /// Returns at most `limit` leases in force; `None` if the index is not complete.
    pub(super) async fn list(
        self: &Arc<Self>,
        prefix: &str,
        after: Option<&LeaseName>,
        limit: usize,
    ) -> Result<Option<Vec<LeaseRecord>>> {
        if self.is_refused() {
            return Ok(None);
        }
        let mut from = match after {
            Some(after) if after.as_str() >= prefix => format!("({after}"),
            _ => format!("[{prefix}"),
        };
        // The first character that no name contains.
        let to = format!("({prefix}\u{7f}");
        let mut records = Vec::new();
        loop {
            let page = match self.page(&from, &to).await {
                Err(_) if self.is_refused() => return Ok(None),
                page => page?,
            };
            if page.now < page.since + COMPLETE_AFTER {
                self.search_in_background(page.since);
                return Ok(None);
            }
            records.extend(self.in_force(&page.names).await?);
            match page.next {
                Some(next) if records.len() < limit => from = format!("({next}"),
                _ => break,
            }
        }
        records.truncate(limit);
        Ok(Some(records))
    }

    /// Returns the names that are not known to be in the index.
    fn unlisted(&self, requests: &[AcquireRequest]) -> Vec<LeaseName> {
        let (listed, now) = (lock(&self.listed), SystemClock.now());
        let is_listed = |name: &&LeaseName| listed.get(*name).is_some_and(|at| now < *at + LISTED_FOR);
        requests.iter().map(|request| &request.name).filter(|name| !is_listed(name)).cloned().collect()
    }

    /// Notes that these names are in the index, and in force.
    fn remember(&self, names: impl Iterator<Item = LeaseName>) {
        let (mut listed, now) = (lock(&self.listed), SystemClock.now());
        if listed.len() >= MAX_REMEMBERED {
            listed.retain(|_, at| now < *at + LISTED_FOR);
        }
        let room = MAX_REMEMBERED.saturating_sub(listed.len());
        listed.extend(names.take(room).map(|name| (name, now)));
    }

    /// Adds names, just before `call` is sent. Returns its answer, and whether the names were added: their addition is not
    /// waited for.
    async fn adding<T>(&self, names: &[LeaseName], call: impl Future<Output = T>) -> (T, bool) {
        let (mut adding, mut call) = (pin!(self.add(names)), pin!(call));
        tokio::select! {
            biased;
            added = &mut adding => (call.await, added.is_ok()),
            answer = &mut call => {
                let added = tokio::select! {
                    added = adding => added.is_ok(),
                    () = SystemClock.sleep_until(SystemClock.now() + ADD_TIMEOUT) => false,
                };
                (answer, added)
            }
        }
    }

    async fn add(&self, names: &[LeaseName]) -> Result<()> {
        // All at once, so that a caller that stops waiting leaves no name out.
        let additions = names.chunks(PAGE).map(async |names| {
            self.run(&self.shared.scripts().index_add, Access::Write, &|| texts(names)).await.map(drop)
        });
        join_all(additions).await.into_iter().collect()
    }

    /// Adds names without a caller that waits, again and again until it succeeds: a list would lack them meanwhile (S19).
    fn add_in_background(self: &Arc<Self>, names: &[LeaseName]) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.missing.note(names) {
            return;
        }
        let mut addition = Addition(Arc::downgrade(self));
        runtime.spawn(async move {
            let mut pause = MIN_ADD_PAUSE;
            // Until the store is dropped.
            while let Some(index) = addition.0.upgrade() {
                let names = index.missing.to_add();
                if names.is_empty() {
                    // Another task may begin from here on, whose end this is not.
                    std::mem::take(&mut addition.0);
                    return;
                }
                if index.is_refused() {
                    return;
                }
                if index.add(&names).await.is_ok() {
                    index.missing.added(&names);
                    continue;
                }
                drop(index);
                SystemClock.sleep_until(SystemClock.now() + pause).await;
                pause = (pause * 2).min(MAX_ADD_PAUSE);
            }
        });
    }

    /// Returns the leases in force among these names, in order. Removes the names of leases that ended a while ago.
    async fn in_force(&self, names: &[LeaseName]) -> Result<Vec<LeaseRecord>> {
        let (mut records, ended) = self.inspect(names).await?;
        if ended.is_empty()
            || self.run(&self.shared.scripts().index_remove, Access::Write, &|| texts(&ended)).await.is_err()
        {
            return Ok(records);
        }
        // One of them may have been granted just before it was removed.
        let (back, _) = self.inspect(&ended).await?;
        if !back.is_empty() {
            let names: Vec<LeaseName> = back.iter().map(|record| record.name.clone()).collect();
            let _ = self.add(&names).await;
            records.extend(back);
            records.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(records)
    }

    /// Returns the leases in force among these names, and the names of those that ended a while ago.
    async fn inspect(&self, names: &[LeaseName]) -> Result<(Vec<LeaseRecord>, Vec<LeaseName>)> {
        let (mut records, mut ended) = (Vec::new(), Vec::new());
        for (name, inspected) in names.iter().zip(perform(&Inspect, &self.shared, names).await) {
            match inspected {
                Ok(Inspected::Held(record)) => records.push(record),
                Ok(Inspected::Ended { since, .. }) if since < REMOVED_AFTER => {}
                Ok(Inspected::Ended { .. } | Inspected::Absent) => ended.push(name.clone()),
                // A key of other software that begins with the prefix.
                Err(error) if error.kind() == ErrorKind::Invalid => {}
                Err(error) => return Err(error),
            }
        }
        Ok((records, ended))
    }

    /// Searches the database for a grant from before the index, once in each process. Without one, no earlier version is in use,
    /// because records are kept for the retention, a day by default; the index is then marked as complete.
    fn search_in_background(self: &Arc<Self>, since: u64) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.has_searched.swap(true, Ordering::SeqCst) {
            return;
        }
        let index = Arc::clone(self);
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(since.saturating_sub(CLOCK_DIFFERENCE));
        runtime.spawn(async move {
            let is_done = match has_grant_from_before(&index.shared, created).await {
                Ok(Some(true)) => true,
                Ok(Some(false)) => {
                    index.run(&index.shared.scripts().index_trust, Access::Write, &Vec::new).await.is_ok()
                }
                // The next list searches again.
                Ok(None) | Err(_) => false,
            };
            if !is_done {
                index.has_searched.store(false, Ordering::SeqCst);
            }
        });
    }

    fn sweep_in_background(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
        let sweep = Sweep(Arc::clone(self));
        runtime.spawn(async move {
            // After a failure, the next sweep does it.
            let _ = sweep.0.sweep().await;
        });
    }

    /// Removes the names of one page that ended a while ago.
    async fn sweep(&self) -> Result<()> {
        let from = match lock(&self.swept).as_str() {
            "" => "(\u{1}".to_owned(),
            last => format!("({last}"),
        };
        let page = self.page(&from, "+").await?;
        self.in_force(&page.names).await?;
        *lock(&self.swept) = page.next.unwrap_or_default();
        Ok(())
    }

    async fn page(&self, from: &str, to: &str) -> Result<Page> {
        let arguments = || vec![from.to_owned().into(), to.to_owned().into(), Value::from(PAGE as u32)];
        let answer = self.run(&self.shared.scripts().index_page, Access::Read, &arguments).await?;
        let unreadable = || {
            let server = self.shared.connections().server();
            let message = format!("the answer of {server} for the index of names could not be parsed");
            redis_error(ErrorKind::Unavailable, LIST, message)
        };
        let [now, since, names @ ..] = answer.as_slice() else { return Err(unreadable()) };
        let (now, since) = (now.as_u64().ok_or_else(unreadable)?, since.as_u64().ok_or_else(unreadable)?);
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        let next = (names.len() == PAGE).then(|| names.last().map(|name| name.to_string())).flatten();
        // Other software has written what is not a name.
        let names = names.iter().filter_map(|name| LeaseName::new(&**name).ok()).collect();
        Ok(Page { now, since, names, next })
    }

    /// Runs a script of the index. Warns once if the user lacks the rights.
    async fn run(
        &self,
        script: &Script,
        access: Access,
        arguments: &(impl Fn() -> Vec<Value> + Send + Sync),
    ) -> Result<Vec<Value>> {
        let (key, connections) = (self.shared.keys().index(), self.shared.connections());
        let slot = connections.is_cluster().then(|| slot(&key));
        let arguments = || (vec![key.clone()], arguments());
        match connections.run(slot, script, CallOptions::new(access, None), arguments).await {
            Ok(answered) => Ok(answered.values),
            Err(failure) => {
                let error = self.shared.error(LIST, failure);
                if error.kind() == ErrorKind::Denied && !self.is_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        store = STORE,
                        server = connections.server(),
                        "the server refuses the index of names, so each list and each election scans the whole database: allow \
                         the user +zadd +zrem +zrangebylex"
                    );
                }
                Err(error)
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }
}

fn texts(names: &[LeaseName]) -> Vec<Value> {
    names.iter().map(|name| name.as_str().into()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An addition of names in the background; it ends when this is dropped.
struct Addition(Weak<Index>);

impl Drop for Addition {
    fn drop(&mut self) {
        if let Some(index) = self.0.upgrade() {
            index.missing.task_ended();
        }
    }
}

/// A sweep in the background; it ends when this is dropped.
struct Sweep(Arc<Index>);

impl Drop for Sweep {
    fn drop(&mut self) {
        self.0.is_sweeping.store(false, Ordering::SeqCst);
    }
}
