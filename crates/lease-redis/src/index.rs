//! The index: the names of all leases in order, by which a list finds them without walking over the whole database.
//!
//! It lies at a key of its own, which in Cluster is elsewhere than most leases, so nothing is done to both at once: it is a hint.
//! Whoever tries for a name writes it in beside that, renewals repeat it now and then, and what has been over for a while is taken
//! out. Whether a lease is in force is what its record says.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
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

use crate::{
    STORE,
    acquire::Acquire,
    admin::{LIST, Look, Looked},
    batch::perform,
    call::Access,
    error::here,
    keys::slot,
    renew::Renew,
    scripts::Script,
    store::Inner,
};

/// In seconds. Before the index has been there for so long, there may be processes that grant leases and do not know of it: those
/// of a version before, in an upgrade. Unless nothing was granted before there was an index.
const COMPLETE_AFTER: u64 = 24 * 3600;

/// In seconds. So much the clocks of the servers of a Cluster may differ.
const CLOCKS_DIFFER: u64 = 10;

/// A name that was seen to be in the index, and in force, is in the index for so long at least.
const LISTED_FOR: Duration = Duration::from_secs(30);

/// A name is taken out when its lease has been over for longer than anybody takes it to be listed.
const OVER_FOR: Duration = Duration::from_secs(60);

/// So many names are remembered to be listed.
const MOST_REMEMBERED: usize = 10_000;

/// How long an answer is kept back until the index has its names, which it nearly always has by then.
const PATIENCE: Duration = Duration::from_millis(5);

/// One in so many calls that renew writes its names in again: the server may have lost the index, or a fail-over a part of it. An
/// odd number, so that calls which take turns have theirs.
const REPEATED: u64 = 17;

/// After so many names that were written in, a page of the index is swept, which has twice as many: it does not grow with what is
/// over, though nobody lists.
const SWEPT: u64 = PAGE as u64 / 2;

/// How many names are asked for at once.
const PAGE: usize = 256;

/// What a process knows of the index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    listed: Mutex<HashMap<LeaseName, Moment>>,
    renewals: AtomicU64,
    /// How many names were written in.
    additions: AtomicU64,
    has_found_out: AtomicBool,
    is_sweeping: AtomicBool,
    /// The last name that was swept.
    swept: Mutex<String>,
    is_refused: AtomicBool,
}

/// What the index answers.
struct Page {
    /// By the server's clock, in seconds since 1970.
    now: u64,
    /// When the index began.
    since: u64,
    names: Vec<LeaseName>,
    /// The last name, if there may be more.
    next: Option<String>,
}

impl Index {
    /// Those of the names that are not known to be in the index.
    fn unlisted(&self, requests: &[AcquireRequest]) -> Vec<LeaseName> {
        let (listed, now) = (lock(&self.listed), SystemClock.now());
        let is_listed = |name: &&LeaseName| listed.get(*name).is_some_and(|at| now < *at + LISTED_FOR);
        requests.iter().map(|request| &request.name).filter(|name| !is_listed(name)).cloned().collect()
    }

    /// They are in the index, and in force.
    fn remember(&self, names: impl Iterator<Item = LeaseName>) {
        let (mut listed, now) = (lock(&self.listed), SystemClock.now());
        if listed.len() >= MOST_REMEMBERED {
            listed.retain(|_, at| now < *at + LISTED_FOR);
        }
        let room = MOST_REMEMBERED.saturating_sub(listed.len());
        listed.extend(names.take(room).map(|name| (name, now)));
    }

    fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) async fn acquire(self: &Arc<Self>, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let index = self.index();
        let names = if index.is_refused() { Vec::new() } else { index.unlisted(requests) };
        if names.is_empty() {
            return perform(&Acquire, self, requests).await;
        }
        let (answers, are_listed) = self.writing_in(&names, perform(&Acquire, self, requests)).await;
        if are_listed {
            let is_in_force = |answer: &_| matches!(answer, Ok(Acquired::Granted(_) | Acquired::Held { .. }));
            let in_force = requests.iter().zip(&answers).filter(|(_, answer)| is_in_force(answer));
            index.remember(in_force.map(|(request, _)| request.name.clone()));
        }
        let more = names.len() as u64;
        let before = index.additions.fetch_add(more, Ordering::Relaxed);
        if before / SWEPT != (before + more) / SWEPT {
            self.sweep_in_background();
        }
        answers
    }

    pub(crate) async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let renewals = self.index().renewals.fetch_add(1, Ordering::Relaxed);
        if self.index().is_refused() || renewals % REPEATED != REPEATED - 1 {
            return perform(&Renew, self, requests).await;
        }
        let names: Vec<LeaseName> = requests.iter().map(|request| request.claim.name.clone()).collect();
        self.writing_in(&names, perform(&Renew, self, requests)).await.0
    }

    /// Writes names into the index, just before that call is sent. Says whether the index has them; it is not waited for.
    async fn writing_in<T>(&self, names: &[LeaseName], call: impl Future<Output = T>) -> (T, bool) {
        let (mut writing, mut call) = (pin!(self.write_in(names)), pin!(call));
        tokio::select! {
            biased;
            written = &mut writing => (call.await, written.is_ok()),
            answer = &mut call => {
                let written = tokio::select! {
                    written = writing => written.is_ok(),
                    () = SystemClock.sleep_until(SystemClock.now() + PATIENCE) => false,
                };
                (answer, written)
            }
        }
    }

    async fn write_in(&self, names: &[LeaseName]) -> Result<()> {
        // All are sent at once: whoever stops waiting for the answers leaves none out.
        let writing = names.chunks(PAGE).map(async |names| {
            self.ask_index(&self.scripts().index_add, Access::Write, &|| words(names)).await.map(drop)
        });
        join_all(writing).await.into_iter().collect()
    }

    /// At most so many leases in force; nothing where the index does not know all of them.
    pub(crate) async fn list_by_index(
        self: &Arc<Self>,
        prefix: &str,
        after: Option<&LeaseName>,
        limit: usize,
    ) -> Result<Option<Vec<LeaseRecord>>> {
        if self.index().is_refused() {
            return Ok(None);
        }
        let mut from = match after {
            Some(after) if after.as_str() >= prefix => format!("({after}"),
            _ => format!("[{prefix}"),
        };
        // The first character that no name has.
        let to = format!("({prefix}\u{7f}");
        let mut records = Vec::new();
        loop {
            let page = match self.index_page(&from, &to).await {
                Err(_) if self.index().is_refused() => return Ok(None),
                page => page?,
            };
            if page.now < page.since + COMPLETE_AFTER {
                self.find_out_in_background(page.since);
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

    /// Those of these names that are in force, in order. What has been over for a while is taken out of the index.
    async fn in_force(&self, names: &[LeaseName]) -> Result<Vec<LeaseRecord>> {
        let (mut records, over) = self.look_at(names).await?;
        if over.is_empty()
            || self.ask_index(&self.scripts().index_remove, Access::Write, &|| words(&over)).await.is_err()
        {
            return Ok(records);
        }
        // Somebody may have been granted one of them just before it was taken out.
        let (back, _) = self.look_at(&over).await?;
        if !back.is_empty() {
            let names: Vec<LeaseName> = back.iter().map(|record| record.name.clone()).collect();
            let _ = self.write_in(&names).await;
            records.extend(back);
            records.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(records)
    }

    /// Which of these names are in force, and which have been over for a while.
    async fn look_at(&self, names: &[LeaseName]) -> Result<(Vec<LeaseRecord>, Vec<LeaseName>)> {
        let (mut records, mut over) = (Vec::new(), Vec::new());
        for (name, looked) in names.iter().zip(perform(&Look, self, names).await) {
            match looked {
                Ok(Looked::Held(record)) => records.push(record),
                Ok(Looked::Over { since, .. }) if since < OVER_FOR => {}
                Ok(Looked::Over { .. } | Looked::Gone) => over.push(name.clone()),
                // Somebody else's key that happens to begin as ours.
                Err(error) if error.kind() == ErrorKind::Invalid => {}
                Err(error) => return Err(error),
            }
        }
        Ok((records, over))
    }

    /// Where the database remembers no grant from before the index, there is no version that does not know of it: what was granted
    /// is remembered for the retention, a day by default. One walk for each process tells.
    fn find_out_in_background(self: &Arc<Self>, since: u64) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.index().has_found_out.swap(true, Ordering::SeqCst) {
            return;
        }
        let store = Arc::clone(self);
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(since.saturating_sub(CLOCKS_DIFFER));
        runtime.spawn(async move {
            let outcome = match store.remembers_from_before(began).await {
                Ok(true) => Ok(Vec::new()),
                Ok(false) => store.ask_index(&store.scripts().index_trust, Access::Write, &Vec::new).await,
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                store.index().has_found_out.store(false, Ordering::SeqCst);
            }
        });
    }

    fn sweep_in_background(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.index().is_sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
        let sweeping = Sweeping(Arc::clone(self));
        runtime.spawn(async move {
            // What fails now is done by the next one.
            let _ = sweeping.0.sweep().await;
        });
    }

    async fn sweep(&self) -> Result<()> {
        let from = match lock(&self.index().swept).as_str() {
            "" => "(\u{1}".to_owned(),
            last => format!("({last}"),
        };
        let page = self.index_page(&from, "+").await?;
        self.in_force(&page.names).await?;
        *lock(&self.index().swept) = page.next.unwrap_or_default();
        Ok(())
    }

    async fn index_page(&self, from: &str, to: &str) -> Result<Page> {
        let arguments = || vec![from.to_owned().into(), to.to_owned().into(), Value::from(PAGE as u32)];
        let answer = self.ask_index(&self.scripts().index_page, Access::Read, &arguments).await?;
        let unreadable = || here(ErrorKind::Unavailable, LIST, "the answer could not be read");
        let [now, since, names @ ..] = answer.as_slice() else { return Err(unreadable()) };
        let (now, since) = (now.as_u64().ok_or_else(unreadable)?, since.as_u64().ok_or_else(unreadable)?);
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        let next = (names.len() == PAGE).then(|| names.last().map(|name| name.to_string())).flatten();
        // What is no name, somebody else has written there.
        let names = names.iter().filter_map(|name| LeaseName::new(&**name).ok()).collect();
        Ok(Page { now, since, names, next })
    }

    async fn ask_index(
        &self,
        script: &Script,
        access: Access,
        arguments: &(impl Fn() -> Vec<Value> + Send + Sync),
    ) -> Result<Vec<Value>> {
        let key = self.keys().index();
        let slot = self.connections().cluster().map(|_| slot(&key));
        let words = || (vec![key.clone()], arguments());
        match self.connections().run(slot, script, access, words, None).await {
            Ok(answered) => Ok(answered.values),
            Err(failure) => {
                let error = self.error(LIST, failure);
                if error.kind() == ErrorKind::Denied && !self.index().is_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        store = STORE,
                        place = self.connections().place(),
                        "the server refuses the index of names: each list, and each election, walks over the whole database. The user needs +zadd +zrem +zrangebylex"
                    );
                }
                Err(error)
            }
        }
    }
}

fn words(names: &[LeaseName]) -> Vec<Value> {
    names.iter().map(|name| name.as_str().into()).collect()
}

/// Says at its end, however that comes, that nobody is sweeping any more.
struct Sweeping(Arc<Inner>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.0.index().is_sweeping.store(false, Ordering::SeqCst);
    }
}
