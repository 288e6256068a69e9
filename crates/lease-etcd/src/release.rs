//! Releasing.

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp};
use lease_core::{ReleaseRequest, Released, Result};

use crate::{
    error::{Access, Failure},
    handle,
    record::{How, Record},
    store::Inner,
    transactions::Step,
};

const OPERATION: &str = "release";

impl Inner {
    pub(crate) async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let mut answers: Vec<Option<Result<Released>>> = requests.iter().map(|_| None).collect();
        let records = self.read_first(requests, &mut answers).await;
        let (mut ending, mut steps) = (Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            if answers[index].is_some() {
                continue;
            }
            match self.release_step(request, records[index].as_ref()).await {
                Ok(Some(step)) => {
                    steps.push(step);
                    ending.push(index);
                }
                Ok(None) => answers[index] = Some(Ok(Released::NotHeld)),
                Err(failure) => answers[index] = Some(Err(failure.error)),
            }
        }
        let outcomes = self.transactions.commit(&self.connections, OPERATION, Access::Write, steps).await;
        for (index, outcome) in ending.into_iter().zip(outcomes) {
            answers[index] = Some(match outcome {
                Ok(outcome) if outcome.succeeded => Ok(Released::Freed),
                Ok(_) => Ok(Released::NotHeld),
                Err(failure) => Err(failure.error),
            });
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Ok(Released::NotHeld))).collect()
    }

    /// Reads the grants whose token is not known, because the answer never arrived (S11), and those whose names stay blocked:
    /// the block says whose they were.
    async fn read_first(
        &self,
        requests: &[ReleaseRequest],
        answers: &mut [Option<Result<Released>>],
    ) -> Vec<Option<(Record, i64)>> {
        let mut records: Vec<_> = requests.iter().map(|_| None).collect();
        let is_read = |request: &ReleaseRequest| request.claim.handle == 0 || !request.hold_for.is_zero();
        let read: Vec<usize> = (0..requests.len()).filter(|&index| is_read(&requests[index])).collect();
        let names: Vec<_> = read.iter().map(|&index| &requests[index].claim.name).collect();
        let seen = self.look(OPERATION, &names).await;
        for (index, seen) in read.into_iter().zip(seen) {
            match seen {
                Ok(seen) => match seen.grant {
                    Some(entry) if entry.is_claimed_by(&requests[index].claim) => {
                        let token = i64::try_from(entry.token).unwrap_or_default();
                        records[index] = entry.record.map(|record| (record, token));
                    }
                    _ => answers[index] = Some(Ok(Released::NotHeld)),
                },
                Err(failure) => answers[index] = Some(Err(failure.error)),
            }
        }
        records
    }

    async fn release_step(
        &self,
        request: &ReleaseRequest,
        read: Option<&(Record, i64)>,
    ) -> Result<Option<Step>, Failure> {
        let claim = &request.claim;
        let Some(token) = read.map(|(_, token)| *token).or_else(|| handle::open(claim)) else { return Ok(None) };
        let key = self.keys.grant(&claim.name);
        let mut step = Step { bytes: 2 * key.len(), ..Step::default() };
        step.when.push(Compare::create_revision(key.as_str(), CompareOp::Equal, token));
        step.then.push(TxnOp::delete(key, None));
        if let (Some((record, token)), false) = (read, request.hold_for.is_zero()) {
            let token = u64::try_from(*token).unwrap_or_default();
            let value = record.block(token, How::Released, request.reserved_for.clone()).to_bytes();
            step.bytes += value.len();
            // An etcd lease of its own: it lasts for the whole time from now on, and for no longer.
            let ttl = self.limits.rounded(self.limits.check_hold(OPERATION, request.hold_for)?);
            let bucket = self.buckets.fresh(&self.connections, OPERATION, ttl).await?;
            let attached = PutOptions::new().with_lease(bucket.id);
            step.then.push(TxnOp::put(self.keys.block(&claim.name), value, Some(attached)));
        }
        Ok(Some(step))
    }
}
