//! The guard of a lease, and handles to it.

use std::{fmt, future::Future, ops::Deref, pin::pin, sync::Arc, task::Poll, time::Duration};

use super::shared::{Phase, Scope, Shared};
use crate::{
    FencingToken, HolderId, LeaseLost, LeaseName, LeaseState, LeaseStates, LossReason, Metadata, Moment, Released,
    Result,
    grant::{PendingRelease, Plan, Tenure},
};

/// A lease that is held, until it is lost or this guard goes.
///
/// It is renewed in the background. [`Lease::release`] frees it and says whether that worked; dropping the guard does the
/// same in the background, best effort (S16); [`Lease::abandon`] lets it run out. Everything that can be asked of it is on
/// [`LeaseHandle`], to which it dereferences.
///
/// Two guards are two owners, also within one process (S14).
#[must_use = "a lease is released as soon as its guard is dropped"]
pub struct Lease {
    handle: LeaseHandle,
    /// Its end has been latched, and the store is told by somebody else.
    finished: bool,
}

/// A view of a lease for any task that works under it. It does not keep the lease: only the guard does.
#[derive(Clone)]
pub struct LeaseHandle {
    tenure: Arc<Tenure>,
    shared: Arc<Shared>,
}

impl Lease {
    pub(super) fn begin(shared: &Arc<Shared>, tenure: Tenure, plan: Plan) -> Result<Self> {
        let handle = LeaseHandle { tenure: Arc::new(tenure), shared: Arc::clone(shared) };
        if let Err(error) = shared.renewals.add(&handle.tenure, plan) {
            handle.tenure.lose(LossReason::ClientGone);
            return Err(error);
        }
        Ok(Self { handle, finished: false })
    }

    /// A handle for other tasks.
    #[must_use]
    pub fn handle(&self) -> LeaseHandle {
        self.handle.clone()
    }

    /// Ends the lease and tells the store; the checked path. From the call on it is not held any more, whatever comes of it
    /// (S12). [`Released::NotHeld`] means that it was over already.
    ///
    /// With [`hold_at_least`](crate::LeaseOptions::hold_at_least) the name stays blocked for what is left of that time.
    ///
    /// # Errors
    ///
    /// When the store could not be told within one attempt timeout, or nobody knows whether it was. It is tried again in
    /// the background a few times; the lease runs out after its ttl at the latest.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the lease is released in the background.
    pub fn release(self) -> impl Future<Output = Result<Released>> + Send {
        self.end(None)
    }

    /// Releases the lease in favour of one holder: for the time `reserved` nobody else can acquire it. An orderly
    /// hand-over; if the successor does not come, everybody else may have it after that time, the store's largest ttl at the
    /// most.
    ///
    /// # Errors
    ///
    /// As [`Lease::release`].
    ///
    /// # Cancel safety
    ///
    /// As [`Lease::release`].
    pub fn hand_over(self, successor: HolderId, reserved: Duration) -> impl Future<Output = Result<Released>> + Send {
        let longest = self.shared.capabilities.max_ttl;
        self.end(Some((successor, reserved.min(longest))))
    }

    /// Lets the lease run out: it is not held any more from now on, but the store is not told, and the name stays blocked
    /// for what is left of the ttl. For work that may still have effects.
    pub fn abandon(mut self) {
        self.finish(None);
    }

    fn end(mut self, successor: Option<(HolderId, Duration)>) -> impl Future<Output = Result<Released>> + Send + use<> {
        let release = self.finish(successor);
        let unsent = Unsent { shared: Arc::clone(&self.shared), release };
        async move { unsent.send().await }
    }

    /// Latches the end before the store is told (S12), and takes the lease from the renewal task. What is left to do is
    /// to send the request, if there is one.
    fn finish(&mut self, successor: Option<(HolderId, Duration)>) -> Option<PendingRelease> {
        self.finished = true;
        let release = self.tenure.end(LossReason::Released, successor);
        self.shared.renewals.remove(&self.tenure);
        release
    }
}

/// The duty to tell the store of an end.
struct Unsent {
    shared: Arc<Shared>,
    release: Option<PendingRelease>,
}

impl Unsent {
    async fn send(mut self) -> Result<Released> {
        match self.release.take() {
            Some(release) => self.shared.release(release).await,
            None => Ok(Released::NotHeld),
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            self.shared.release_in_background(release);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Some(release) = self.finish(None) {
            self.shared.release_in_background(release);
        }
    }
}

impl Deref for Lease {
    type Target = LeaseHandle;

