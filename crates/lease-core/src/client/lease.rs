//! The guard of a lease, and its handles.

use std::{fmt, future::Future, ops::Deref, pin::pin, sync::Arc, task::Poll, time::Duration};

use super::shared::{Phase, ScopeOf, Shared};
use crate::{
    Correlation, FencingToken, HolderId, LeaseLost, LeaseName, LeaseState, LeaseStates, LossReason, Metadata, Moment,
    Released, Result,
    grant::{PendingRelease, Plan, Tenure},
};

/// The guard of a lease: the lease is held until it is lost or the guard is dropped.
///
/// The client renews it in the background. [`Lease::release`] ends it and returns the outcome; dropping the guard releases it in
/// the background, best effort (S16); [`Lease::abandon`] lets it expire. All other methods are those of [`LeaseHandle`], to which
/// the guard dereferences.
///
/// Two guards are two owners, even within one process (S14).
#[must_use = "a lease is released as soon as its guard is dropped"]
pub struct Lease {
    handle: LeaseHandle,
    /// Whether the end of the lease has been latched already.
    finished: bool,
}

/// A view of a lease, for tasks that work under it. It does not keep the lease: only the guard does.
#[derive(Clone)]
pub struct LeaseHandle {
    pub(super) tenure: Arc<Tenure>,
    pub(super) shared: Arc<Shared>,
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

    /// Returns a handle for other tasks.
    #[must_use]
    pub fn handle(&self) -> LeaseHandle {
        self.handle.clone()
    }

    /// Releases the lease and returns the outcome. The lease is no longer held from the call on, whatever the outcome is (S12).
    /// Returns [`Released::NotHeld`] if the grant had ended before.
    ///
    /// With [`hold_at_least`](crate::LeaseOptions::hold_at_least), the name stays blocked for the rest of that time.
    ///
    /// # Errors
    ///
    /// When the store does not confirm the release within one attempt timeout. The release is then repeated a few times in the
    /// background; the lease expires after its ttl at the latest. [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) when called
    /// outside a tokio runtime: the lease is then released in the background, as by dropping the guard.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the lease is released in the background.
    pub fn release(self) -> impl Future<Output = Result<Released>> + Send {
        self.end(None)
    }

    /// Releases the lease and reserves the name for `successor`: for the time `reserved`, no other holder can acquire it. If the
    /// successor does not acquire it, the name is free after that time, which is limited to the store's largest ttl.
    ///
    /// # Errors
    ///
    /// As for [`Lease::release`].
    ///
    /// # Cancel safety
    ///
    /// As for [`Lease::release`].
    pub fn hand_over(self, successor: HolderId, reserved: Duration) -> impl Future<Output = Result<Released>> + Send {
        let longest = self.shared.capabilities.max_ttl;
        self.end(Some((successor, reserved.min(longest))))
    }

    /// Lets the lease expire: it is no longer held from now on, but it is not released, so that the name stays blocked for the
    /// rest of the ttl. For work that may still have effects.
    pub fn abandon(mut self) {
        self.finish(None);
    }

    fn end(mut self, successor: Option<(HolderId, Duration)>) -> impl Future<Output = Result<Released>> + Send + use<> {
        let release = self.finish(successor);
        let unsent = Unsent { shared: Arc::clone(&self.shared), release };
        async move { unsent.send().await }
    }

    /// Latches the end before the release is sent (S12), and ends the renewals. Returns the release to send, if one is needed.
    fn finish(&mut self, successor: Option<(HolderId, Duration)>) -> Option<PendingRelease> {
        self.finished = true;
        let release = self.tenure.end(LossReason::Released, successor);
        self.shared.renewals.remove(&self.tenure);
        release
    }
}

/// A release that is sent in the background if its caller is dropped.
struct Unsent {
    shared: Arc<Shared>,
    release: Option<PendingRelease>,
}

impl Unsent {
    async fn send(mut self) -> Result<Released> {
        self.shared.runtime.enter("release")?;
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
    /// Returns the name of the lease.
    #[must_use]
    pub fn name(&self) -> &LeaseName {
        self.tenure.name()
    }

    /// Returns the holder.
    #[must_use]
    pub fn holder(&self) -> &HolderId {
        &self.tenure.claim.holder
    }

    /// Returns the fencing token of this grant. Send it with every write that the lease protects.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.tenure.token
    }

    /// Returns the correlation id of the lease, if it has one.
    #[must_use]
    pub fn correlation(&self) -> Option<&Correlation> {
        self.tenure.correlation.as_ref()
    }

    /// Returns whether the lease is held. At most one guard of a name returns true at any time; the crate's page says under which
    /// conditions. Local, without I/O. Once false, it stays false (S4).
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.tenure.is_held()
    }

    /// Returns for how long the lease is valid without a renewal; zero once it is lost. Local, without I/O.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.tenure.remaining()
    }

    /// Returns until when, on the client's clock, the lease is valid without a renewal (S1); the clock's origin once it is lost.
    #[must_use]
    pub fn valid_until(&self) -> Moment {
        self.tenure.valid_until()
    }

    /// Returns the state of the lease.
    #[must_use]
    pub fn state(&self) -> LeaseState {
        self.tenure.state()
    }

    /// Returns the states of the lease as a stream. The last one is always [`LeaseState::Lost`].
    pub fn states(&self) -> LeaseStates {
        LeaseStates::new(self.tenure.states())
    }

    /// Waits until the lease is lost or released. Completes no later than the deadline of the lease (S5).
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime, unless the lease is lost already.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn lost(&self) -> LossReason {
        self.tenure.lost().await.reason
    }

    /// Runs `work` for as long as the lease is held. The deadline is checked before every poll of the work, so that the work stops
    /// even if the timers of a blocked runtime are late (S5). Work that blocks its thread cannot be dropped: it should check
    /// [`LeaseHandle::is_held`], and send the token with its writes.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] as soon as the lease is lost. The work is dropped.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime, unless the lease is lost already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the work.
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

    /// Renews the lease now. Needed with [`Renewal::Manual`](crate::Renewal::Manual) only.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the lease is lost. After any other error the lease is still held until its
    /// previous deadline, and the call may be repeated (S8).
    ///
    /// # Cancel safety
    ///
    /// Once polled, the renewal is finished in the background, and takes effect.
    pub async fn renew(&self) -> Result<()> {
        self.shared.runtime.enter("renew")?;
        self.shared.renewals.renew(&self.tenure).await
    }

    /// Replaces the metadata of the lease.
    ///
    /// # Errors
    ///
    /// As for [`LeaseHandle::renew`], which carries the change to the store. After an error other than a loss, every renewal
    /// carries it until one succeeds.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the change is carried by the next successful renewal.
    pub async fn set_metadata(&self, metadata: Metadata) -> Result<()> {
        self.shared.runtime.enter("set metadata")?;
        self.tenure.change_metadata(metadata);
        self.shared.renewals.renew(&self.tenure).await
    }

    /// Begins a scope of exclusive work. Until the returned guard is dropped, [`LeaseClient::close`](crate::LeaseClient::close)
    /// does not release the lease, but at most lets it expire (S17).
    #[must_use]
    pub fn scope(&self) -> WorkScope {
        WorkScope(self.shared.enter_scope_of(&self.tenure))
    }

    /// Waits until the client begins to close. Exclusive work should then end.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closing(&self) {
        self.shared.reached(Phase::Closing).await;
    }
}

/// A scope of exclusive work under a lease, from [`LeaseHandle::scope`].
pub struct WorkScope(ScopeOf);

impl fmt::Debug for WorkScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WorkScope").field(&self.0.tenure).finish()
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
