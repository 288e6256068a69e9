//! Renews leases: moves keys to a newer etcd lease.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use lease_core::{FencingToken, LossReason, Moment, RenewRequest, Renewed, Result};

use crate::{
    buckets::Bucket,
    error::{Access, Cure, Failure, too_many_changes},
    handle,
    record::{Entry, Found, How, Record, is_of},
    shared::Shared,
    transactions::Step,
};

const OPERATION: &str = "renew";

/// The maximum number of attempts of a careful renewal whose key changes meanwhile.
const ROUNDS: usize = 5;

/// The maximum number of careful renewals in flight.
const MAX_CAREFUL: usize = 16;

/// The next step of a renewal.
enum Progress {
    /// A single transaction.
    Move,
    /// A read of the key, and then a transaction.
    Careful,
    Done(Result<Renewed>),
}

impl Shared {
    pub(crate) async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let began = self.connections.clock().now();
        let mut progress: Vec<_> = requests.iter().map(|request| self.first(request)).collect();
        for is_first in [true, false] {
            self.move_all(requests, &mut progress, began, is_first).await;
        }
        let answers: Vec<BoxFuture<'_, _>> = requests
            .iter()
            .zip(progress)
            .map(|(request, progress)| match progress {
                Progress::Done(answer) => std::future::ready(answer).boxed(),
                _ => self.renew_carefully(request, began).boxed(),
            })
            .collect();
        stream::iter(answers).buffered(MAX_CAREFUL).collect().await
    }

    fn first(&self, request: &RenewRequest) -> Progress {
        match self.limits.check(OPERATION, request.ttl) {
            Err(error) => Progress::Done(Err(error)),
            Ok(_) if request.metadata.is_some() || handle::open(&request.claim).is_none() => Progress::Careful,
            Ok(_) => Progress::Move,
        }
    }

    /// Moves keys to the newest bucket, in one transaction if they fit. A key is moved only if it still belongs to the same
    /// grant, and only to a later expiry (S7).
    async fn move_all(&self, requests: &[RenewRequest], progress: &mut [Progress], began: Moment, is_first: bool) {
        let (mut moved, mut steps) = (Vec::new(), Vec::new());
        let to_be_moved = requests.iter().zip(&*progress).filter(|(_, progress)| matches!(progress, Progress::Move));
        let ttls: Vec<_> = to_be_moved.map(|(request, _)| self.limits.rounded(request.ttl)).collect();
        let buckets = self.buckets.newest_of(&self.connections, OPERATION, ttls).await;
        for (index, request) in requests.iter().enumerate() {
            let Progress::Move = progress[index] else { continue };
            let Some(token) = handle::open(&request.claim) else { continue };
            match buckets[&self.limits.rounded(request.ttl)].clone() {
                Ok(bucket) => {
                    let key = self.keys.grant(&request.claim.name);
                    let bytes = 8 * key.len();
                    let mut when = vec![
                        Compare::create_revision(key.as_str(), CompareOp::Equal, token),
                        Compare::lease(key.as_str(), CompareOp::Less, bucket.id),
                    ];
                    when.extend(is_of(&key, request.claim.grant));
                    let then = vec![TxnOp::put(key, "", Some(moved_to(bucket).with_ignore_value()))];
                    steps.push(Step { when, then, otherwise: self.gets(&request.claim.name), bytes });
                    moved.push((index, bucket));
                }
                Err(failure) => progress[index] = Progress::Done(Err(failure.error)),
            }
        }
        let outcomes = self.transactions.commit(&self.connections, OPERATION, Access::Write, steps).await;
        for ((index, bucket), outcome) in moved.into_iter().zip(outcomes) {
            progress[index] = match outcome {
                Ok(outcome) if outcome.succeeded => {
                    Progress::Done(Ok(Renewed::Extended { remaining: bucket.remaining(began) }))
                }
                Ok(outcome) => {
                    let name = &requests[index].claim.name;
                    let found = self.found(OPERATION, Access::Write, name, &outcome);
                    match found.map(|found| own_or_lost(&requests[index], found)) {
                        Ok(Ok(entry)) if entry.lease == bucket.id => {
                            Progress::Done(Ok(Renewed::Extended { remaining: bucket.remaining(began) }))
                        }
                        Ok(Ok(_)) => Progress::Careful,
                        Ok(Err(lost)) => Progress::Done(Ok(lost)),
                        Err(failure) => Progress::Done(Err(failure.error)),
                    }
                }
                // The bucket has ended, and nothing was executed: try again with another bucket.
                Err(Failure { cure: Cure::NewLease, .. }) if is_first => {
                    self.buckets.forget(bucket.id);
                    Progress::Move
                }
                Err(failure) => Progress::Done(Err(failure.error)),
            };
        }
    }

    /// Reads the key first, and then changes exactly what was read. This is needed for new metadata, for a claim without a
    /// handle, for a key on an etcd lease that may last longer, and for a value that does not begin with its nonce (which is
    /// then rewritten so that it does).
    async fn renew_carefully(&self, request: &RenewRequest, began: Moment) -> Result<Renewed> {
        for _ in 0..ROUNDS {
            match self.try_carefully(request, began).await {
                Ok(Some(answer)) => return Ok(answer),
                // The key has changed, or the bucket has ended.
                Ok(None) | Err(Failure { cure: Cure::NewLease, .. }) => {}
                Err(failure) => return Err(failure.error),
            }
        }
        Err(too_many_changes(OPERATION))
    }

    async fn try_carefully(&self, request: &RenewRequest, began: Moment) -> Result<Option<Renewed>, Failure> {
        let name = &request.claim.name;
        let mut entry = match own_or_lost(request, self.read_one(OPERATION, name).await?) {
            Ok(entry) => entry,
            Err(lost) => return Ok(Some(lost)),
        };
        let bucket = self.buckets.newest(&self.connections, OPERATION, self.limits.rounded(request.ttl)).await?;
        let (stays, remaining) = self.stays(&entry, bucket, began).await?;
        let update = match (&request.metadata, &mut entry.record) {
            (Some(update), Some(record)) => record.update(update.revision, &update.metadata).then(|| record.to_bytes()),
            _ => None,
        };
        let rewritten = || entry.record.as_ref().filter(|_| !entry.begins_with_its_nonce()).map(Record::to_bytes);
        let update = update.or_else(rewritten);
        if stays && update.is_none() {
            return Ok(Some(Renewed::Extended { remaining }));
        }
        let options = if stays { PutOptions::new().with_ignore_lease() } else { moved_to(bucket) };
        let options = if update.is_none() { options.with_ignore_value() } else { options };
        let key = self.keys.grant(name);
        let mut when = entry.is_unchanged(&key).to_vec();
        when.push(Compare::lease(key.as_str(), CompareOp::Equal, entry.lease));
        let step =
            Step { when, then: vec![TxnOp::put(key, update.unwrap_or_default(), Some(options))], ..Step::default() };
        let outcome = self.transactions.commit_one(&self.connections, OPERATION, Access::Write, step).await;
        if let Err(Failure { cure: Cure::NewLease, .. }) = outcome {
            self.buckets.forget(bucket.id);
        }
        Ok(outcome?.succeeded.then_some(Renewed::Extended { remaining }))
    }

    /// Returns whether the key stays on its etcd lease, because it may last longer there than in the bucket (S7), and the time
    /// left in either case.
    async fn stays(&self, entry: &Entry, bucket: Bucket, began: Moment) -> Result<(bool, Duration), Failure> {
        let left_in_bucket = bucket.remaining(began);
        if let Some(own) = self.buckets.known(entry.lease) {
            let left = own.remaining(began);
            return Ok(if left >= left_in_bucket { (true, left) } else { (false, left_in_bucket) });
        }
        let left = self.remaining(OPERATION, [entry.lease], began).await.remove(&entry.lease);
        let Some(left) = left.transpose()?.flatten() else { return Ok((false, left_in_bucket)) };
        Ok(if left.at_most > left_in_bucket { (true, left.at_least) } else { (false, left_in_bucket) })
    }
}

fn moved_to(bucket: Bucket) -> PutOptions {
    PutOptions::new().with_lease(bucket.id)
}

/// Returns the entry, if it still belongs to this grant, or else the reason for the loss.
fn own_or_lost(request: &RenewRequest, found: Found) -> Result<Entry, Renewed> {
    if let Some(entry) = found.grant {
        if entry.is_claimed_by(&request.claim) {
            return Ok(entry);
        }
        let by = entry.record.map(|record| record.holder);
        return Err(Renewed::Lost(LossReason::taken_over(by, FencingToken::new(entry.token))));
    }
    let own_block = found.block.filter(|block| block.is_claimed_by(&request.claim)).and_then(|block| block.record);
    Err(Renewed::Lost(match own_block.and_then(|record| record.ended).map(|ended| ended.how) {
        Some(How::Broken) => LossReason::Broken,
        Some(How::Released) => LossReason::Released,
        // Expired, deleted or broken: etcd keeps no record of which.
        None => LossReason::Gone,
    }))
}
