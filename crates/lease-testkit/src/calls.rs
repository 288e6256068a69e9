//! Single calls of a store and a client, with the outcome that a test expects: for the cases of the suite, and for the tests
//! that a provider has of its own.
//!
//! # Panics
//!
//! What is called by its outcome (`granted`, `lost`, …) panics where that is another one.

use std::{fmt::Debug, slice::from_ref, time::Duration};

use lease_core::{
    AcquireRequest, Acquired, Claim, Grant, GrantId, HolderId, Lease, LeaseClient, LeaseName, LeaseOptions,
    LeaseRecord, LeaseStore, LossReason, ReleaseRequest, Released, RenewRequest, Renewed, Result,
};

/// A name that is known to be valid.
pub fn name(name: &str) -> LeaseName {
    LeaseName::new(name).expect("a valid name")
}

/// A holder that is known to be valid.
pub fn holder(holder: &str) -> HolderId {
    HolderId::new(holder).expect("a valid holder")
}

/// Asks for a name, with a nonce of its own.
pub fn request(name: LeaseName, holder: HolderId, ttl: Duration) -> AcquireRequest {
    AcquireRequest::new(name, holder, GrantId::random(), ttl)
}

/// The only answer to a call with one element.
pub fn only<T: Debug>(answers: Vec<Result<T>>) -> Result<T> {
    let [answer] = <[_; 1]>::try_from(answers).expect("one request, one answer");
    answer
}

/// Asks for one grant.
pub async fn acquire(store: &dyn LeaseStore, request: &AcquireRequest) -> Result<Acquired> {
    only(store.acquire(from_ref(request)).await)
}

/// Asks for one grant, of a store that answers.
pub async fn acquired(store: &dyn LeaseStore, request: &AcquireRequest) -> Acquired {
    acquire(store, request).await.expect("acquire answers")
}

/// Whether the name is held by somebody else, so that this attempt fails.
pub async fn is_held(store: &dyn LeaseStore, request: &AcquireRequest) -> bool {
    matches!(acquired(store, request).await, Acquired::Held { .. })
}

/// Acquires what must be free.
pub async fn granted(store: &dyn LeaseStore, request: &AcquireRequest) -> Grant {
    match acquired(store, request).await {
        Acquired::Granted(grant) => grant,
        other => panic!("{} must be granted to {}: {other:?}", request.name, request.holder),
    }
}

/// Fails to acquire what must be held.
pub async fn refused(store: &dyn LeaseStore, request: &AcquireRequest) {
    let acquired = acquired(store, request).await;
    assert!(
        matches!(acquired, Acquired::Held { .. }),
        "{} must be refused to {}: {acquired:?}",
        request.name,
        request.holder
    );
}

/// Asks with the nonce of a grant that has ended.
pub async fn spent(store: &dyn LeaseStore, request: &AcquireRequest) {
    assert_eq!(acquired(store, request).await, Acquired::Spent, "the nonce of an ended grant is spent (S13)");
}

/// Whose grant it is that came of this request.
pub fn claim(request: &AcquireRequest, grant: Grant) -> Claim {
    let AcquireRequest { name, holder, grant: nonce, .. } = request.clone();
    Claim::new(name, holder, nonce).with_handle(grant.handle)
}

/// Asks for an extension, without new metadata.
pub fn renewal(claim: &Claim, ttl: Duration) -> RenewRequest {
    RenewRequest::new(claim.clone(), ttl)
}

/// Asks for one extension.
pub async fn renew(store: &dyn LeaseStore, request: &RenewRequest) -> Result<Renewed> {
    only(store.renew(from_ref(request)).await)
}

/// Asks for one extension, of a store that answers.
pub async fn renewed(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> Renewed {
    renew(store, &renewal(claim, ttl)).await.expect("renew answers")
}

/// Renews what must still be in force, and says what is left.
pub async fn extended(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> Duration {
    match renewed(store, claim, ttl).await {
        Renewed::Extended { remaining } => remaining,
        Renewed::Lost(reason) => panic!("{} must be renewed for {}: {reason}", claim.name, claim.holder),
        other => panic!("{other:?}"),
    }
}

/// Renews what must not be in force any more, and says why.
pub async fn lost(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> LossReason {
    match renewed(store, claim, ttl).await {
        Renewed::Lost(reason) => reason,
        other => panic!("{} must be lost for {}: {other:?} (S7)", claim.name, claim.holder),
    }
}

/// Asks for the end of a grant, so that its name is free at once.
pub fn plain_release(claim: &Claim) -> ReleaseRequest {
    ReleaseRequest::new(claim.clone())
}

/// Ends a grant, at a store that answers.
pub async fn release(store: &dyn LeaseStore, claim: &Claim) -> Released {
    only(store.release(&[plain_release(claim)]).await).expect("release answers")
}

/// Who holds the name, by a store that answers.
pub async fn inspected(store: &dyn LeaseStore, name: &LeaseName) -> Option<LeaseRecord> {
    store.inspect(name).await.expect("inspect answers")
}

/// Takes a lease that must be free.
pub async fn held(client: &LeaseClient, name: &LeaseName, options: impl Into<LeaseOptions>) -> Lease {
    let lease = client.try_acquire(name, options).await.expect("try_acquire answers").acquired();
    lease.unwrap_or_else(|| panic!("{name} must be free"))
}
