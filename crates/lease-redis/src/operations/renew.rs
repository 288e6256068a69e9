//! Renewing leases.

use std::time::Duration;

use fred::prelude::Value;
use lease_core::{ErrorKind, LeaseName, RenewRequest, Renewed, Result};

use super::{
    answer::Answer,
    batch::Operation,
    record::{in_microseconds, metadata_text, owner},
};
use crate::{connections::Confirmed, error::redis_error, scripts::Script, shared::Shared};

pub(crate) struct Renew;

impl Operation for Renew {
    const NAME: &'static str = "renew";
    const IS_CONFIRMED: bool = true;
    type Request = RenewRequest;
    type Answer = Renewed;

    fn script<'a>(&self, shared: &'a Shared) -> &'a Script {
        &shared.scripts().renew
    }

    fn name<'a>(&self, request: &'a RenewRequest) -> &'a LeaseName {
        &request.claim.name
    }

    fn common_arguments(&self, request: &RenewRequest, into: &mut Vec<Value>) {
        let (revision, metadata) = match &request.metadata {
            Some(update) => (update.revision.to_string().into(), metadata_text(&update.metadata).into()),
            None => (Value::from_static_str(""), Value::from_static_str("")),
        };
        into.extend([in_microseconds(request.ttl).into(), revision, metadata]);
    }

    fn own_argument(&self, request: &RenewRequest) -> Option<Value> {
        Some(owner(request.claim.grant, &request.claim.holder).into())
    }

    fn parse(&self, _request: &RenewRequest, answer: &Answer) -> Option<Renewed> {
        match answer.number() {
            Some(left) => Some(Renewed::Extended { remaining: Duration::from_micros(left) }),
            None => answer.loss().map(Renewed::Lost),
        }
    }

    /// After a fail-over the renewal may be lost, so the old deadline stays (S8).
    async fn unconfirmed(
        &self,
        _shared: &Shared,
        requests: &[&RenewRequest],
        answers: Vec<Result<Renewed>>,
        confirmed: &Confirmed,
    ) -> Vec<Result<Renewed>> {
        let unconfirmed = |(request, answer): (&&RenewRequest, _)| match answer {
            Ok(Renewed::Extended { .. }) => {
                let message = format!("{} was renewed, but {confirmed}: the old deadline stays", request.claim.name);
                Err(redis_error(ErrorKind::Indeterminate, Self::NAME, message))
            }
            answer => answer,
        };
        requests.iter().zip(answers).map(unconfirmed).collect()
    }
}
