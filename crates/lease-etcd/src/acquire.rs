//! Acquires leases.

use std::time::{Duration, SystemTime};

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use lease_core::{AcquireRequest, Acquired, ErrorKind, FencingToken, Grant, Moment, Result};

use crate::{
    buckets::Bucket,
    error::{Access, Cure, Failure, store_error, too_many_changes},
    handle,
    record::{Entry, Found, Record},
    remaining::{Remaining, TimeLeft},
    shared::Shared,
    transactions::Step,
};

const OPERATION: &str = "acquire";

/// The maximum number of attempts for a name that changes between the read and the attempt.
const ROUNDS: usize = 4;

/// The progress of a request.
enum Progress {
    /// To be attempted, on the assumption that the name is free.
    TryFree,
    /// To be attempted, on the assumption that this block reserves the name for this holder.
    TryReserved(Entry),
    /// The grant of this request is in force. Its time left is not known yet.
    Own(Entry),
    /// Another grant or a block has the name. Its time left is not known yet.
    Blocked(Entry),
    Done(Result<Acquired>),
}

impl Shared {
    pub(crate) async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let began = self.connections.clock().now();
        let mut progress: Vec<_> = requests
            .iter()
            .map(|request| match self.limits.check(OPERATION, request.ttl) {
                Ok(_) => Progress::TryFree,
                Err(error) => Progress::Done(Err(error)),
            })
            .collect();
        self.read_recently_held(requests, &mut progress, began).await;
        for round in 0..ROUNDS {
            if !progress.iter().any(Progress::is_pending) {
                break;
            }
            self.attempt(requests, &mut progress, began, round == 0).await;
        }
        let leases = progress.iter().filter_map(|progress| match progress {
            Progress::Own(entry) | Progress::Blocked(entry) => Some(entry.lease),
            _ => None,
        });
        let remaining = self.remaining(OPERATION, leases, began).await;
        let mut answers = Vec::with_capacity(requests.len());
        for (request, progress) in requests.iter().zip(progress) {
            answers.push(match progress {
                // The etcd lease has ended, and the key with it, unless the key was moved meanwhile.
                Progress::Own(entry) if matches!(remaining.get(&entry.lease), Some(Ok(None))) => {
                    self.own_after_expiry(request, began).await
                }
                progress => progress.answer(request, &remaining),
            });
        }
        for (request, answer) in requests.iter().zip(&answers) {
            if let Ok(answer) = answer {
                let is_held = matches!(answer, Acquired::Held { .. });
                self.recently_held.note(&request.name, is_held, began);
            }
        }
        answers
    }

    /// Reads the own grant once more, after the etcd lease that it was on has ended.
    async fn own_after_expiry(&self, request: &AcquireRequest, began: Moment) -> Result<Acquired> {
        for _ in 0..ROUNDS {
            let found = self.read_one(OPERATION, &request.name).await.map_err(|failure| failure.error)?;
            let progress = match Progress::after_read(request, found) {
                Progress::TryFree | Progress::TryReserved(_) => return Ok(Acquired::Spent),
                progress => progress,
            };
            let lease = match &progress {
                Progress::Own(entry) | Progress::Blocked(entry) => Some(entry.lease),
                _ => None,
            };
            let remaining = self.remaining(OPERATION, lease, began).await;
            let is_gone =
                matches!(&progress, Progress::Own(entry) if matches!(remaining.get(&entry.lease), Some(Ok(None))));
            if !is_gone {
                return progress.answer(request, &remaining);
            }
        }
        Err(too_many_changes(OPERATION))
    }

    /// Reads the names that were held a moment ago. Every member writes an attempt, even one that fails; a read is not written
    /// (L2).
    async fn read_recently_held(&self, requests: &[AcquireRequest], progress: &mut [Progress], now: Moment) {
        let was_held = |index: usize| self.recently_held.contains(&requests[index].name, now);
        let indices: Vec<usize> =
            (0..requests.len()).filter(|&index| progress[index].is_pending() && was_held(index)).collect();
        let names: Vec<_> = indices.iter().map(|&index| &requests[index].name).collect();
        let found = self.read(OPERATION, &names).await;
        for (index, found) in indices.into_iter().zip(found) {
            progress[index] = match found {
                Ok(found) => Progress::after_read(&requests[index], found),
                Err(failure) => Progress::Done(Err(failure.error)),
            };
        }
    }

    /// Attempts all pending requests, in one transaction if they fit.
    async fn attempt(&self, requests: &[AcquireRequest], progress: &mut [Progress], began: Moment, is_first: bool) {
        let (mut attempted, mut steps) = (Vec::new(), Vec::new());
        let pending = requests.iter().zip(&*progress).filter(|(_, progress)| progress.is_pending());
        let ttls: Vec<_> = pending.map(|(request, _)| self.limits.rounded(request.ttl)).collect();
        let buckets = self.buckets.newest_of(&self.connections, OPERATION, ttls).await;
        let acquired_at = wall_clock();
        for (index, request) in requests.iter().enumerate() {
            if !progress[index].is_pending() {
                continue;
            }
            match &buckets[&self.limits.rounded(request.ttl)] {
                Ok(bucket) => {
                    steps.push(self.acquire_step(request, &progress[index], *bucket, acquired_at));
                    attempted.push((index, *bucket));
                }
                Err(failure) => progress[index] = Progress::Done(Err(failure.error.clone())),
            }
        }
        let outcomes = self.transactions.commit(&self.connections, OPERATION, Access::Write, steps).await;
        for ((index, bucket), outcome) in attempted.into_iter().zip(outcomes) {
            let request = &requests[index];
            progress[index] = match outcome {
                Ok(outcome) if outcome.succeeded => {
                    let token = u64::try_from(outcome.revision).unwrap_or_default();
                    Progress::Done(granted(request, token, bucket.remaining(began)))
                }
                Ok(outcome) => match self.found(OPERATION, Access::Write, &request.name, &outcome) {
                    Ok(found) => Progress::after_read(request, found),
                    Err(failure) => Progress::Done(Err(failure.error)),
                },
                // The bucket was revoked, or has expired on the way. Nothing was executed: try again with another bucket.
                Err(Failure { cure: Cure::NewLease, .. }) if is_first => {
                    self.buckets.forget(bucket.id);
                    Progress::TryFree
                }
                Err(failure) => Progress::Done(Err(failure.error)),
            };
        }
    }

    fn acquire_step(&self, request: &AcquireRequest, assumption: &Progress, bucket: Bucket, at: SystemTime) -> Step {
        let (key, block) = (self.keys.grant(&request.name), self.keys.block(&request.name));
        let value = Record::new(request, bucket.ttl, at).to_bytes();
        let attached = Some(PutOptions::new().with_lease(bucket.id));
        let mut bytes = value.len() + 8 * key.len();
        let mut when = vec![Compare::create_revision(key.as_str(), CompareOp::Equal, 0)];
        let mut then = vec![TxnOp::put(key, value, attached.clone())];
        if let Progress::TryReserved(entry) = assumption {
            bytes += entry.bytes();
            when.extend(entry.is_unchanged(&block));
            then.push(TxnOp::delete(block, None));
        } else {
            when.push(Compare::create_revision(block, CompareOp::Equal, 0));
        }
        if request.announce {
            then.push(TxnOp::put(self.keys.announcement(&request.name), "", attached));
        }
        Step { when, then, otherwise: self.gets(&request.name), bytes }
    }
}

