//! The store: a mutex around the records, a clock, and the channels for wake-ups and revocations.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Clock, Error, ErrorKind, ExpiryJudge, FencingToken, LeaseName,
    LeaseRecord, LeaseStore, LossReason, Moment, ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations,
    SystemClock, TokensSurvive, WakeupRegistry, Wakeups,
};

use crate::record::Record;

const STORE: &str = "memory";
const MIN_TTL: Duration = Duration::from_millis(1);
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Keeps leases in the memory of this process. Clones share the same leases.
///
/// The store keeps a record of a few hundred bytes for every name that was ever leased. [`MemoryStore::purge`] removes old
/// ones.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    leases: Arc<Mutex<Leases>>,
    wakeups: WakeupRegistry,
    revocations: Revocations,
}

#[derive(Debug, Default)]
struct Leases {
    records: BTreeMap<LeaseName, Record>,
    /// The greatest token of all removed records. A name without a record gets a greater one (S9).
    highest_removed: u64,
}

impl MemoryStore {
    /// Creates an empty store on the system's clock, which clients use by default as well.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// Creates an empty store whose leases expire by this clock. Its clients should use the same clock: under tokio's paused
    /// time, [`TokioClock`](lease_core::TokioClock).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
    /// # use std::time::Duration;
    /// use lease_core::{LeaseClient, TokioClock};
    /// use lease_memory::MemoryStore;
    ///
    /// let clock = TokioClock::new();
    /// let client = LeaseClient::builder(MemoryStore::with_clock(clock.clone())).clock(clock).build();
    /// let lease = client.acquire("job", Duration::from_secs(30)).await?;
    /// tokio::time::sleep(Duration::from_secs(3600)).await;
    /// assert!(lease.is_held());
    /// # Ok::<(), lease_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            leases: Arc::default(),
            wakeups: WakeupRegistry::default(),
            revocations: Revocations::default(),
        }
    }

    /// Removes the records of names whose last grant ended at least `older_than` ago. Returns their number. The tokens of
    /// these names keep rising (S9). A request of such a grant that arrives even later would be granted again (S13), so
    /// `older_than` must be longer than any request can be in flight.
    pub fn purge(&self, older_than: Duration) -> usize {
        let (mut leases, now) = self.lock();
        let Leases { records, highest_removed } = &mut *leases;
        let before = records.len();
        records.retain(|_, record| {
            let keep = record.until() + older_than > now;
            if !keep {
                *highest_removed = record.token().get().max(*highest_removed);
            }
            keep
        });
        before - records.len()
    }

    /// Removes the record of a name, held or not, as an operator may do in a database. Exclusion is lost, tokens keep rising
    /// (S9), and the next renewal of the holder finds its lease lost. Returns whether there was a record. This is for tests.
    pub fn remove(&self, name: &LeaseName) -> bool {
        let (mut leases, _) = self.lock();
        let removed = leases.records.remove(name);
        if let Some(record) = &removed {
            leases.highest_removed = record.token().get().max(leases.highest_removed);
            self.revocations.notify(name, record.token());
        }
        removed.is_some()
    }

    fn release_now(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let (mut leases, now) = self.lock();
        requests
            .iter()
            .map(|request| {
                let record = leases.records.get_mut(&request.claim.name);
                let released = record.map_or(Released::NotHeld, |record| record.release(request, now));
                if released == Released::Freed {
                    self.wakeups.wake(&request.claim.name);
                }
                Ok(released)
            })
            .collect()
    }

    /// Locks the records. Returns them with the current moment, which applies to everything under this lock.
    fn lock(&self) -> (MutexGuard<'_, Leases>, Moment) {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        (leases, now)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LeaseStore for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        // One call at a time: calls complete without waiting.
        Capabilities::new(STORE)
            .with_ttl(MIN_TTL, MAX_TTL, Duration::from_nanos(1))
            .with_expiry_judge(ExpiryJudge::Process)
            .with_tokens_survive(TokensSurvive::new().removal())
            .with_push(true)
            .with_push_to_holders(true)
            .with_remembers_last_grant(true)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let (mut leases, now) = self.lock();
        requests
            .iter()
            .map(|request| {
                let before = leases.token(&request.name);
                let acquired = leases.acquire(request, now)?;
                // A repeated request that finds its own grant is not announced: otherwise its caller would wake itself.
                if request.announce && leases.token(&request.name) != before {
                    self.wakeups.wake(&request.name);
                }
                Ok(acquired)
            })
            .collect()
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let (mut leases, now) = self.lock();
        requests
            .iter()
            .map(|request| match leases.records.get_mut(&request.claim.name) {
                Some(record) => Ok(record.renew(request, now)),
                None => Ok(Renewed::Lost(LossReason::Gone)),
            })
            .collect()
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let released = self.release_now(requests);
        // A caller that acquires the name again at once would otherwise have it before those that this has woken can ask, each
        // time. On another store, the round trip of the release lets them run.
        if !self.wakeups.is_empty() {
            tokio::task::yield_now().await;
        }
        released
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        let (leases, now) = self.lock();
        Ok(leases.records.get(name).and_then(|record| record.inspect(name, now)))
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        let (leases, now) = self.lock();
        let from = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        Ok(leases
            .records
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .filter_map(|(name, record)| record.inspect(name, now))
            .take(limit)
            .collect())
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        let (mut leases, now) = self.lock();
        let record = leases.records.get_mut(name);
        let broken = record.map_or(Released::NotHeld, |record| record.break_grant(token, how, now));
        if broken == Released::Freed {
            self.wakeups.wake(name);
            self.revocations.notify(name, token);
        }
        Ok(broken)
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let wakeups = self.wakeups.subscribe(name);
        self.wakeups.wake(name);
        wakeups
    }

    fn revocations(&self) -> Revocations {
        self.revocations.clone()
    }
}

