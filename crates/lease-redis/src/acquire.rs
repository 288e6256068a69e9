//! Getting leases.

use fred::prelude::Value;
use lease_core::{
    AcquireRequest, Acquired, Claim, ErrorKind, FencingToken, Grant, LeaseName, ReleaseRequest, Released, Result,
};

use crate::{
    answer::{Answer, granted, in_microseconds},
    batch::{Operation, perform},
    call::Confirmed,
    error::here,
    release::Release,
    scripts::Script,
    store::{Inner, MAX_TTL, MIN_TTL},
};

pub(crate) struct Acquire;

impl Operation for Acquire {
    const NAME: &'static str = "acquire";
    const GRANTS: bool = true;
    const IS_CONFIRMED: bool = true;
    type Request = AcquireRequest;
    type Answer = Acquired;

    fn script<'a>(&self, store: &'a Inner) -> &'a Script {
        &store.scripts().acquire
    }

    fn name<'a>(&self, request: &'a AcquireRequest) -> &'a LeaseName {
        &request.name
    }

    fn check(&self, store: &Inner, request: &AcquireRequest) -> Result<()> {
        if !(MIN_TTL..=MAX_TTL).contains(&request.ttl) {
            let message = format!("a ttl is between {MIN_TTL:?} and {MAX_TTL:?}, this one is {:?}", request.ttl);
            return Err(here(ErrorKind::Invalid, Self::NAME, message));
        }
        // Longer than an attempt takes, it would be given up before it is known whether replicas have it.
        if let Some(wait) = store.wait_replicas().filter(|wait| wait.timeout >= request.ttl / 6) {
            let (timeout, ttl) = (wait.timeout, request.ttl);
            let message = format!(
                "replicas are waited for up to {timeout:?}: that must be less than a sixth of the ttl, {ttl:?}"
            );
            return Err(here(ErrorKind::Invalid, Self::NAME, message));
        }
        Ok(())
    }

    fn said_of_all(&self, request: &AcquireRequest, into: &mut Vec<Value>) {
        let announced = if request.announce { "1" } else { "" };
        into.extend([in_microseconds(request.ttl).into(), Value::from_static_str(announced)]);
    }

    fn word(&self, request: &AcquireRequest) -> Option<Value> {
        Some(granted(request).into())
    }

    fn read(&self, request: &AcquireRequest, answer: &Answer) -> Option<Acquired> {
        if let Some(token) = answer.number() {
            let grant = |token| Grant::new(token, request.ttl);
            return FencingToken::new(token).map(grant).map(Acquired::Granted);
        }
        match answer.kind() {
            "granted" => answer.grant().map(Acquired::Granted),
            "held" => Some(answer.held(&request.name)),
            "spent" => Some(Acquired::Spent),
            _ => None,
        }
    }

    /// A grant that a fail-over may lose is given back.
    async fn unconfirmed(
        &self,
        store: &Inner,
        requests: &[&AcquireRequest],
        answers: Vec<Result<Acquired>>,
        confirmed: &Confirmed,
    ) -> Vec<Result<Acquired>> {
        let is_granted = |answer: &Result<Acquired>| matches!(answer, Ok(Acquired::Granted(_)));
        let releases: Vec<ReleaseRequest> = requests
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| is_granted(answer))
            .map(|(request, _)| {
                ReleaseRequest::new(Claim::new(request.name.clone(), request.holder.clone(), request.grant))
            })
            .collect();
        let mut released = perform(&Release, store, &releases).await.into_iter();
        let give_back = |answer: Result<Acquired>| {
            if !is_granted(&answer) {
                return answer;
            }
            let (kind, rest) = match released.next() {
                Some(Ok(Released::Freed | Released::NotHeld)) => (ErrorKind::Unavailable, "it was released again"),
                _ => (ErrorKind::Indeterminate, "it could not be released"),
            };
            let message = format!("granted, but {confirmed}: {rest}");
            Err(here(kind, Self::NAME, message))
        };
        answers.into_iter().map(give_back).collect()
    }
}
