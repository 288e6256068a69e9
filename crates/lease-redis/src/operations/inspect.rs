//! Inspecting leases.

use std::time::{Duration, SystemTime};

use fred::prelude::Value;
use lease_core::{LeaseName, LeaseRecord, Result};

use super::{
    answer::Answer,
    batch::{Operation, perform},
};
use crate::{failure::Access, scripts::Script, shared::Shared};

/// Returns the lease of a name, if it is in force.
pub(crate) async fn inspect(shared: &Shared, name: &LeaseName) -> Result<Option<LeaseRecord>> {
    let inspected = perform(&Inspect, shared, std::slice::from_ref(name)).await.pop();
    inspected.transpose().map(|inspected| match inspected {
        Some(Inspected::Held(record)) => Some(record),
        Some(Inspected::Ended { .. } | Inspected::Absent) | None => None,
    })
}

pub(crate) struct Inspect;

/// The state of a lease.
pub(crate) enum Inspected {
    Held(LeaseRecord),
    /// It was granted, and has ended.
    Ended {
        since: Duration,
        acquired_at: SystemTime,
    },
    /// There is no record of it.
    Absent,
}

impl Operation for Inspect {
    const NAME: &'static str = "inspect";
    const ACCESS: Access = Access::Read;
    type Request = LeaseName;
    type Answer = Inspected;

    fn script<'a>(&self, shared: &'a Shared) -> &'a Script {
        &shared.scripts().inspect
    }

    fn name<'a>(&self, request: &'a LeaseName) -> &'a LeaseName {
        request
    }

    fn common_arguments(&self, _request: &LeaseName, _into: &mut Vec<Value>) {}

    fn own_argument(&self, _request: &LeaseName) -> Option<Value> {
        None
    }

    fn parse(&self, request: &LeaseName, answer: &Answer) -> Option<Inspected> {
        match answer.kind() {
            "held" => answer.record(request).map(Inspected::Held),
            "over" => Some(Inspected::Ended {
                since: answer.duration(1),
                acquired_at: SystemTime::UNIX_EPOCH + answer.duration(2),
            }),
            "gone" => Some(Inspected::Absent),
            _ => None,
        }
    }
}
