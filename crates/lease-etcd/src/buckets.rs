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

/// An etcd lease that is never kept alive. All keys that this store acquires or renews within a tenth of its ttl are attached
/// to it. A renewal moves a key to a newer bucket before the old one expires. A key that is not renewed is deleted when its
/// bucket expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) id: i64,
    /// The moment just before the request for it was sent. The bucket does not expire earlier than a ttl after it (S1).
    sent: Moment,
    pub(crate) ttl: Duration,
}

impl Bucket {
    /// Returns the time left for a call that began at this moment; at most the ttl.
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
    by_ttl: Mutex<HashMap<u64, SameTtl>>,
    next_serial: Mutex<i64>,
}

/// All buckets of one ttl.
#[derive(Debug, Default)]
struct SameTtl {
    /// The buckets, the oldest first.
    buckets: VecDeque<Bucket>,
    /// Held by the caller that creates the next bucket.
    creating: Arc<tokio::sync::Mutex<()>>,
}

/// The lower bits of an etcd lease's id count the buckets of a store, from a random number on. The upper bits are its ttl.
const SERIAL_BITS: u32 = 38;

impl Buckets {
    pub(crate) fn new() -> Self {
        // A random start, so that two stores do not choose the same ids. If they do, the server refuses the second one.
        let first = rand::random_range(1..1 << (SERIAL_BITS - 1));
        Self { by_ttl: Mutex::default(), next_serial: Mutex::new(first) }
    }

    /// Returns a bucket that is younger than a tenth of its ttl. Creates one if there is none. While another caller creates
    /// one, a bucket younger than a quarter of its ttl is returned, so that a call that hangs does not hold up other callers
    /// (L7).
    pub(crate) async fn newest(
        &self,
        connections: &Connections,
        operation: &'static str,
        ttl: Duration,
    ) -> Result<Bucket, Failure> {
        let clock = connections.clock();
        loop {
            let (newest, creating) = self.newest_known(ttl);
            let age = newest.map(|bucket| bucket.age(clock.now()));
            if let (Some(bucket), Some(age)) = (newest, age)
                && age < bucket.ttl / 10
            {
                return Ok(bucket);
            }
            if let Ok(_lock) = creating.try_lock() {
                // Another caller may just have created one.
                match self.newest_known(ttl).0 {
                    Some(bucket) if Some(bucket) != newest => continue,
                    _ => return self.create(connections, operation, ttl).await,
                }
            }
            if let (Some(bucket), Some(age)) = (newest, age)
                && age < bucket.ttl / 4
            {
                return Ok(bucket);
            }
            tokio::select! {
                _ = creating.lock() => {}
                // The other caller's request may hang.
                () = clock.sleep_until(clock.now() + ttl / 20) => return self.create(connections, operation, ttl).await,
            }
        }
    }

    /// Returns the newest bucket of each of these ttls. Those that must be created are created in parallel (L7).
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

    /// Creates a bucket that is not shared, and lasts for the whole ttl from now on.
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
                // The granted ttl counts, because the server may have a minimum.
                Ok(granted) => {
                    let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default());
                    return Ok(Bucket { id, sent, ttl });
                }
                // The id is in use, by another store or by an attempt whose answer was lost.
                Err(Failure { cure: Cure::NewLease, .. }) if attempts > 0 => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Returns the bucket with this id, if this store has created it and it may not have expired.
    pub(crate) fn known(&self, id: i64) -> Option<Bucket> {
        let by_ttl = self.lock();
        by_ttl.get(&seconds_of(id))?.buckets.iter().find(|bucket| bucket.id == id).copied()
    }

    /// Removes a bucket that has ended early, according to the server. No further keys are attached to it.
    pub(crate) fn forget(&self, id: i64) {
        if let Some(same_ttl) = self.lock().get_mut(&seconds_of(id)) {
            same_ttl.buckets.retain(|bucket| bucket.id != id);
        }
    }

    /// Creates a bucket that all callers share from now on.
    async fn create(
        &self,
        connections: &Connections,
        operation: &'static str,
        ttl: Duration,
    ) -> Result<Bucket, Failure> {
        let bucket = self.fresh(connections, operation, ttl).await?;
        let now = connections.clock().now();
        let mut by_ttl = self.lock();
        // Removes expired buckets, and ttls that are not in use.
        by_ttl.retain(|_, same_ttl| {
            same_ttl.buckets.retain(|bucket| bucket.age(now) < bucket.ttl * 2);
            !same_ttl.buckets.is_empty() || Arc::strong_count(&same_ttl.creating) > 1
        });
        let buckets = &mut by_ttl.entry(ttl.as_secs()).or_default().buckets;
        let place = buckets.partition_point(|other| other.id < bucket.id);
        buckets.insert(place, bucket);
        Ok(bucket)
    }

    fn newest_known(&self, ttl: Duration) -> (Option<Bucket>, Arc<tokio::sync::Mutex<()>>) {
        let mut by_ttl = self.lock();
        let same_ttl = by_ttl.entry(ttl.as_secs()).or_default();
        (same_ttl.buckets.back().copied(), Arc::clone(&same_ttl.creating))
    }

    /// Returns the id of the next bucket, and the moment from which its ttl counts. Both are greater than all earlier ones of
    /// this store and ttl, and the id is greater than those of all shorter ttls. So a transaction can compare the ids to
    /// ensure that a key moves to a later expiry only, and a delayed renewal never moves a key back (S7).
    fn next_id(&self, ttl: Duration, clock: &dyn Clock) -> (i64, Moment) {
        let mut next_serial = self.next_serial.lock().unwrap_or_else(PoisonError::into_inner);
        let serial = *next_serial;
        *next_serial = (serial + 1) & ((1 << SERIAL_BITS) - 1);
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).min((1 << (63 - SERIAL_BITS)) - 1);
        ((seconds << SERIAL_BITS) | serial, clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, SameTtl>> {
        self.by_ttl.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the ttl in the id of a bucket, in seconds.
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
    fn a_bucket_lasts_for_its_ttl_from_the_request_on() {
        let sent = Moment::from_origin(Duration::from_secs(10));
        let bucket = Bucket { id: 1, sent, ttl: Duration::from_secs(30) };
        assert_eq!(bucket.remaining(sent + Duration::from_secs(3)), Duration::from_secs(27));
        // Created while the call was in flight: the call began earlier.
        assert_eq!(bucket.remaining(sent - Duration::from_secs(3)), Duration::from_secs(30));
        assert_eq!(bucket.remaining(sent + Duration::from_secs(31)), Duration::ZERO);
    }
}
