//! Ending a grant.

use std::time::Duration;

use lease_core::{Claim, ReleaseRequest, Released, Result};

use crate::{
    Documents,
    attempt::{Attempt, Look, Until},
    record::Phase,
    seen::Seen,
    shared::Shared,
};

/// Ends a grant by heart, like a renewal.
pub(crate) async fn release<D: Documents>(shared: &Shared<D>, request: &ReleaseRequest) -> Result<Released> {
    let claim = &request.claim;
    let mut attempt = Attempt::new(shared, "release", &claim.name);
    let mut by_heart = by_heart(shared, claim);
    // What this operation answers if its write turns out to be done.
    let mut outcome = Released::NotHeld;
    loop {
        let seen = match by_heart.take() {
            Some(seen) => seen,
            None => match attempt.look().await? {
                Look::Written(_) => return Ok(outcome),
                Look::Absent => return attempt.nothing_pending(Released::NotHeld),
                Look::Found(seen) => seen,
            },
        };
        if seen.foreign.is_some()
            || seen.record.phase != Phase::Held
            || !seen.record.belongs_to(&claim.holder, claim.grant)
        {
            return attempt.nothing_pending(Released::NotHeld);
        }
        // A grant that has expired is written down as ended all the same: contenders need not watch it (S2).
        outcome = if seen.is_in_force() { Released::Freed } else { Released::NotHeld };
        let mut next = seen.next();
        next.release(request);
        next.set_lasts(if outcome == Released::Freed { request.hold_for } else { Duration::ZERO });
        if attempt.write(next, Some(&seen.version), Until::FromNow).await?.is_some() {
            return Ok(outcome);
        }
    }
}

/// Returns the grant by heart. A version that is a number may be that of a rival's record, if the store's data has gone back: then
/// a release must not free the rival, so it reads first, unless the store has answered within a renewal interval.
fn by_heart<D: Documents>(shared: &Shared<D>, claim: &Claim) -> Option<Seen> {
    let (own, seen) = shared.by_heart(claim)?;
    let is_recent = shared.now().saturating_since(own.answered) < own.record.ttl() / 3;
    (own.version.number.is_none() || is_recent).then_some(seen)
}
