//! The etcd leases that keys are attached to.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use etcd_client::LeaseGrantOptions;
use futures::future::join_all;
use lease_core::{Clock, Moment};

use crate::{
    connections::Connections,
    error::{Access, Cure, Failure},
};

/// An etcd lease that is never kept alive. All that this store acquires or renews within a tenth of its ttl is attached to
/// it. A renewed key has moved on to a newer one before it expires; what was not renewed dies with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) id: i64,
    /// Before the server was asked for it: it expires a ttl after that at the earliest (S1).
    sent: Moment,
    pub(crate) ttl: Duration,
}

impl Bucket {
    /// What is left of it for somebody who began at this moment; never more than its ttl.
    pub(crate) fn remaining(&self, began: Moment) -> Duration {
        (self.sent + self.ttl).saturating_since(began).min(self.ttl)
    }

    fn age(&self, now: Moment) -> Duration {
        now.saturating_since(self.sent)
    }
}

/// The buckets of one store, by their ttl in seconds.
#[derive(Debug)]
pub(crate) struct Buckets {
    shelves: Mutex<HashMap<u64, Shelf>>,
    next_serial: Mutex<i64>,
}

/// All buckets of one ttl.
#[derive(Debug, Default)]
struct Shelf {
    /// The oldest first.
    buckets: VecDeque<Bucket>,
    /// Whoever has it brings the next one.
    errand: Arc<tokio::sync::Mutex<()>>,
}

/// The lower bits of a lease id count the buckets of a store, from a random number on. The upper ones are its ttl.
const SERIAL_BITS: u32 = 38;

impl Buckets {
    pub(crate) fn new() -> Self {
        // So that two stores do not choose the same ids; where they do, the server refuses the second.
        let first = rand::random_range(1..1 << (SERIAL_BITS - 1));
        Self { shelves: Mutex::default(), next_serial: Mutex::new(first) }
    }

    /// A bucket that was asked for less than a tenth of its ttl ago. (Up to a quarter, while somebody else brings a newer one:
    /// a call that hangs holds up nobody, L7.)
    pub(crate) async fn newest(
        &self,
        connections: &Connections,
        operation: &'static str,
        ttl: Duration,
    ) -> Result<Bucket, Failure> {
        let clock = connections.clock();
        loop {
            let (newest, errand) = self.look(ttl);
            let age = newest.map(|bucket| bucket.age(clock.now()));
            if let (Some(bucket), Some(age)) = (newest, age)
                && age < bucket.ttl / 10
            {
                return Ok(bucket);
            }
            if let Ok(_errand) = errand.try_lock() {
                // The one before may have come back just now.
                match self.look(ttl).0 {
                    Some(bucket) if Some(bucket) != newest => continue,
                    _ => return self.bring(connections, operation, ttl).await,
                }
            }
            if let (Some(bucket), Some(age)) = (newest, age)
                && age < bucket.ttl / 4
            {
                return Ok(bucket);
            }
            tokio::select! {
                _ = errand.lock() => {}
                // Whoever was sent does not come back.
                () = clock.sleep_until(clock.now() + ttl / 20) => return self.bring(connections, operation, ttl).await,
            }
        }
    }

    /// The newest bucket of each of these ttls. Those that are to be brought are asked for at the same time (L7).
    pub(crate) async fn newest_of(
        &self,
        connections: &Connections,
        operation: &'static str,
        ttls: impl IntoIterator<Item = Duration>,
    ) -> HashMap<Duration, Result<Bucket, Failure>> {
        let ttls: HashSet<Duration> = ttls.into_iter().collect();
        join_all(ttls.into_iter().map(async |ttl| (ttl, self.newest(connections, operation, ttl).await)))
            .await
            .into_iter()
            .collect()
    }

