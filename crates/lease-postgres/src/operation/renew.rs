//! Renews leases.

use lease_core::{ErrorKind, LossReason, RenewRequest, Renewed, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{
    batch::{Answers, LockWait, Operation},
    error::store_error,
    failure::{Access, Failure},
    shared::Shared,
    sql::{State, in_microseconds, lock_timeout, metadata_text, microseconds, position, uuid},
};

pub(crate) struct Renew<'a>(pub(crate) &'a Shared);

impl Operation for Renew<'_> {
    const NAME: &'static str = "renew";
    type Request = RenewRequest;
    type Answer = Renewed;

    async fn one(&self, request: &RenewRequest, wait: LockWait) -> Result<Renewed> {
        let error = |failure: Failure| self.0.error(Self::NAME, failure);
        let values = [
            request.claim.name.as_str().into(),
            request.claim.holder.as_str().into(),
            uuid(request.claim.grant).into(),
            in_microseconds(request.ttl).into(),
            revision(request).into(),
            metadata(request).into(),
            lock_timeout(wait).into(),
        ];
        let rows =
            self.0.connections().run(Access::Write, &self.0.statements().renew_one, &values).await.map_err(error)?;
        if let Some(row) = rows.first() {
            return match extended(row, request).map_err(error)? {
                Some(answer) => Ok(answer),
                None => Ok(Renewed::Lost(LossReason::Gone)),
            };
        }
        let state = self.0.read_state(&request.claim.name).await.map_err(error)?;
        lost(state.as_ref(), request)
    }

    async fn many(&self, requests: &[&RenewRequest]) -> Result<Answers<Renewed>, Failure> {
        let values = [
            requests.iter().map(|request| request.claim.name.as_str()).collect(),
            requests.iter().map(|request| request.claim.holder.as_str()).collect(),
            requests.iter().map(|request| uuid(request.claim.grant)).collect(),
            requests.iter().map(|request| in_microseconds(request.ttl)).collect(),
            requests.iter().map(|request| revision(request)).collect(),
            requests.iter().map(|request| metadata(request)).collect(),
        ];
        let rows = self.0.connections().run(Access::Write, &self.0.statements().renew_many, &values).await?;
        let mut answers = Vec::with_capacity(rows.len());
        for row in rows {
            let at = position(&row)?;
            let request = requests[at];
            let answer = match extended(&row, request)? {
                Some(answer) => Ok(answer),
                None => lost(State::read(&row).map_err(Failure::unreadable)?.as_ref(), request),
            };
            answers.push((at, answer));
        }
        Ok(answers)
    }
}

/// Reads the answer to a request that was extended; `None` if it was not. At least the ttl remains, counted from before the call
/// (S8); more if more remained before, because a renewal never shortens (S7). At most the ttl of the grant: a longer time comes
/// from a clock that was set back, and will not hold when that clock is corrected.
fn extended(row: &PgRow, request: &RenewRequest) -> Result<Option<Renewed>, Failure> {
    let remaining: Option<i64> = row.try_get("extended_us").map_err(Failure::unreadable)?;
    let granted: Option<i64> = row.try_get("granted_us").map_err(Failure::unreadable)?;
    Ok(remaining.map(|remaining| {
        let longest = microseconds(granted.unwrap_or(0)).max(request.ttl);
        Renewed::Extended { remaining: microseconds(remaining).max(request.ttl).min(longest) }
    }))
}

/// Returns why the lease is lost.
fn lost(state: Option<&State>, request: &RenewRequest) -> Result<Renewed> {
    let Some(state) = state else { return Ok(Renewed::Lost(LossReason::Gone)) };
    match state.loss(&request.claim) {
        Some(reason) => Ok(Renewed::Lost(reason)),
        // A grant cannot return, so this state is newer than the statement. Nothing was extended: the renewal may be repeated.
        None => Err(store_error(
            ErrorKind::Unavailable,
            Renew::NAME,
            format!("{} was changed during the renewal", request.claim.name),
        )),
    }
}

/// Without a revision, the stored metadata stays.
fn revision(request: &RenewRequest) -> Option<i64> {
    request.metadata.as_ref().map(|update| i64::try_from(update.revision).unwrap_or(i64::MAX))
}

fn metadata(request: &RenewRequest) -> Option<String> {
    request.metadata.as_ref().and_then(|update| metadata_text(&update.metadata))
}