    fn deref(&self) -> &LeaseHandle {
        &self.handle
    }
}

impl LeaseHandle {
    /// The name of the lease.
    #[must_use]
    pub fn name(&self) -> &LeaseName {
        self.tenure.name()
    }

    /// Who holds it.
    #[must_use]
    pub fn holder(&self) -> &HolderId {
        &self.tenure.claim.holder
    }

    /// The fencing token of this grant: send it with every write that the lease protects.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.tenure.token
    }

    /// Whether the lease is held: at most one guard says so at any time (see the crate's page for what that rests on). Local,
    /// no I/O. Once false it stays false (S4).
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.tenure.is_held()
    }

    /// For how long the lease can still be relied on without a renewal; zero once it is lost. Local, no I/O.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.tenure.remaining()
    }

    /// Until when, on the client's clock, the lease can be relied on without a renewal (S1); the clock's origin once it is
    /// lost.
    #[must_use]
    pub fn valid_until(&self) -> Moment {
        self.tenure.valid_until()
    }

    /// How the lease stands.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.tenure.state()
    }

    /// How the lease stands, to be watched. The last state is always [`LeaseState::Lost`].
    pub fn states(&self) -> LeaseStates {
        LeaseStates::new(self.tenure.states())
    }

    /// Completes when the lease is lost or released, no later than its deadline (S5).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn lost(&self) -> LossReason {
        self.tenure.lost().await.reason
    }

    /// Runs `work` for as long as the lease is held. The clock is asked before every poll of the work, so that it stops even
    /// if the timers of a blocked runtime are late (S5). Work that blocks its thread cannot be stopped: let it check
    /// [`LeaseHandle::is_held`], and send the token.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] as soon as the lease is lost; the work is dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the work.
    pub async fn while_held<F: Future>(&self, work: F) -> Result<F::Output, LeaseLost> {
        let mut lost = pin!(self.tenure.lost());
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            if let Some(lost) = self.tenure.loss() {
                return Poll::Ready(Err(lost));
            }
            if let Poll::Ready(lost) = lost.as_mut().poll(context) {
                return Poll::Ready(Err(lost));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Renews now. For [`Renewal::Manual`](crate::Renewal::Manual); otherwise the client does it by itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) when the lease is lost, or turns out to be. After any other error it is
    /// still held until its old deadline, and the call may be repeated (S8).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the renewal is finished in the background, and its answer counts.
    pub async fn renew(&self) -> Result<()> {
        self.shared.runtime.enter("renew")?;
        self.shared.renewals.renew(&self.tenure).await
    }

    /// Replaces the metadata that anybody can read.
    ///
    /// # Errors
    ///
    /// As [`LeaseHandle::renew`], with which it goes to the store. After an error other than a loss the change goes along with
    /// every renewal until one succeeds.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the change is made sooner or later.
    pub async fn set_metadata(&self, metadata: Metadata) -> Result<()> {
        self.shared.runtime.enter("set metadata")?;
        self.tenure.change_metadata(metadata);
        self.shared.renewals.renew(&self.tenure).await
    }

    /// Begins a scope of exclusive work, which ends when the guard is dropped: until then, but no longer than the lease lasts,
    /// [`LeaseClient::close`](crate::LeaseClient::close) does not release the lease (S17).
    #[must_use]
    pub fn scope(&self) -> WorkScope {
        self.tenure.enter_scope();
        WorkScope { tenure: Arc::clone(&self.tenure), _scope: self.shared.enter_scope() }
    }

    /// Completes when the client begins to close: exclusive work should come to its end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closing(&self) {
        self.shared.reached(Phase::Closing).await;
    }
}

/// A scope of exclusive work under a lease, from [`LeaseHandle::scope`].
pub struct WorkScope {
    tenure: Arc<Tenure>,
    _scope: Scope,
}

impl Drop for WorkScope {
    fn drop(&mut self) {
        self.tenure.leave_scope();
    }
}

impl fmt::Debug for WorkScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkScope").field(&self.tenure).finish()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.tenure).finish()
    }
}

impl fmt::Debug for LeaseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaseHandle").field(&self.tenure).finish()
    }
}
