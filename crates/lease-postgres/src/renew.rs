//! Extending leases.

use std::time::Duration;

use lease_core::{ErrorKind, LossReason, RenewRequest, Renewed, Result};
use sqlx::Row;

use crate::{
    batch::{Answers, Operation, place},
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

    async fn one(&self, request: &RenewRequest) -> Result<Renewed> {
        let error = |failure: Failure| self.0.error(Self::NAME, failure);
        let query = sqlx::query(self.0.statements().renew_one.clone())
            .bind(request.claim.name.as_str())
            .bind(request.claim.holder.as_str())
            .bind(uuid(request.claim.grant))
            .bind(in_microseconds(request.ttl))
            .bind(revision(request))
            .bind(metadata(request));
        let rows = self.0.connections().run(Access::Write, query).await.map_err(error)?;
        if let Some(row) = rows.first() {
            return match row.try_get("remaining_us").map_err(Failure::unreadable).map_err(error)? {
                Some(remaining) => Ok(extended(remaining, request.ttl)),
                None => Ok(Renewed::Lost(LossReason::Gone)),
            };
        }
        let state = self.0.look(&request.claim.name).await.map_err(error)?;
        lost(state.as_ref(), request)
    }

    async fn many(&self, requests: &[&RenewRequest]) -> Result<Answers<Renewed>, Failure> {
        let query = sqlx::query(self.0.statements().renew_many.clone())
            .bind(requests.iter().map(|request| request.claim.name.as_str()).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| request.claim.holder.as_str()).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| uuid(request.claim.grant)).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| in_microseconds(request.ttl)).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| revision(request)).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| metadata(request)).collect::<Vec<_>>());
        let rows = self.0.connections().run(Access::Write, query).await?;
        let mut answers = Vec::with_capacity(rows.len());
        for row in rows {
            let at = place(&row)?;
            let request = requests[at];
            let answer = match row.try_get("extended_us").map_err(Failure::unreadable)? {
                Some(remaining) => Ok(extended(remaining, request.ttl)),
                None => lost(State::read(&row).map_err(Failure::unreadable)?.as_ref(), request),
            };
            answers.push((at, answer));
        }
        Ok(answers)
    }
}

/// At least the ttl, counted from before the call (S8); more, when more was left and it was not shortened (S7).
fn extended(remaining_us: i64, ttl: Duration) -> Renewed {
    Renewed::Extended { remaining: microseconds(remaining_us).max(ttl) }
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
