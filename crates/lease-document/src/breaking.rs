//! Ending a grant on behalf of an administrator (S22).

use std::time::Duration;

use lease_core::{Break, FencingToken, LeaseName, Released, Result};

use crate::{
    Documents,
    attempt::{Attempt, Look, Until},
    record::Phase,
    shared::Shared,
};

/// Ends the grant with this token. [`Break::Now`] also frees a name that is only blocked.
pub(crate) async fn break_lease<D: Documents>(
    shared: &Shared<D>,
    name: &LeaseName,
    token: FencingToken,
    how: Break,
) -> Result<Released> {
    let mut attempt = Attempt::new(shared, "break", name);
    loop {
        let seen = match attempt.look().await? {
            Look::Written(_) => return Ok(Released::Freed),
            Look::Absent => return attempt.nothing_pending(Released::NotHeld),
            Look::Found(seen) => seen,
        };
        if seen.foreign.is_some() && seen.is_in_force() {
            return Err(attempt.conclude(attempt.context().foreign_holder()));
        }
        let can_end = match how {
            Break::AfterExpiry => seen.is_held(),
            Break::Now => seen.is_in_force(),
        };
        if seen.fencing_token() != token || !can_end {
            return attempt.nothing_pending(Released::NotHeld);
        }
        let mut next = seen.next();
        if next.phase == Phase::Held {
            next.phase = Phase::Broken;
        }
        let until = match how {
            Break::AfterExpiry => {
                next.set_lasts(seen.left.at_most.min(next.lasts()));
                Until::AsBefore
            }
            Break::Now => {
                next.set_lasts(Duration::ZERO);
                Until::FromNow
            }
        };
        if attempt.write(next, Some(&seen.version), until).await?.is_some() {
            return Ok(Released::Freed);
        }
    }
}
