//! Releases leases.

use lease_core::{ReleaseRequest, Released, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{
    batch::{Answers, LockWait, Operation},
    failure::{Access, Failure},
    shared::Shared,
    sql::{in_microseconds, lock_timeout, position, uuid},
};

pub(crate) struct Release<'a>(pub(crate) &'a Shared);

impl Operation for Release<'_> {
    const NAME: &'static str = "release";
    type Request = ReleaseRequest;
    type Answer = Released;

    async fn one(&self, request: &ReleaseRequest, wait: LockWait) -> Result<Released> {
        let values = [
            request.claim.name.as_str().into(),
            request.claim.holder.as_str().into(),
            uuid(request.claim.grant).into(),
            in_microseconds(request.hold_for).into(),
            request.reserved_for.as_ref().map(|holder| holder.as_str()).into(),
            lock_timeout(wait).into(),
        ];
        let rows = self.0.connections().run(Access::Write, &self.0.statements().release_one, &values).await;
        let rows = rows.map_err(|failure| self.0.error(Self::NAME, failure))?;
        let Some(row) = rows.first() else { return Ok(Released::NotHeld) };
        if has_listeners(row).map_err(|failure| self.0.error(Self::NAME, failure))? {
            self.0.notify([&request.claim.name]);
        }
        Ok(Released::Freed)
    }

    async fn many(&self, requests: &[&ReleaseRequest]) -> Result<Answers<Released>, Failure> {
        let values = [
            requests.iter().map(|request| request.claim.name.as_str()).collect(),
            requests.iter().map(|request| request.claim.holder.as_str()).collect(),
            requests.iter().map(|request| uuid(request.claim.grant)).collect(),
            requests.iter().map(|request| in_microseconds(request.hold_for)).collect(),
            requests.iter().map(|request| request.reserved_for.as_ref().map(|holder| holder.as_str())).collect(),
        ];
        let rows = self.0.connections().run(Access::Write, &self.0.statements().release_many, &values).await?;
        let mut answers = vec![Released::NotHeld; requests.len()];
        let mut freed = Vec::with_capacity(rows.len());
        for row in rows {
            let at = position(&row)?;
            answers[at] = Released::Freed;
            if has_listeners(&row)? {
                freed.push(&requests[at].claim.name);
            }
        }
        self.0.notify(freed);
        Ok(answers.into_iter().map(Ok).enumerate().collect())
    }
}

/// Returns whether a listener may wait for the release.
fn has_listeners(row: &PgRow) -> Result<bool, Failure> {
    row.try_get("has_listeners").map_err(Failure::unreadable)
}
