//! Ending leases, by their owners.

use lease_core::{ReleaseRequest, Released, Result};

use crate::{
    batch::{Answers, Operation, place},
    connections::{Access, Failure},
    row::{in_microseconds, uuid},
    store::Inner,
};

pub(crate) struct Release<'a>(pub(crate) &'a Inner);

impl Operation for Release<'_> {
    const NAME: &'static str = "release";
    type Request = ReleaseRequest;
    type Answer = Released;

    async fn one(&self, request: &ReleaseRequest) -> Result<Released> {
        let query = sqlx::query(self.0.statements().release_one.clone())
            .bind(request.claim.name.as_str())
            .bind(request.claim.holder.as_str())
            .bind(uuid(request.claim.grant))
            .bind(in_microseconds(request.hold_for))
            .bind(request.reserved_for.as_ref().map(|holder| holder.as_str()));
        let rows = self.0.connections().run(Access::Write, query).await;
        let rows = rows.map_err(|failure| self.0.error(Self::NAME, failure))?;
        Ok(if rows.is_empty() { Released::NotHeld } else { Released::Freed })
    }

    async fn many(&self, requests: &[&ReleaseRequest]) -> Result<Answers<Released>, Failure> {
        let query = sqlx::query(self.0.statements().release_many.clone())
            .bind(requests.iter().map(|request| request.claim.name.as_str()).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| request.claim.holder.as_str()).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| uuid(request.claim.grant)).collect::<Vec<_>>())
            .bind(requests.iter().map(|request| in_microseconds(request.hold_for)).collect::<Vec<_>>())
            .bind(
                requests
                    .iter()
                    .map(|request| request.reserved_for.as_ref().map(|holder| holder.as_str()))
                    .collect::<Vec<_>>(),
            );
        let rows = self.0.connections().run(Access::Write, query).await?;
        let mut answers = vec![Released::NotHeld; requests.len()];
        for row in rows {
            answers[place(&row)?] = Released::Freed;
        }
        Ok(answers.into_iter().map(Ok).enumerate().collect())
    }
}
