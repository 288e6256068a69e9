//! A record with its version, and what is left of it.

use lease_core::{AcquireRequest, FencingToken, LeaseName, LeaseRecord};

use crate::{
    Foreign, Version,
    left::Left,
    record::{Phase, Record},
};

/// A record as this process sees it: read, or written by itself.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) record: Record,
    pub(crate) version: Version,
    pub(crate) left: Left,
    /// The lease of another program, which has written the document since the record.
    pub(crate) foreign: Option<Foreign>,
}

impl Seen {
    /// Returns the token of the grant.
    pub(crate) fn token(&self) -> u64 {
        self.record.token_in(self.version.number)
    }

    pub(crate) fn fencing_token(&self) -> FencingToken {
        FencingToken::new(self.token().max(1)).unwrap_or(FencingToken::new(1).expect("1 is a token"))
    }

    /// Returns the record with its token written out, for the next write of the same grant.
    pub(crate) fn next(&self) -> Record {
        self.record.next(self.token())
    }

    pub(crate) fn is_in_force(&self) -> bool {
        !self.left.at_most.is_zero()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.foreign.is_none() && self.record.phase == Phase::Held && self.is_in_force()
    }

    pub(crate) fn is_reserved_for(&self, request: &AcquireRequest) -> bool {
        let Record { phase, reserved_for, .. } = &self.record;
        self.foreign.is_none() && *phase == Phase::Released && reserved_for.as_ref() == Some(&request.holder)
    }

    /// Returns the public record, or `None` if it is not in force.
    pub(crate) fn inspect(&self, name: &LeaseName) -> Option<LeaseRecord> {
        let record = &self.record;
        if let Some(Foreign::Held { by, lasts }) = &self.foreign {
            // Nobody was granted this token: it lies between those of the grants before and after.
            let token = FencingToken::new(self.token().saturating_add(1)).unwrap_or(self.fencing_token());
            let remaining = self.left.at_most.min(*lasts);
            return self.is_in_force().then(|| LeaseRecord::new(name.clone(), by.clone(), token, *lasts, remaining));
        }
        let remaining = self.left.at_most.min(record.lasts());
        self.is_in_force().then(|| {
            LeaseRecord::new(name.clone(), record.holder.clone(), self.fencing_token(), record.ttl(), remaining)
                .with_acquired_at(record.acquired_at())
                .with_metadata(record.metadata())
                .with_released(record.phase == Phase::Released)
        })
    }
}
