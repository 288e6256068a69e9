//! Extending leases.

use std::time::Duration;

use fred::prelude::Value;
use lease_core::{ErrorKind, LeaseName, RenewRequest, Renewed, Result};

use crate::{
    answer::{Answer, in_microseconds, metadata_text, owner},
    batch::Operation,
    call::Confirmed,
    error::here,
    scripts::Script,
    store::Inner,
};

pub(crate) struct Renew;

impl Operation for Renew {
    const NAME: &'static str = "renew";
    const IS_CONFIRMED: bool = true;
    type Request = RenewRequest;
    type Answer = Renewed;

    fn script<'a>(&self, store: &'a Inner) -> &'a Script {
        &store.scripts().renew
    }

    fn name<'a>(&self, request: &'a RenewRequest) -> &'a LeaseName {
        &request.claim.name
    }

    fn said_of_all(&self, request: &RenewRequest, into: &mut Vec<Value>) {
        let (revision, metadata) = match &request.metadata {
            Some(update) => (update.revision.to_string().into(), metadata_text(&update.metadata).into()),
            None => (Value::from_static_str(""), Value::from_static_str("")),
        };
        into.extend([in_microseconds(request.ttl).into(), revision, metadata]);
    }

    fn word(&self, request: &RenewRequest) -> Option<Value> {
        Some(owner(request.claim.grant, &request.claim.holder).into())
    }

    fn read(&self, _request: &RenewRequest, answer: &Answer) -> Option<Renewed> {
        match answer.number() {
            Some(left) => Some(Renewed::Extended { remaining: Duration::from_micros(left) }),
            None => answer.loss().map(Renewed::Lost),
        }
    }

    /// A successor of the primary may not have it: the old deadline stays (S8).
    async fn unconfirmed(
        &self,
        _store: &Inner,
        _requests: &[&RenewRequest],
        answers: Vec<Result<Renewed>>,
        confirmed: &Confirmed,
    ) -> Vec<Result<Renewed>> {
        let doubt = |answer| match answer {
            Ok(Renewed::Extended { .. }) => {
                let message = format!("renewed, but {confirmed}");
                Err(here(ErrorKind::Indeterminate, Self::NAME, message))
            }
            answer => answer,
        };
        answers.into_iter().map(doubt).collect()
    }
}
