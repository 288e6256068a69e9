//! The time that is left of etcd leases.

use std::{collections::HashMap, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use lease_core::Moment;

use crate::{
    error::{Access, Failure},
    limits::MAX_TTL,
    shared::Shared,
};

/// The maximum number of `TimeToLive` calls in flight.
const MAX_LOOKUPS: usize = 16;

/// The time that is left of an etcd lease: a range, because the server returns whole seconds, rounded down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLeft {
    /// The holder can rely on this time.
    pub(crate) at_least: Duration,
    /// All others may have to wait for this time.
    pub(crate) at_most: Duration,
}

impl TimeLeft {
    fn exactly(left: Duration) -> Self {
        Self { at_least: left, at_most: left }
    }
}

/// The time that is left of etcd leases, by their ids. `None` for an etcd lease that has ended, and whose keys were deleted
/// with it.
pub(crate) type Remaining = HashMap<i64, Result<Option<TimeLeft>, Failure>>;

impl Shared {
    /// Returns the time that is left of these etcd leases at the moment `began`. For those that this store has created it is
    /// known; the others are looked up at the server.
    pub(crate) async fn remaining(
        &self,
        operation: &'static str,
        leases: impl IntoIterator<Item = i64>,
        began: Moment,
    ) -> Remaining {
        let mut remaining = Remaining::new();
        let mut unknown = Vec::new();
        for lease in leases {
            if remaining.contains_key(&lease) {
                continue;
            }
            let known = match lease {
                // A key without an etcd lease never expires.
                0 => MAX_TTL,
                _ => self.buckets.known(lease).map_or(Duration::ZERO, |bucket| bucket.remaining(began)),
            };
            if known.is_zero() {
                unknown.push(lease);
            }
            remaining.insert(lease, Ok(Some(TimeLeft::exactly(known))));
        }
        let lookups: Vec<BoxFuture<'_, _>> = unknown
            .into_iter()
            .map(|lease| async move { (lease, self.look_up(operation, lease).await) }.boxed())
            .collect();
        remaining.extend(stream::iter(lookups).buffer_unordered(MAX_LOOKUPS).collect::<Vec<_>>().await);
        remaining
    }

    async fn look_up(&self, operation: &'static str, lease: i64) -> Result<Option<TimeLeft>, Failure> {
        let answer = self.connections.call(operation, Access::Read, |client| {
            Box::pin(async move { client.lease_client().time_to_live(lease, None).await })
        });
        let answer = answer.await?;
        // An etcd lease that has expired, and is not revoked yet, may have a negative time left.
        let at_least = Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or_default());
        let granted = Duration::from_secs(u64::try_from(answer.granted_ttl()).unwrap_or_default());
        let at_most = (at_least + Duration::from_secs(1)).min(granted);
        Ok((!granted.is_zero()).then_some(TimeLeft { at_least, at_most }))
    }
}
