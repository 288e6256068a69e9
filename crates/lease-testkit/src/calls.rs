//! Single calls of a store and a client, with the outcome that a case expects.

use std::{fmt::Debug, slice::from_ref, time::Duration};

use lease_core::{
    AcquireRequest, Acquired, Claim, Grant, Lease, LeaseClient, LeaseName, LeaseOptions, LeaseRecord, LeaseStore,
    LossReason, ReleaseRequest, Released, RenewRequest, Renewed, Result,
};

pub(crate) fn name(name: &str) -> LeaseName {
    LeaseName::new(name).expect("a valid name")
}

/// The only answer to a call with one element.
pub(crate) fn only<T: Debug>(answers: Vec<Result<T>>) -> Result<T> {
    let [answer] = <[_; 1]>::try_from(answers).expect("one request, one answer");
    answer
}

pub(crate) async fn acquire(store: &dyn LeaseStore, request: &AcquireRequest) -> Acquired {
    only(store.acquire(from_ref(request)).await).expect("acquire answers")
}

/// Acquires what must be free.
pub(crate) async fn granted(store: &dyn LeaseStore, request: &AcquireRequest) -> Grant {
    match acquire(store, request).await {
        Acquired::Granted(grant) => grant,
        other => panic!("{} must be granted to {}: {other:?}", request.name, request.holder),
    }
}

/// Fails to acquire what must be held.
pub(crate) async fn refused(store: &dyn LeaseStore, request: &AcquireRequest) {
    let acquired = acquire(store, request).await;
    assert!(
        matches!(acquired, Acquired::Held { .. }),
        "{} must be refused to {}: {acquired:?}",
        request.name,
        request.holder
    );
}

pub(crate) async fn spent(store: &dyn LeaseStore, request: &AcquireRequest) {
    assert_eq!(acquire(store, request).await, Acquired::Spent, "the nonce of an ended grant is spent (S13)");
}

pub(crate) fn claim(request: &AcquireRequest, grant: &Grant) -> Claim {
    let AcquireRequest { name, holder, grant: nonce, .. } = request.clone();
    Claim { name, holder, grant: nonce, handle: grant.handle }
}

pub(crate) fn renewal(claim: &Claim, ttl: Duration) -> RenewRequest {
    RenewRequest { claim: claim.clone(), ttl, metadata: None }
}

pub(crate) async fn renew(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> Renewed {
    only(store.renew(&[renewal(claim, ttl)]).await).expect("renew answers")
}

/// Renews what must still be in force, and says what is left.
pub(crate) async fn extended(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> Duration {
    match renew(store, claim, ttl).await {
        Renewed::Extended { remaining } => remaining,
        Renewed::Lost(reason) => panic!("{} must be renewed for {}: {reason}", claim.name, claim.holder),
    }
}

pub(crate) async fn lost(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> LossReason {
    match renew(store, claim, ttl).await {
        Renewed::Lost(reason) => reason,
        other => panic!("{} must be lost for {}: {other:?} (S7)", claim.name, claim.holder),
    }
}

pub(crate) fn plain_release(claim: &Claim) -> ReleaseRequest {
    ReleaseRequest { claim: claim.clone(), hold_for: Duration::ZERO, reserved_for: None }
}

pub(crate) async fn release(store: &dyn LeaseStore, claim: &Claim) -> Released {
    only(store.release(&[plain_release(claim)]).await).expect("release answers")
}

pub(crate) async fn inspected(store: &dyn LeaseStore, name: &LeaseName) -> Option<LeaseRecord> {
    store.inspect(name).await.expect("inspect answers")
}

/// Takes a lease that must be free.
pub(crate) async fn held(client: &LeaseClient, name: &LeaseName, options: impl Into<LeaseOptions>) -> Lease {
    let lease = client.try_acquire(name, options).await.expect("try_acquire answers");
    lease.unwrap_or_else(|| panic!("{name} must be free"))
}
