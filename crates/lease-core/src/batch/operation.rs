//! The three operations of a store that take many requests.

use std::{future::Future, pin::Pin};

use crate::{AcquireRequest, Acquired, LeaseName, LeaseStore, ReleaseRequest, Released, RenewRequest, Renewed, Result};

/// One of the store's three operations that take many requests.
pub(crate) trait Operation: 'static {
    type Request: Clone + Send + Sync + 'static;
    type Answer: Clone + Send + 'static;
    const NAME: &'static str;
    /// Whether a request that is still queued need not be sent once its caller has stopped waiting.
    const DISPENSABLE: bool;

    fn lease(request: &Self::Request) -> &LeaseName;

    /// Returns whether two requests for the same lease, the second of which was never sent before, may share an answer.
    fn is_same_question(_: &Self::Request, _: &Self::Request) -> bool {
        false
    }

    /// Returns whether this answer may be shared by all equal questions.
    fn is_for_all(_: &Self::Answer) -> bool {
        false
    }

    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [Self::Request]) -> StoreCall<'a, Self::Answer>;
}

pub(super) type StoreCall<'a, A> = Pin<Box<dyn Future<Output = Vec<Result<A>>> + Send + 'a>>;

pub(crate) struct Acquire;
pub(crate) struct Renew;
pub(crate) struct Release;

impl Operation for Acquire {
    type Request = AcquireRequest;
    type Answer = Acquired;
    const NAME: &'static str = "acquire";
    const DISPENSABLE: bool = true;

    fn lease(request: &AcquireRequest) -> &LeaseName {
        &request.name
    }

    /// The holder matters: a name may be reserved for one.
    fn is_same_question(one: &AcquireRequest, other: &AcquireRequest) -> bool {
        one.holder == other.holder
    }

    fn is_for_all(answer: &Acquired) -> bool {
        matches!(answer, Acquired::Held { .. })
    }

    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [AcquireRequest]) -> StoreCall<'a, Acquired> {
        store.acquire(requests)
    }
}

impl Operation for Renew {
    type Request = RenewRequest;
    type Answer = Renewed;
    const NAME: &'static str = "renew";
    const DISPENSABLE: bool = false;

    fn lease(request: &RenewRequest) -> &LeaseName {
        &request.claim.name
    }

    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [RenewRequest]) -> StoreCall<'a, Renewed> {
        store.renew(requests)
    }
}

impl Operation for Release {
    type Request = ReleaseRequest;
    type Answer = Released;
    const NAME: &'static str = "release";
    const DISPENSABLE: bool = false;

    fn lease(request: &ReleaseRequest) -> &LeaseName {
        &request.claim.name
    }

    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [ReleaseRequest]) -> StoreCall<'a, Released> {
        store.release(requests)
    }
}