impl Leases {
    /// Returns the token of the last grant of this name.
    fn token(&self, name: &LeaseName) -> Option<FencingToken> {
        self.records.get(name).map(Record::token)
    }

    fn acquire(&mut self, request: &AcquireRequest, now: Moment) -> Result<Acquired> {
        if !(MIN_TTL..=MAX_TTL).contains(&request.ttl) {
            let message = format!("a ttl must be between {MIN_TTL:?} and {MAX_TTL:?}, but it is {:?}", request.ttl);
            return Err(Error::new(ErrorKind::Invalid, "acquire", message).in_store(STORE));
        }
        let last = self.records.get(&request.name);
        if let Some(record) = last {
            // The same attempt again: its grant, or nothing if that has ended (S13).
            if record.belongs_to(&request.holder, request.grant) {
                return Ok(if record.is_held(now) { Acquired::Granted(record.as_grant(now)) } else { Acquired::Spent });
            }
            if record.blocks(&request.holder, now) {
                let by = record.inspect(&request.name, now);
                return Ok(Acquired::Held { by, retry_after: Some(record.remaining(now)) });
            }
        }
        let last_token = last.map_or(self.highest_removed, |record| record.token().get());
        let record = Record::grant(request, token_after(last_token)?, now, wall_clock());
        let grant = record.as_grant(now);
        self.records.insert(request.name.clone(), record);
        Ok(Acquired::Granted(grant))
    }
}

fn token_after(last: u64) -> Result<FencingToken> {
    FencingToken::new(last.wrapping_add(1)).ok_or_else(|| {
        Error::new(
            ErrorKind::Internal,
            "acquire",
            "the greatest possible token was granted: there is no greater one for this name",
        )
        .in_store(STORE)
    })
}

/// Returns the wall-clock time, which is shown to people who inspect a lease. No decision depends on it (S3).
#[expect(clippy::disallowed_methods, reason = "the wall-clock time is wanted, and nothing is measured with it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
