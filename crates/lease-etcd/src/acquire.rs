//! Acquiring.

use std::time::{Duration, SystemTime};

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use lease_core::{AcquireRequest, Acquired, FencingToken, Grant, Moment, Result};

use crate::{
    buckets::Bucket,
    error::{Access, Cure, Failure},
    handle,
    record::{Entry, Found, Record},
    remaining::{Remaining, TimeLeft},
    shared::Shared,
    transactions::Step,
};

const OPERATION: &str = "acquire";

/// How often a name is tried that changes between the look and the attempt.
const ROUNDS: usize = 4;

/// How far a request has come.
enum Progress {
    /// To be tried, in the belief that the name is free.
    TryFree,
    /// To be tried, in the belief that it is reserved for this holder by this block.
    TryReserved(Entry),
    /// Only what is left is not known yet.
    Own(Entry),
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
        self.look_at_what_was_held(requests, &mut progress, began).await;
        for round in 0..ROUNDS {
            if !progress.iter().any(Progress::is_to_be_tried) {
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
                // Its etcd lease is gone, and the key with it, unless that has moved meanwhile.
                Progress::Own(entry) if matches!(remaining.get(&entry.lease), Some(Ok(None))) => {
                    self.own_again(request, began).await
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

    /// Looks once more at what was the own grant, on an etcd lease that is gone.
    async fn own_again(&self, request: &AcquireRequest, began: Moment) -> Result<Acquired> {
        for _ in 0..ROUNDS {
            let seen = self.read_one(OPERATION, &request.name).await.map_err(|failure| failure.error)?;
            let progress = match Progress::after(request, seen) {
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
        Err(crate::error::here(lease_core::ErrorKind::Unavailable, OPERATION, "the key changes all the time"))
    }

    /// A look is a read, and is not written by every member like an attempt, lost ones too (L2).
    async fn look_at_what_was_held(&self, requests: &[AcquireRequest], progress: &mut [Progress], now: Moment) {
        let was_held = |index: usize| self.recently_held.contains(&requests[index].name, now);
        let looks: Vec<usize> =
            (0..requests.len()).filter(|&index| progress[index].is_to_be_tried() && was_held(index)).collect();
        let names: Vec<_> = looks.iter().map(|&index| &requests[index].name).collect();
        let seen = self.read(OPERATION, &names).await;
        for (index, seen) in looks.into_iter().zip(seen) {
            progress[index] = match seen {
                Ok(seen) => Progress::after(&requests[index], seen),
                Err(failure) => Progress::Done(Err(failure.error)),
            };
        }
    }

    /// Tries all that are to be tried, in one request if they fit.
    async fn attempt(&self, requests: &[AcquireRequest], progress: &mut [Progress], began: Moment, is_first: bool) {
        let (mut tried, mut steps) = (Vec::new(), Vec::new());
        let to_be_tried = requests.iter().zip(&*progress).filter(|(_, progress)| progress.is_to_be_tried());
        let ttls: Vec<_> = to_be_tried.map(|(request, _)| self.limits.rounded(request.ttl)).collect();
        let buckets = self.buckets.newest_of(&self.connections, OPERATION, ttls).await;
        let acquired_at = wall_clock();
        for (index, request) in requests.iter().enumerate() {
            if !progress[index].is_to_be_tried() {
                continue;
            }
            match &buckets[&self.limits.rounded(request.ttl)] {
                Ok(bucket) => {
                    steps.push(self.acquire_step(request, &progress[index], *bucket, acquired_at));
                    tried.push((index, *bucket));
                }
                Err(failure) => progress[index] = Progress::Done(Err(failure.error.clone())),
            }
        }
        let outcomes = self.transactions.commit(&self.connections, OPERATION, Access::Write, steps).await;
        for ((index, bucket), outcome) in tried.into_iter().zip(outcomes) {
            let request = &requests[index];
            progress[index] = match outcome {
                Ok(outcome) if outcome.succeeded => {
                    let token = u64::try_from(outcome.revision).unwrap_or_default();
                    Progress::Done(granted(request, token, bucket.remaining(began)))
                }
                Ok(outcome) => match self.found(OPERATION, Access::Write, &request.name, &outcome) {
                    Ok(seen) => Progress::after(request, seen),
                    Err(failure) => Progress::Done(Err(failure.error)),
                },
                // Revoked behind our back, or expired on the way. Nothing was done: once more with another one.
                Err(Failure { cure: Cure::NewLease, .. }) if is_first => {
                    self.buckets.forget(bucket.id);
                    Progress::TryFree
                }
                Err(failure) => Progress::Done(Err(failure.error)),
            };
        }
    }

    fn acquire_step(&self, request: &AcquireRequest, belief: &Progress, bucket: Bucket, at: SystemTime) -> Step {
        let (key, block) = (self.keys.grant(&request.name), self.keys.block(&request.name));
        let value = Record::new(request, bucket.ttl, at).to_bytes();
        let attached = Some(PutOptions::new().with_lease(bucket.id));
        let mut bytes = value.len() + 8 * key.len();
        let mut when = vec![Compare::create_revision(key.as_str(), CompareOp::Equal, 0)];
        let mut then = vec![TxnOp::put(key, value, attached.clone())];
        if let Progress::TryReserved(entry) = belief {
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
    /// What a look tells this request.
    fn after(request: &AcquireRequest, seen: Found) -> Self {
        match (seen.grant, seen.block) {
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

    fn is_to_be_tried(&self) -> bool {
        matches!(self, Self::TryFree | Self::TryReserved(_))
    }

    fn answer(self, request: &AcquireRequest, remaining: &Remaining) -> Result<Acquired> {
        let left = |entry: &Entry| remaining.get(&entry.lease).cloned().unwrap_or(Ok(None));
        match self {
            Self::Done(answer) => answer,
            // It came and went between all looks.
            Self::TryFree | Self::TryReserved(_) => Ok(Acquired::Held { by: None, retry_after: None }),
            Self::Own(entry) => match left(&entry) {
                Ok(Some(left)) => granted(request, entry.token, left.at_least),
                // It has expired just now.
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
        None => Err(crate::error::here(lease_core::ErrorKind::Internal, OPERATION, "etcd told no revision")),
    }
}

/// Who has it is told only with what is left of it.
fn held(request: &AcquireRequest, entry: &Entry, left: Option<TimeLeft>) -> Acquired {
    let by = left.and_then(|left| entry.as_lease(&request.name, left));
    Acquired::Held { retry_after: by.as_ref().map(|by| by.remaining), by }
}

/// For people who inspect a lease; nothing is decided by it (S3).
#[expect(clippy::disallowed_methods, reason = "the wall clock itself is asked for, and nothing is measured with it")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
