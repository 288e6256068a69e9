//! Breaking leases, for administrators.

use fred::prelude::Value;
use lease_core::{Break, FencingToken, LeaseName, Released, Result};

use super::{
    answer::Answer,
    batch::{Operation, perform},
    release::{may_be_own_effect, parse_released, was_hint_refused},
};
use crate::{connections::Attempts, scripts::Script, shared::Shared};

/// Ends the grant of a name with this token, whoever its holder is (S22).
pub(crate) async fn break_lease(
    shared: &Shared,
    name: &LeaseName,
    token: FencingToken,
    how: Break,
) -> Result<Released> {
    let request = BreakRequest { name: name.clone(), token, how };
    perform(&BreakLease, shared, &[request]).await.pop().unwrap_or(Ok(Released::NotHeld))
}

struct BreakRequest {
    name: LeaseName,
    token: FencingToken,
    how: Break,
}

struct BreakLease;

impl Operation for BreakLease {
    const NAME: &'static str = "break";
    type Request = BreakRequest;
    type Answer = Released;

    fn script<'a>(&self, shared: &'a Shared) -> &'a Script {
        &shared.scripts().break_lease
    }

    fn name<'a>(&self, request: &'a BreakRequest) -> &'a LeaseName {
        &request.name
    }

    fn common_arguments(&self, request: &BreakRequest, into: &mut Vec<Value>) {
        let how = match request.how {
            Break::AfterExpiry => "afterexpiry",
            Break::Now => "now",
        };
        into.push(Value::from_static_str(how));
    }

    fn own_argument(&self, request: &BreakRequest) -> Option<Value> {
        Some(request.token.to_string().into())
    }

    fn parse(&self, _request: &BreakRequest, answer: &Answer) -> Option<Released> {
        parse_released(answer)
    }

    fn may_be_own_effect(answer: &Answer, attempts: Attempts) -> bool {
        may_be_own_effect(answer, attempts)
    }

    fn was_hint_refused(answer: &Answer) -> bool {
        was_hint_refused(answer)
    }
}
