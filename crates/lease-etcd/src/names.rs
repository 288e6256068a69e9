//! What the operations have in common: reading names, and what is left of their etcd leases.

use std::{collections::HashMap, time::Duration};

use etcd_client::TxnOp;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use lease_core::{LeaseName, Moment};

use crate::{
    error::{Access, Failure, not_the_answer},
    keys::Role,
    record::{Entry, Seen},
    store::{Inner, MAX_TTL},
    transactions::{Outcome, Step},
};

/// How many questions for what is left go out at a time.
const LOOKUPS: usize = 16;

/// What is left of an etcd lease. The server tells whole seconds, rounded down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left {
    /// On this its holder can rely.
    pub(crate) at_least: Duration,
    /// So long everybody else has to wait, perhaps.
    pub(crate) at_most: Duration,
}

impl Left {
    fn exactly(left: Duration) -> Self {
        Self { at_least: left, at_most: left }
    }
}

/// What is left of etcd leases, by their ids; nothing of those that are gone, and their keys with them.
pub(crate) type Remaining = HashMap<i64, Result<Option<Left>, Failure>>;

impl Inner {
    /// Both keys of a name, in this order.
    pub(crate) fn gets(&self, name: &LeaseName) -> Vec<TxnOp> {
        vec![TxnOp::get(self.keys.grant(name), None), TxnOp::get(self.keys.block(name), None)]
    }

    /// What there is of these names.
    pub(crate) async fn look(&self, operation: &'static str, names: &[&LeaseName]) -> Vec<Result<Seen, Failure>> {
        let steps = names.iter().map(|name| Step { then: self.gets(name), bytes: 0, ..Step::default() }).collect();
        let outcomes = self.transactions.commit(&self.connections, operation, Access::Read, steps).await;
        let found = names.iter().zip(outcomes);
        found.map(|(name, outcome)| self.seen(operation, Access::Read, name, &outcome?)).collect()
    }

    pub(crate) async fn look_at(&self, operation: &'static str, name: &LeaseName) -> Result<Seen, Failure> {
        let step = Step { then: self.gets(name), ..Step::default() };
        let outcome = self.transactions.commit_one(&self.connections, operation, Access::Read, step).await?;
        self.seen(operation, Access::Read, name, &outcome)
    }

    /// What [`Inner::gets`] have found for this name; a failure where it is another one's (S25).
    pub(crate) fn seen(
        &self,
        operation: &'static str,
        access: Access,
        name: &LeaseName,
        outcome: &Outcome,
    ) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        for pair in outcome.found.iter().flatten() {
            match self.keys.parse(pair.key()) {
                Some((found, Role::Grant)) if found == *name => seen.grant = Some(Entry::of_grant(pair)),
                Some((found, Role::Block)) if found == *name => seen.block = Some(Entry::of_block(pair)),
                _ => return Err(not_the_answer(operation, access)),
            }
        }
        Ok(seen)
    }

    /// What is left of these etcd leases for somebody who began at this moment. Of this store's own ones that is known.
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
                // It never expires.
                0 => MAX_TTL,
                _ => self.buckets.known(lease).map_or(Duration::ZERO, |bucket| bucket.remaining(began)),
            };
            if known.is_zero() {
                unknown.push(lease);
            }
            remaining.insert(lease, Ok(Some(Left::exactly(known))));
        }
        let lookups: Vec<BoxFuture<'_, _>> = unknown
            .into_iter()
            .map(|lease| async move { (lease, self.remaining_by_server(operation, lease).await) }.boxed())
            .collect();
        remaining.extend(stream::iter(lookups).buffer_unordered(LOOKUPS).collect::<Vec<_>>().await);
        remaining
    }

    async fn remaining_by_server(&self, operation: &'static str, lease: i64) -> Result<Option<Left>, Failure> {
        let answer = self.connections.call(operation, Access::Read, |client| {
            Box::pin(async move { client.lease_client().time_to_live(lease, None).await })
        });
        let answer = answer.await?;
        // One that has expired, and is not revoked yet, may have less than nothing left.
        let at_least = Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or_default());
        let granted = Duration::from_secs(u64::try_from(answer.granted_ttl()).unwrap_or_default());
        let at_most = (at_least + Duration::from_secs(1)).min(granted);
        Ok((!granted.is_zero()).then_some(Left { at_least, at_most }))
    }
}