    /// A bucket of its own, that lasts for the whole time from now on.
    pub(crate) async fn fresh(
        &self,
        connections: &Connections,
        operation: &'static str,
        ttl: Duration,
    ) -> Result<Bucket, Failure> {
        let mut attempts = 3;
        loop {
            let (id, sent) = self.next_id(ttl, connections.clock());
            let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
            let granted = connections
                .call(operation, Access::Read, |client| {
                    let options = Some(LeaseGrantOptions::new().with_id(id));
                    Box::pin(async move { client.lease_client().grant(seconds, options).await })
                })
                .await;
            attempts -= 1;
            match granted {
                // What is granted counts: the server may have a minimum.
                Ok(granted) => {
                    let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default());
                    return Ok(Bucket { id, sent, ttl });
                }
                // The id is taken: by another store, or by an attempt whose answer was lost.
                Err(Failure { cure: Cure::NewLease, .. }) if attempts > 0 => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The bucket with this id, if it is of this store and may still be there.
    pub(crate) fn known(&self, id: i64) -> Option<Bucket> {
        let shelves = self.lock();
        shelves.get(&seconds_of(id))?.buckets.iter().find(|bucket| bucket.id == id).copied()
    }

    /// The server says that it is gone, before its time: nothing more is attached to it.
    pub(crate) fn forget(&self, id: i64) {
        if let Some(shelf) = self.lock().get_mut(&seconds_of(id)) {
            shelf.buckets.retain(|bucket| bucket.id != id);
        }
    }

    async fn bring(
        &self,
        connections: &Connections,
        operation: &'static str,
        ttl: Duration,
    ) -> Result<Bucket, Failure> {
        let bucket = self.fresh(connections, operation, ttl).await?;
        let now = connections.clock().now();
        let mut shelves = self.lock();
        // Those that have expired are known to nobody any more; nor are ttls that nobody asks for.
        shelves.retain(|_, shelf| {
            shelf.buckets.retain(|bucket| bucket.age(now) < bucket.ttl * 2);
            !shelf.buckets.is_empty() || Arc::strong_count(&shelf.errand) > 1
        });
        let buckets = &mut shelves.entry(ttl.as_secs()).or_default().buckets;
        let place = buckets.partition_point(|other| other.id < bucket.id);
        buckets.insert(place, bucket);
        Ok(bucket)
    }

    fn look(&self, ttl: Duration) -> (Option<Bucket>, Arc<tokio::sync::Mutex<()>>) {
        let mut shelves = self.lock();
        let shelf = shelves.entry(ttl.as_secs()).or_default();
        (shelf.buckets.back().copied(), Arc::clone(&shelf.errand))
    }

    /// An id, and the moment from which on its time counts. Both are greater than all before of this store and ttl, and the id
    /// is greater than those of all shorter ttls: so a transaction can see by the ids alone whether a key would move
    /// forwards, and a delayed renewal moves nothing back (S7).
    fn next_id(&self, ttl: Duration, clock: &dyn Clock) -> (i64, Moment) {
        let mut next_serial = self.next_serial.lock().unwrap_or_else(PoisonError::into_inner);
        let serial = *next_serial;
        *next_serial = (serial + 1) & ((1 << SERIAL_BITS) - 1);
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).min((1 << (63 - SERIAL_BITS)) - 1);
        ((seconds << SERIAL_BITS) | serial, clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ttl in an id of ours, in seconds.
fn seconds_of(id: i64) -> u64 {
    u64::try_from(id >> SERIAL_BITS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lease_core::SystemClock;

    use super::*;

    #[test]
    fn ids_rise_with_the_ttl_and_then_with_time() {
        let buckets = Buckets::new();
        let next_id = |ttl| buckets.next_id(ttl, &SystemClock);
        let short: Vec<_> = (0..3).map(|_| next_id(Duration::from_secs(2))).collect();
        let (long, _) = next_id(Duration::from_secs(3));
        let later = next_id(Duration::from_secs(2));
        assert!(short.is_sorted() && short.is_sorted_by_key(|(_, sent)| *sent));
        assert!(short[2] < later && later.0 < long && short[0].0 > 0);
        let (longest, _) = next_id(crate::limits::MAX_TTL);
        assert!(longest > long);
        assert_eq!((seconds_of(long), seconds_of(longest)), (3, crate::limits::MAX_TTL.as_secs()));
    }

    #[test]
    fn a_bucket_has_what_is_left_of_it() {
        let sent = Moment::from_origin(Duration::from_secs(10));
        let bucket = Bucket { id: 1, sent, ttl: Duration::from_secs(30) };
        assert_eq!(bucket.remaining(sent + Duration::from_secs(3)), Duration::from_secs(27));
        // Asked for while the call was under way: the call began earlier.
        assert_eq!(bucket.remaining(sent - Duration::from_secs(3)), Duration::from_secs(30));
        assert_eq!(bucket.remaining(sent + Duration::from_secs(31)), Duration::ZERO);
    }
}
