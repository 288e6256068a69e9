//! Extending a grant.

use std::time::Duration;

use lease_core::{LossReason, RenewRequest, Renewed, Result};

use crate::{
    Documents, Foreign,
    attempt::{Attempt, Look, Until},
    record::Phase,
    seen::Seen,
    shared::Shared,
};

/// Extends a grant by heart: one conditional write, if this process wrote the record last. Otherwise it reads first.
///
/// Whether the grant is in force is judged before the write is sent. If the write arrives after the expiry and before any rival,
/// it extends the grant all the same: the version has not changed (the form of S7 of this store).
pub(crate) async fn renew<D: Documents>(shared: &Shared<D>, request: &RenewRequest) -> Result<Renewed> {
    let claim = &request.claim;
    let mut attempt = Attempt::new(shared, "renew", &claim.name);
    let mut by_heart = shared.by_heart(claim).map(|(_, seen)| seen);
    loop {
        let seen = match by_heart.take() {
            Some(seen) => seen,
            None => match attempt.look().await? {
                Look::Written(seen) => return Ok(extended(&seen)),
                Look::Absent => return Ok(Renewed::Lost(LossReason::Gone)),
                Look::Found(seen) => seen,
            },
        };
        let record = &seen.record;
        match &seen.foreign {
            Some(Foreign::Held { by, .. }) => return Ok(Renewed::Lost(LossReason::taken_over(by.clone(), None))),
            Some(Foreign::Free) => return Ok(Renewed::Lost(LossReason::Gone)),
            None => {}
        }
        if !record.belongs_to(&claim.holder, claim.grant) {
            return Ok(Renewed::Lost(LossReason::taken_over(record.holder.clone(), seen.fencing_token())));
        }
        match record.phase {
            Phase::Broken => return Ok(Renewed::Lost(LossReason::Broken)),
            Phase::Released => return Ok(Renewed::Lost(LossReason::Released)),
            // Its holder has given it up by then, though others may still wait (S4).
            Phase::Held if !seen.is_in_force() || seen.left.is_spent => return Ok(Renewed::Lost(LossReason::Expired)),
            Phase::Held => {}
        }
        let mut next = seen.next();
        next.set_lasts(request.ttl.max(at_stake(&seen)));
        if let Some(update) = &request.metadata
            && update.revision > next.metadata_revision
        {
            next.set_metadata(update.revision, &update.metadata);
        }
        if let Some(seen) = attempt.write(next, Some(&seen.version), Until::NotShorter).await? {
            return Ok(extended(&seen));
        }
    }
}

fn extended(seen: &Seen) -> Renewed {
    Renewed::Extended { remaining: seen.left.at_least }
}

/// What a renewal must not shorten: what its holder was told. Where that is unknown, the most that it can have been.
fn at_stake(seen: &Seen) -> Duration {
    match seen.left.at_least {
        Duration::ZERO => seen.left.at_most.min(seen.record.lasts()),
        at_least => at_least,
    }
}
