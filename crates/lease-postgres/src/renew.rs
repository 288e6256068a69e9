//! Extending leases.

use lease_core::{ErrorKind, LossReason, RenewRequest, Renewed, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{
    batch::{Answers, Operation, Patience, place},
    connections::{Access, Failure},
    error::here,
    row::{State, in_microseconds, metadata_text, microseconds, uuid},
    store::Inner,
};

pub(crate) struct Renew<'a>(pub(crate) &'a Inner);

impl Operation for Renew<'_> {
    const NAME: &'static str = "renew";
    type Request = RenewRequest;
    type Answer = Renewed;

    async fn one(&self, request: &RenewRequest, patience: Patience) -> Result<Renewed> {
        let error = |failure: Failure| self.0.error(Self::NAME, failure);
        let values = [
            request.claim.name.as_str().into(),
            request.claim.holder.as_str().into(),
            uuid(request.claim.grant).into(),
            in_microseconds(request.ttl).into(),
            revision(request).into(),
            metadata(request).into(),
            patience.lock_timeout().into(),
        ];
        let rows =
            self.0.connections().run(Access::Write, &self.0.statements().renew_one, &values).await.map_err(error)?;
        if let Some(row) = rows.first() {
            return match extended(row, request).map_err(error)? {
                Some(answer) => Ok(answer),
                None => Ok(Renewed::Lost(LossReason::Gone)),
            };
        }
        let state = self.0.look(&request.claim.name).await.map_err(error)?;
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
            let at = place(&row)?;
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

/// At least the ttl, counted from before the call (S8); more, when more was left and it was not shortened (S7). Never more than the
/// grant's ttl: what goes beyond it comes from a clock that was set back, and will not be true any more when that is set right.
fn extended(row: &PgRow, request: &RenewRequest) -> Result<Option<Renewed>, Failure> {
    let remaining: Option<i64> = row.try_get("extended_us").map_err(Failure::unreadable)?;
    let granted: Option<i64> = row.try_get("granted_us").map_err(Failure::unreadable)?;
    Ok(remaining.map(|remaining| {
        let longest = microseconds(granted.unwrap_or(0)).max(request.ttl);
        Renewed::Extended { remaining: microseconds(remaining).max(request.ttl).min(longest) }
    }))
}

fn lost(state: Option<&State>, request: &RenewRequest) -> Result<Renewed> {
    let Some(state) = state else { return Ok(Renewed::Lost(LossReason::Gone)) };
    match state.loss(&request.claim) {
        Some(reason) => Ok(Renewed::Lost(reason)),
        // A grant cannot come back, so the row was not seen as it is. Not extended; ask again.
        None => Err(here(ErrorKind::Unavailable, Renew::NAME, "the lease was changed while it was looked at")),
    }
}

/// No revision: what is stored stays.
fn revision(request: &RenewRequest) -> Option<i64> {
    request.metadata.as_ref().map(|update| i64::try_from(update.revision).unwrap_or(i64::MAX))
}

fn metadata(request: &RenewRequest) -> Option<String> {
    request.metadata.as_ref().and_then(|update| metadata_text(&update.metadata))
}
