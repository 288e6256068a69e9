//! Releases leases.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use futures::future::join_all;
use lease_core::{ErrorKind, ReleaseRequest, Released, Result};

use crate::{
    buckets::Bucket,
    error::{Access, Failure, too_many_changes},
    handle,
    record::{Entry, How, is_of},
    shared::Shared,
    transactions::Step,
};

const OPERATION: &str = "release";

/// The maximum number of attempts for a release whose key changes meanwhile.
const ROUNDS: usize = 4;

/// The progress of a request.
enum Progress {
    /// A single transaction is enough.
    Delete,
    /// The key was read, and belongs to this claim.
    Own(Entry),
    Done(Result<Released>),
}

/// The etcd leases for names that stay blocked, by the time for which these are blocked.
type Holds = HashMap<Duration, Result<Bucket, Failure>>;

impl Shared {
    pub(crate) async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let mut progress: Vec<_> = requests.iter().map(|request| self.first_of_release(request)).collect();
        // In parallel, to save a round trip. An etcd lease without a key is revoked afterwards.
        let holds = self.holds(self.times(requests, &progress));
        let (holds, ()) = tokio::join!(holds, self.read_first(requests, &mut progress));
        // The etcd leases that may have a key.
        let mut used = HashSet::new();
        for _ in 0..ROUNDS {
            self.delete_all(requests, &mut progress, &holds, &mut used).await;
        }
        let spare = holds.values().flatten().filter(|bucket| !used.contains(&bucket.id));
        self.revoke_all(spare.map(|bucket| bucket.id).collect());
        let answers = progress.into_iter().map(|progress| match progress {
            Progress::Done(answer) => answer,
            _ => Err(too_many_changes(OPERATION)),
        });
        answers.collect()
    }

    fn first_of_release(&self, request: &ReleaseRequest) -> Progress {
        match self.limits.check_hold(OPERATION, request.hold_for) {
            Ok(_) => Progress::Delete,
            Err(failure) => Progress::Done(Err(failure.error)),
        }
    }

    /// Reads the grants whose token is unknown, because the answer never arrived (S11), and those whose names stay blocked,
    /// because the block contains the record of the grant.
    async fn read_first(&self, requests: &[ReleaseRequest], progress: &mut [Progress]) {
        let is_read = |request: &ReleaseRequest| handle::open(&request.claim).is_none() || !request.hold_for.is_zero();
        let read: Vec<usize> = (0..requests.len())
            .filter(|&index| matches!(progress[index], Progress::Delete) && is_read(&requests[index]))
            .collect();
        let names: Vec<_> = read.iter().map(|&index| &requests[index].claim.name).collect();
        let found = self.read(OPERATION, &names).await;
        for (index, found) in read.into_iter().zip(found) {
            progress[index] = match found {
                Ok(found) => Progress::after_read(&requests[index], found.grant),
                Err(failure) => Progress::Done(Err(failure.error)),
            };
        }
    }

    /// Creates one etcd lease for each different time for which names stay blocked. It lasts for that time from now on. All
    /// names of a call with the same time share it, so that many names take no longer than one.
    async fn holds(&self, times: HashSet<Duration>) -> Holds {
        let fresh =
            times.into_iter().map(async |ttl| (ttl, self.buckets.fresh(&self.connections, OPERATION, ttl).await));
        join_all(fresh).await.into_iter().collect()
    }

    fn times(&self, requests: &[ReleaseRequest], progress: &[Progress]) -> HashSet<Duration> {
        let to_be_done = requests.iter().zip(progress).filter(|(_, progress)| matches!(progress, Progress::Delete));
        to_be_done.filter_map(|(request, _)| self.hold(request)).collect()
    }

    fn hold(&self, request: &ReleaseRequest) -> Option<Duration> {
        (!request.hold_for.is_zero()).then(|| self.limits.rounded(request.hold_for))
    }

    /// Deletes the keys of all pending requests, in one transaction if they fit.
    async fn delete_all(
        &self,
        requests: &[ReleaseRequest],
        progress: &mut [Progress],
        holds: &Holds,
        used: &mut HashSet<i64>,
    ) {
        let (mut deleted, mut steps) = (Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            let hold = self.hold(request).and_then(|ttl| holds.get(&ttl));
            let step = match (&progress[index], hold) {
                (Progress::Done(_), _) => continue,
                (_, Some(Err(failure))) => {
                    progress[index] = Progress::Done(Err(failure.error.clone()));
                    continue;
                }
                (Progress::Delete, _) => self.delete_step(request),
                (Progress::Own(entry), hold) => {
                    Some(self.own_step(request, entry, hold.and_then(|hold| hold.as_ref().ok())))
                }
            };
            match step {
                Some(step) => {
                    steps.push(step);
                    deleted.push((index, hold.and_then(|hold| hold.as_ref().ok()).map(|bucket| bucket.id)));
                }
                None => progress[index] = Progress::Done(Ok(Released::NotHeld)),
            }
        }
        let outcomes = self.transactions.commit(&self.connections, OPERATION, Access::Write, steps).await;
        for ((index, hold), outcome) in deleted.into_iter().zip(outcomes) {
            let may_be_done = match &outcome {
                Ok(outcome) => outcome.succeeded,
                Err(failure) => failure.error.kind() == ErrorKind::Indeterminate,
            };
            used.extend(hold.filter(|_| may_be_done));
            progress[index] = match outcome {
                Ok(outcome) if outcome.succeeded => Progress::Done(Ok(Released::Freed)),
                Ok(outcome) => {
                    let found = self.found(OPERATION, Access::Write, &requests[index].claim.name, &outcome);
                    match found {
                        Ok(found) => Progress::after_read(&requests[index], found.grant),
                        Err(failure) => Progress::Done(Err(failure.error)),
                    }
                }
                Err(failure) => Progress::Done(Err(failure.error)),
            };
        }
    }

    /// Returns the transaction that frees a name without reading it first. Returns `None` if the claim belongs to no grant.
    fn delete_step(&self, request: &ReleaseRequest) -> Option<Step> {
        let token = handle::open(&request.claim)?;
        let key = self.keys.grant(&request.claim.name);
        let mut when = vec![Compare::create_revision(key.as_str(), CompareOp::Equal, token)];
        when.extend(is_of(&key, request.claim.grant));
        let bytes = 8 * key.len();
        Some(Step { when, then: vec![TxnOp::delete(key, None)], otherwise: self.gets(&request.claim.name), bytes })
    }

    fn own_step(&self, request: &ReleaseRequest, entry: &Entry, hold: Option<&Bucket>) -> Step {
        let key = self.keys.grant(&request.claim.name);
        let when = if entry.begins_with_its_nonce() {
            let mut when = vec![entry.is_same_grant(&key)];
            when.extend(is_of(&key, request.claim.grant));
            when
        } else {
            entry.is_unchanged(&key).to_vec()
        };
        let mut bytes = 8 * key.len() + entry.bytes();
        let mut then = vec![TxnOp::delete(key, None)];
        if let (Some(record), Some(bucket)) = (&entry.record, hold) {
            let value = record.block(entry.token, How::Released, request.reserved_for.clone()).to_bytes();
            bytes += value.len();
            let attached = Some(PutOptions::new().with_lease(bucket.id));
            then.push(TxnOp::put(self.keys.block(&request.claim.name), value, attached));
        }
        Step { when, then, otherwise: self.gets(&request.claim.name), bytes }
    }

    /// Revokes etcd leases that certainly have no key, in the background. Otherwise they would last for as long as the names
    /// were to stay blocked.
    fn revoke_all(&self, leases: Vec<i64>) {
        for lease in leases {
            let connections = Arc::clone(&self.connections);
            tokio::spawn(async move {
                let revoke = connections.call(OPERATION, Access::Read, |client| {
                    Box::pin(async move { client.lease_client().revoke(lease).await })
                });
                if let Err(failure) = revoke.await {
                    tracing::debug!(lease, error = %failure.error, "an etcd lease without keys was not revoked: it expires by itself");
                }
            });
        }
    }
}

impl Progress {
    fn after_read(request: &ReleaseRequest, grant: Option<Entry>) -> Self {
        // A grant that a delayed duplicate of the claim's request has made has another token (S13).
        let is_claimed = |entry: &Entry| {
            entry.is_claimed_by(&request.claim)
                && handle::open(&request.claim).is_none_or(|token| entry.has_token(token))
        };
        match grant.filter(is_claimed) {
            Some(entry) => Self::Own(entry),
            None => Self::Done(Ok(Released::NotHeld)),
        }
    }
}
