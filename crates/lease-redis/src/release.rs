//! Ending leases.

use std::borrow::Cow;

use fred::prelude::Value;
use lease_core::{LeaseName, ReleaseRequest, Released};

use crate::{
    answer::{Answer, in_microseconds, one_line, owner},
    batch::Operation,
    scripts::Script,
    store::Inner,
};

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

    fn common_arguments(&self, store: &Inner) -> Vec<Value> {
        vec![store.retention()]
    }

    fn arguments(&self, request: &ReleaseRequest, into: &mut Vec<Value>) {
        into.extend([
            owner(request.claim.grant, &request.claim.holder).into(),
            in_microseconds(request.hold_for).into(),
            request.reserved_for.as_ref().map_or(Cow::Borrowed(""), one_line).into_owned().into(),
        ]);
    }

    fn read(&self, _request: &ReleaseRequest, answer: &Answer) -> Option<Released> {
        released(answer)
    }
}

pub(crate) fn released(answer: &Answer) -> Option<Released> {
    match answer.number()? {
        1 => Some(Released::Freed),
        0 => Some(Released::NotHeld),
        _ => None,
    }
}
