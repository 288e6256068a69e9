//! Ending leases.

use fred::prelude::Value;
use lease_core::{LeaseName, ReleaseRequest, Released};

use crate::{
    answer::{Answer, in_microseconds},
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
        vec![store.retention(), store.keys().prefix().into()]
    }

    fn arguments(&self, request: &ReleaseRequest, into: &mut Vec<Value>) {
        into.extend([
            request.claim.name.as_str().into(),
            request.claim.holder.as_str().into(),
            request.claim.grant.to_string().into(),
            in_microseconds(request.hold_for).into(),
            request.reserved_for.as_ref().map_or("", |holder| holder.as_str()).into(),
        ]);
    }

    fn read(&self, _request: &ReleaseRequest, answer: &Answer) -> Option<Released> {
        released(answer)
    }
}

pub(crate) fn released(answer: &Answer) -> Option<Released> {
    match answer.kind() {
        "freed" => Some(Released::Freed),
        "notheld" => Some(Released::NotHeld),
        _ => None,
    }
}
