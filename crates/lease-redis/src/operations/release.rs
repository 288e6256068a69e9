//! Releasing leases.

use fred::prelude::Value;
use lease_core::{LeaseName, ReleaseRequest, Released};

use super::{
    answer::Answer,
    batch::Operation,
    record::{in_microseconds, one_line, owner},
};
use crate::{
    connections::Attempts,
    scripts::Script,
    shared::{MAX_TTL, Shared},
};

// The answers of the scripts that end grants.
const NOT_HELD: u64 = 0;
const FREED: u64 = 1;
const ENDED_BEFORE: u64 = 2;
const FREED_WITHOUT_HINT: u64 = 3;

pub(crate) struct Release;

impl Operation for Release {
    const NAME: &'static str = "release";
    type Request = ReleaseRequest;
    type Answer = Released;

    fn script<'a>(&self, shared: &'a Shared) -> &'a Script {
        &shared.scripts().release
    }

    fn name<'a>(&self, request: &'a ReleaseRequest) -> &'a LeaseName {
        &request.claim.name
    }

    fn common_arguments(&self, request: &ReleaseRequest, into: &mut Vec<Value>) {
        let reserved_for = match &request.reserved_for {
            Some(holder) => one_line(holder).into_owned().into(),
            None => Value::from_static_str(""),
        };
        into.extend([in_microseconds(request.hold_for.min(MAX_TTL)).into(), reserved_for]);
    }

    fn own_argument(&self, request: &ReleaseRequest) -> Option<Value> {
        Some(owner(request.claim.grant, &request.claim.holder).into())
    }

    fn parse(&self, _request: &ReleaseRequest, answer: &Answer) -> Option<Released> {
        parse_released(answer)
    }

    fn may_be_own_effect(answer: &Answer, attempts: Attempts) -> bool {
        may_be_own_effect(answer, attempts)
    }

    fn was_hint_refused(answer: &Answer) -> bool {
        was_hint_refused(answer)
    }
}

/// Parses the answer of a script that ends a grant.
pub(super) fn parse_released(answer: &Answer) -> Option<Released> {
    match answer.number()? {
        FREED | FREED_WITHOUT_HINT => Some(Released::Freed),
        NOT_HELD | ENDED_BEFORE => Some(Released::NotHeld),
        _ => None,
    }
}

/// Returns whether the grant was ended, but the server has refused to publish the hint.
pub(super) fn was_hint_refused(answer: &Answer) -> bool {
    answer.number() == Some(FREED_WITHOUT_HINT)
}

/// Returns whether the grant was not in force, and an earlier attempt of the call may have ended it.
pub(super) fn may_be_own_effect(answer: &Answer, attempts: Attempts) -> bool {
    match answer.number() {
        Some(ENDED_BEFORE) => attempts != Attempts::One,
        Some(NOT_HELD) => attempts == Attempts::Several,
        _ => false,
    }
}