impl Progress {
    /// Returns the progress of a request after its name was read.
    fn after_read(request: &AcquireRequest, found: Found) -> Self {
        match (found.grant, found.block) {
            (Some(grant), _) => {
                let is_own = |record: &Record| record.belongs_to(&request.holder, request.grant);
                if grant.record.as_ref().is_some_and(is_own) { Self::Own(grant) } else { Self::Blocked(grant) }
            }
            (None, Some(block)) => {
                let ended = block.record.as_ref().and_then(|record| record.ended.as_ref());
                let successor = ended.and_then(|ended| ended.reserved_for.as_ref());
                if successor == Some(&request.holder) { Self::TryReserved(block) } else { Self::Blocked(block) }
            }
            (None, None) => Self::TryFree,
        }
    }

    fn is_pending(&self) -> bool {
        matches!(self, Self::TryFree | Self::TryReserved(_))
    }

    fn answer(self, request: &AcquireRequest, remaining: &Remaining) -> Result<Acquired> {
        let left = |entry: &Entry| remaining.get(&entry.lease).cloned().unwrap_or(Ok(None));
        match self {
            Self::Done(answer) => answer,
            // The name was taken and freed between all attempts.
            Self::TryFree | Self::TryReserved(_) => Ok(Acquired::Held { by: None, retry_after: None }),
            Self::Own(entry) => match left(&entry) {
                Ok(Some(left)) => granted(request, entry.token, left.at_least),
                // The grant has just expired.
                Ok(None) => Ok(Acquired::Spent),
                Err(failure) => Err(failure.error),
            },
            Self::Blocked(entry) => Ok(held(request, &entry, left(&entry).ok().flatten())),
        }
    }
}

fn granted(request: &AcquireRequest, token: u64, remaining: Duration) -> Result<Acquired> {
    let AcquireRequest { name, holder, grant, .. } = request;
    let handle = handle::seal(token, name, holder, *grant);
    match FencingToken::new(token) {
        Some(token) => Ok(Acquired::Granted(Grant::new(token, remaining).with_handle(handle))),
        None => Err(store_error(ErrorKind::Internal, OPERATION, "etcd returned no revision for the key")),
    }
}

/// Returns the answer for a name that is held. It names the holder only if the time left is known.
fn held(request: &AcquireRequest, entry: &Entry, left: Option<TimeLeft>) -> Acquired {
    let by = left.and_then(|left| entry.as_lease(&request.name, left));
    Acquired::Held { retry_after: by.as_ref().map(|by| by.remaining), by }
}

/// Returns the wall-clock time, which is shown to people who inspect a lease. No decision depends on it (S3).
#[expect(clippy::disallowed_methods, reason = "the wall-clock time is wanted, and nothing is measured with it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
