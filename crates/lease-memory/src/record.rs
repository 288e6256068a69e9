//! The record of a name, and the rules by which it changes. It has no lock and no clock: the current moment is an argument.

use std::time::{Duration, SystemTime};

use lease_core::{
    AcquireRequest, Break, Claim, FencingToken, Grant, GrantId, HolderId, LeaseName, LeaseRecord, LossReason, Metadata,
    Moment, ReleaseRequest, Released, RenewRequest, Renewed,
};

/// The last grant of a name. The record is kept after the end of the grant, so that the nonce stays spent (S13) and tokens
/// rise (S9).
#[derive(Debug)]
pub(crate) struct Record {
    holder: HolderId,
    grant: GrantId,
    token: FencingToken,
    acquired_at: SystemTime,
    ttl: Duration,
    metadata: Metadata,
    metadata_revision: u64,
    /// Until this moment the name is held or blocked.
    until: Moment,
    phase: Phase,
}

/// The phase of a grant.
#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// The holder may renew and release it.
    Held,
    /// An administrator has ended it (S22).
    Broken,
    /// The holder has ended it. The name may stay blocked for all but a successor.
    Released { reserved_for: Option<HolderId> },
}

impl Record {
    /// Creates the record of a new grant.
    pub(crate) fn grant(request: &AcquireRequest, token: FencingToken, now: Moment, acquired_at: SystemTime) -> Self {
        Self {
            holder: request.holder.clone(),
            grant: request.grant,
            token,
            acquired_at,
            ttl: request.ttl,
            metadata: request.metadata.clone(),
            metadata_revision: 0,
            until: now + request.ttl,
            phase: Phase::Held,
        }
    }

    /// Returns whether this is the grant with this holder and nonce.
    pub(crate) fn belongs_to(&self, holder: &HolderId, grant: GrantId) -> bool {
        self.holder == *holder && self.grant == grant
    }

    /// Returns whether the grant is held.
    pub(crate) fn is_held(&self, now: Moment) -> bool {
        self.phase == Phase::Held && self.is_in_force(now)
    }

    /// Returns whether this record prevents this holder from acquiring the name.
    pub(crate) fn blocks(&self, holder: &HolderId, now: Moment) -> bool {
        let reserved = matches!(&self.phase, Phase::Released { reserved_for: Some(successor) } if successor == holder);
        self.is_in_force(now) && !reserved
    }

    /// Returns the grant for its owner, with the time that is left and not more (S1, S13).
    pub(crate) fn as_grant(&self, now: Moment) -> Grant {
        Grant::new(self.token, self.remaining(now))
    }

    /// Extends the grant for its owner, unless it has ended (S7).
    pub(crate) fn renew(&mut self, request: &RenewRequest, now: Moment) -> Renewed {
        if !self.is_claimed_by(&request.claim) {
            return Renewed::Lost(LossReason::taken_over(self.holder.clone(), self.token));
        }
        match self.phase {
            Phase::Broken => return Renewed::Lost(LossReason::Broken),
            Phase::Released { .. } => return Renewed::Lost(LossReason::Released),
            Phase::Held if !self.is_in_force(now) => return Renewed::Lost(LossReason::Expired),
            Phase::Held => {}
        }
        self.until = self.until.max(now + request.ttl);
        if let Some(update) = &request.metadata
            && update.revision > self.metadata_revision
        {
            self.metadata_revision = update.revision;
            self.metadata = update.metadata.clone();
        }
        Renewed::Extended { remaining: self.remaining(now) }
    }

    /// Ends the grant for its owner (S11). A broken grant cannot be released, and its name stays blocked (S22).
    pub(crate) fn release(&mut self, request: &ReleaseRequest, now: Moment) -> Released {
        if !self.is_claimed_by(&request.claim) || !self.is_held(now) {
            return Released::NotHeld;
        }
        self.until = now + request.hold_for;
        self.phase = Phase::Released { reserved_for: request.reserved_for.clone() };
        Released::Freed
    }

    /// Ends the grant if it has this token (S22). [`Break::Now`] also frees a name that is only blocked.
    pub(crate) fn break_grant(&mut self, token: FencingToken, how: Break, now: Moment) -> Released {
        let can_end = match how {
            Break::AfterExpiry => self.is_held(now),
            Break::Now => self.is_in_force(now),
        };
        if self.token != token || !can_end {
            return Released::NotHeld;
        }
        if self.phase == Phase::Held {
            self.phase = Phase::Broken;
        }
        if how == Break::Now {
            self.until = now;
        }
        Released::Freed
    }

    /// Returns the public record, or `None` if it is not in force.
    pub(crate) fn inspect(&self, name: &LeaseName, now: Moment) -> Option<LeaseRecord> {
        self.is_in_force(now).then(|| {
            LeaseRecord::new(name.clone(), self.holder.clone(), self.token, self.ttl, self.remaining(now))
                .with_acquired_at(self.acquired_at)
                .with_metadata(self.metadata.clone())
                .with_released(matches!(self.phase, Phase::Released { .. }))
        })
    }

    pub(crate) fn token(&self) -> FencingToken {
        self.token
    }

    /// Returns the moment until which the name is held or blocked.
    pub(crate) fn until(&self) -> Moment {
        self.until
    }

    pub(crate) fn remaining(&self, now: Moment) -> Duration {
        self.until.saturating_since(now)
    }

    fn is_in_force(&self, now: Moment) -> bool {
        now < self.until
    }

    fn is_claimed_by(&self, claim: &Claim) -> bool {
        self.belongs_to(&claim.holder, claim.grant)
    }
}
