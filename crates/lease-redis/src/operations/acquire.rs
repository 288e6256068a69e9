//! Acquiring leases.

use fred::prelude::Value;
use lease_core::{
    AcquireRequest, Acquired, Claim, ErrorKind, FencingToken, Grant, LeaseName, ReleaseRequest, Released, Result,
};

use super::{
    answer::Answer,
    batch::{Operation, perform},
    record::{grant_lines, in_microseconds},
    release::Release,
};
use crate::{
    connections::Confirmed,
    error::redis_error,
    scripts::Script,
    shared::{MAX_TTL, MIN_TTL, Shared},
};

pub(crate) struct Acquire;

impl Operation for Acquire {
    const NAME: &'static str = "acquire";
    const GRANTS: bool = true;
    const IS_CONFIRMED: bool = true;
    type Request = AcquireRequest;
    type Answer = Acquired;

    fn script<'a>(&self, shared: &'a Shared) -> &'a Script {
        &shared.scripts().acquire
    }

    fn name<'a>(&self, request: &'a AcquireRequest) -> &'a LeaseName {
        &request.name
    }

    fn check(&self, shared: &Shared, request: &AcquireRequest) -> Result<()> {
        if !(MIN_TTL..=MAX_TTL).contains(&request.ttl) {
            let AcquireRequest { name, ttl, .. } = request;
            let message = format!("the ttl of {name} is {ttl:?}: it must be between {MIN_TTL:?} and {MAX_TTL:?}");
            return Err(redis_error(ErrorKind::Invalid, Self::NAME, message));
        }
        // An attempt takes no longer than a sixth of the ttl, and must include the answer of the replicas.
        if let Some(wait) = shared.wait_replicas().filter(|wait| wait.timeout >= request.ttl / 6) {
            let (timeout, ttl, name) = (wait.timeout, request.ttl, &request.name);
            let message = format!(
                "the timeout of wait_replicas is {timeout:?}: it must be less than a sixth of the ttl of {name}, {ttl:?}"
            );
            return Err(redis_error(ErrorKind::Invalid, Self::NAME, message));
        }
        Ok(())
    }

    fn common_arguments(&self, request: &AcquireRequest, into: &mut Vec<Value>) {
        let announced = if request.announce { "1" } else { "" };
        into.extend([in_microseconds(request.ttl).into(), Value::from_static_str(announced)]);
    }

    fn own_argument(&self, request: &AcquireRequest) -> Option<Value> {
        Some(grant_lines(request).into())
    }

    fn parse(&self, request: &AcquireRequest, answer: &Answer) -> Option<Acquired> {
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

    /// Releases the grants again, because a fail-over may lose them.
    async fn unconfirmed(
        &self,
        shared: &Shared,
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
        let mut released = perform(&Release, shared, &releases).await.into_iter();
        let unconfirmed = |(request, answer): (&&AcquireRequest, Result<Acquired>)| {
            if !is_granted(&answer) {
                return answer;
            }
            let (kind, rest) = match released.next() {
                Some(Ok(Released::Freed | Released::NotHeld)) => (ErrorKind::Unavailable, "it was released again"),
                _ => (ErrorKind::Indeterminate, "it could not be released, and expires after its ttl"),
            };
            let message = format!("{} was granted, but {confirmed}: {rest}", request.name);
            Err(redis_error(kind, Self::NAME, message))
        };
        requests.iter().zip(answers).map(unconfirmed).collect()
    }
}
