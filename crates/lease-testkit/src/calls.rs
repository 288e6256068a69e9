//! Single calls of a store or a client, each with the outcome that a test expects. The suite uses them; they also serve a
//! provider's own tests.
//!
//! # Panics
//!
//! A function that is named after an outcome (`granted`, `refused`, `lost`, …) panics on any other outcome, and on an error.

use std::{fmt::Debug, slice::from_ref, time::Duration};

use lease_core::{
    AcquireRequest, Acquired, Claim, Grant, GrantId, HolderId, Lease, LeaseClient, LeaseName, LeaseOptions,
    LeaseRecord, LeaseStore, LossReason, ReleaseRequest, Released, RenewRequest, Renewed, Result,
};

/// Returns a name.
///
/// # Panics
///
/// Panics if the name is invalid.
pub fn name(name: &str) -> LeaseName {
    LeaseName::new(name).expect("a valid name")
}

/// Returns a holder id.
///
/// # Panics
///
/// Panics if the holder id is invalid.
pub fn holder(holder: &str) -> HolderId {
    HolderId::new(holder).expect("a valid holder")
}

/// Returns a request for a lease, with a new nonce.
pub fn request(name: LeaseName, holder: HolderId, ttl: Duration) -> AcquireRequest {
    AcquireRequest::new(name, holder, GrantId::random(), ttl)
}

/// Returns the only answer to a call with one element.
///
/// # Panics
///
/// Panics if there is not exactly one answer.
pub fn only<T: Debug>(answers: Vec<Result<T>>) -> Result<T> {
    let [answer] = <[_; 1]>::try_from(answers).expect("one answer to one request");
    answer
}

/// Sends one request for a lease.
///
/// # Errors
///
/// The error of the store.
pub async fn acquire(store: &dyn LeaseStore, request: &AcquireRequest) -> Result<Acquired> {
    only(store.acquire(from_ref(request)).await)
}

/// Sends one request for a lease, and expects an answer.
///
/// # Panics
///
/// Panics on an error of the store.
pub async fn acquired(store: &dyn LeaseStore, request: &AcquireRequest) -> Acquired {
    acquire(store, request).await.expect("acquire answers")
}

/// Sends one request for a lease. Returns whether it was refused because another holder has the lease.
///
/// # Panics
///
/// Panics on an error of the store.
pub async fn is_held(store: &dyn LeaseStore, request: &AcquireRequest) -> bool {
    matches!(acquired(store, request).await, Acquired::Held { .. })
}

/// Acquires a lease and expects that it is granted.
///
/// # Panics
///
/// Panics if it is not granted.
pub async fn granted(store: &dyn LeaseStore, request: &AcquireRequest) -> Grant {
    match acquired(store, request).await {
        Acquired::Granted(grant) => grant,
        other => panic!("{} must be granted to {}: {other:?}", request.name, request.holder),
    }
}

/// Tries to acquire a lease and expects that another holder has it.
///
/// # Panics
///
/// Panics on any other outcome.
pub async fn refused(store: &dyn LeaseStore, request: &AcquireRequest) {
    let acquired = acquired(store, request).await;
    assert!(
        matches!(acquired, Acquired::Held { .. }),
        "{} must be refused to {}: {acquired:?}",
        request.name,
        request.holder
    );
}

/// Repeats the request of a grant that has ended, and expects that its nonce is spent (S13).
///
/// # Panics
///
/// Panics on any other outcome.
pub async fn spent(store: &dyn LeaseStore, request: &AcquireRequest) {
    assert_eq!(acquired(store, request).await, Acquired::Spent, "the nonce of an ended grant is spent (S13)");
}

/// Returns the claim to the grant that answered this request.
pub fn claim(request: &AcquireRequest, grant: Grant) -> Claim {
    let AcquireRequest { name, holder, grant: nonce, .. } = request.clone();
    Claim::new(name, holder, nonce).with_handle(grant.handle)
}

/// Returns a request to renew a grant, without new metadata.
pub fn renewal(claim: &Claim, ttl: Duration) -> RenewRequest {
    RenewRequest::new(claim.clone(), ttl)
}

/// Sends one request to renew a grant.
///
/// # Errors
///
/// The error of the store.
pub async fn renew(store: &dyn LeaseStore, request: &RenewRequest) -> Result<Renewed> {
    only(store.renew(from_ref(request)).await)
}

/// Sends one request to renew a grant, and expects an answer.
///
/// # Panics
///
/// Panics on an error of the store.
pub async fn renewed(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> Renewed {
    renew(store, &renewal(claim, ttl)).await.expect("renew answers")
}

/// Renews a grant and expects that it is in force. Returns the remaining time.
///
/// # Panics
///
/// Panics if the grant is not renewed.
pub async fn extended(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> Duration {
    match renewed(store, claim, ttl).await {
        Renewed::Extended { remaining } => remaining,
        Renewed::Lost(reason) => panic!("{} must be renewed for {}: {reason}", claim.name, claim.holder),
        other => panic!("unexpected answer: {other:?}"),
    }
}

/// Tries to renew a grant and expects that it has ended (S7). Returns the reason.
///
/// # Panics
///
/// Panics if the grant is renewed.
pub async fn lost(store: &dyn LeaseStore, claim: &Claim, ttl: Duration) -> LossReason {
    match renewed(store, claim, ttl).await {
        Renewed::Lost(reason) => reason,
        other => panic!("{} must be lost for {}: {other:?} (S7)", claim.name, claim.holder),
    }
}

/// Returns a request that ends a grant and frees its name at once.
pub fn plain_release(claim: &Claim) -> ReleaseRequest {
    ReleaseRequest::new(claim.clone())
}

/// Releases a grant, and expects an answer.
///
/// # Panics
///
/// Panics on an error of the store.
pub async fn release(store: &dyn LeaseStore, claim: &Claim) -> Released {
    only(store.release(&[plain_release(claim)]).await).expect("release answers")
}

/// Returns the record of the name, and expects an answer. Returns `None` if the name is free.
///
/// # Panics
///
/// Panics on an error of the store.
pub async fn inspected(store: &dyn LeaseStore, name: &LeaseName) -> Option<LeaseRecord> {
    store.inspect(name).await.expect("inspect answers")
}

/// Acquires a lease through a client and expects that its name is free.
///
/// # Panics
///
/// Panics if the lease is not granted.
pub async fn held(client: &LeaseClient, name: &LeaseName, options: impl Into<LeaseOptions>) -> Lease {
    let lease = client.try_acquire(name, options).await.expect("try_acquire answers").acquired();
    lease.unwrap_or_else(|| panic!("{name} must be free"))
}
