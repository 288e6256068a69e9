//! Ending leases.

use fred::prelude::Value;
use lease_core::{LeaseName, ReleaseRequest, Released};

use crate::{
    answer::{Answer, in_microseconds, one_line, owner},
    batch::Operation,
    call::Asked,
    scripts::Script,
    store::{Inner, MAX_TTL},
};

// What the scripts answer that end grants.
const NOT_HELD: u64 = 0;
const FREED: u64 = 1;
const ENDED_BEFORE: u64 = 2;
const FREED_IN_SILENCE: u64 = 3;

pub(crate) struct Release;

impl Operation for Release {
    const NAME: &'static str = "release";
    type Request = ReleaseRequest;
    type Answer = Released;

    fn script<'a>(&self, store: &'a Inner) -> &'a Script {
        &store.scripts().release
    }

    fn name<'a>(&self, request: &'a ReleaseRequest) -> &'a LeaseName {
        &request.claim.name
    }

    fn said_of_all(&self, request: &ReleaseRequest, into: &mut Vec<Value>) {
        let reserved_for = match &request.reserved_for {
            Some(holder) => one_line(holder).into_owned().into(),
            None => Value::from_static_str(""),
        };
        into.extend([in_microseconds(request.hold_for.min(MAX_TTL)).into(), reserved_for]);
    }

    fn word(&self, request: &ReleaseRequest) -> Option<Value> {
        Some(owner(request.claim.grant, &request.claim.holder).into())
    }

    fn read(&self, _request: &ReleaseRequest, answer: &Answer) -> Option<Released> {
        released(answer)
    }

    fn may_be_own_doing(answer: &Answer, asked: Asked) -> bool {
        may_be_own_doing(answer, asked)
    }

    fn is_in_silence(answer: &Answer) -> bool {
        is_in_silence(answer)
    }
}

pub(crate) fn released(answer: &Answer) -> Option<Released> {
    match answer.number()? {
        FREED | FREED_IN_SILENCE => Some(Released::Freed),
        NOT_HELD | ENDED_BEFORE => Some(Released::NotHeld),
        _ => None,
    }
}

/// Whether the server has refused to tell those who wait.
pub(crate) fn is_in_silence(answer: &Answer) -> bool {
    answer.number() == Some(FREED_IN_SILENCE)
}

pub(crate) fn may_be_own_doing(answer: &Answer, asked: Asked) -> bool {
    match answer.number() {
        Some(ENDED_BEFORE) => asked != Asked::Once,
        Some(NOT_HELD) => asked == Asked::Again,
        _ => false,
    }
}
