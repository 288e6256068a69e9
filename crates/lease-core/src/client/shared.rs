//! What all clones of a client, its leases and its background work share.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use super::renewal::Renewals;
use crate::{
    Capabilities, Claim, Clock, Error, ErrorKind, HolderId, LeaseEvent, LeaseName, LeaseRecord, LeaseStore, LossReason,
    Moment, Released, Result, WakeupRegistry, Wakeups,
    batch::{
        Acquire, Answered, Batcher, Context, Pacing, Release, Request, SpawnOnDrop, catch_panic, catch_panic_async,
    },
    grant::{PendingRelease, Tenure},
    observer::Events,
    runtime::Runtime,
};

/// How often a release that failed is repeated in the background.
const RELEASE_REPEATS: u32 = 3;

/// How long to wait for an answer to what belongs to no lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Shared {
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) capabilities: Capabilities,
    pub(super) holder: HolderId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Events,
    pub(super) acquires: Batcher<Acquire>,
    pub(super) renewals: Renewals,
    pub(super) runtime: Runtime,
    releases: Batcher<Release>,
    /// Where the store has no push: what this client has released itself, for those of it who wait.
    hints: Option<WakeupRegistry>,
    tenures: AtomicU64,
    phase: watch::Sender<Phase>,
    /// How many scopes of exclusive work there are.
    scopes: watch::Sender<usize>,
    close_grace: Duration,
    /// How many releases are under way in the background.
    releasing: watch::Sender<usize>,
}

/// The life of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Nothing new is begun; scopes are asked to end.
    Closing,
    /// Scopes end now.
    Cut,
    Closed,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn LeaseStore>,
        holder: HolderId,
        clock: Arc<dyn Clock>,
        runtime: Runtime,
        events: Events,
        close_grace: Duration,
    ) -> Self {
        let capabilities = store.capabilities();
        let calls_at_once = capabilities.calls_at_once;
        let hints = (!capabilities.push).then(WakeupRegistry::default);
        let pacing = (calls_at_once <= 1).then(Arc::<Pacing>::default);
        let context = Context {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            runtime: runtime.clone(),
            calls_at_once,
            pacing,
        };
        Self {
            capabilities,
            hints,
            holder,
            events,
            acquires: Batcher::new(context.clone()),
            renewals: Renewals::new(Arc::clone(&store), Arc::clone(&clock), runtime.clone()),
            releases: Batcher::new(context),
            runtime,
            tenures: AtomicU64::new(0),
            store,
            clock,
            phase: watch::Sender::new(Phase::Open),
            scopes: watch::Sender::new(0),
            close_grace,
            releasing: watch::Sender::new(0),
        }
    }

    /// Whether something new may be begun: the client is open, and the caller on a runtime.
    pub(super) fn enter(&self, operation: &'static str) -> Result<()> {
        if self.is_closed() {
            return Err(Error::closed(operation));
        }
        self.runtime.enter(operation).map(drop)
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.phase.borrow() > Phase::Open
    }

    pub(super) fn next_tenure(&self) -> u64 {
        self.tenures.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for this phase, or a later one.
    pub(super) async fn reached(&self, phase: Phase) {
        // The sender lives as long as `self`.
        let _ = self.phase.subscribe().wait_for(|current| *current >= phase).await;
    }

    /// Releases and waits for the answer. Transient failures are repeated in the background.
    pub(super) async fn release(self: &Arc<Self>, release: PendingRelease) -> Result<Released> {
        let span = tracing::debug_span!("lease.release", name = %release.request.claim.name);
        let request = Request::new(release.request.clone(), self.clock.now(), release.timeout);
        let shared = Arc::clone(self);
        let done = move |answered: &Answered<Released>| shared.released(release, RELEASE_REPEATS, 0, answered);
        self.releases.submit(request, done).instrument(span).await.result
    }

    /// Releases, best effort (S16).
    pub(super) fn release_in_background(self: &Arc<Self>, release: PendingRelease) {
        self.release_repeatedly(release, RELEASE_REPEATS, 0);
    }

    fn release_repeatedly(self: &Arc<Self>, release: PendingRelease, repeats: u32, hung: u32) {
        let request = Request::new(release.request.clone(), self.clock.now(), release.timeout).after_hanging(hung);
        let (shared, releasing) = (Arc::clone(self), Releasing::begin(self));
        self.releases.enqueue(request, move |answered| {
            shared.released(release, repeats, hung, &answered);
            drop(releasing);
        });
    }

    fn released(self: &Arc<Self>, release: PendingRelease, repeats: u32, hung: u32, answered: &Answered<Released>) {
        let Claim { name, holder, .. } = &release.request.claim;
        if let (Some(hints), Ok(_)) = (&self.hints, &answered.result) {
            hints.wake(name);
        }
        self.events.emit(|| LeaseEvent::Released {
            name: name.clone(),
            holder: holder.clone(),
            token: release.token,
            outcome: answered.result.clone(),
            took: self.clock.now().saturating_since(answered.sent),
        });
        if repeats == 0 || !answered.result.as_ref().is_err_and(Error::is_transient) {
            return;
        }
        if answered.hung && hung == 0 {
            // Another one of its call may be to blame: once more at once, in smaller company (L7).
            self.release_repeatedly(release, repeats - 1, 1);
            return;
        }
        let (shared, hung) = (Arc::clone(self), hung + u32::from(answered.hung));
        self.runtime.spawn(async move {
            shared.clock.sleep_until(shared.clock.now() + release.timeout).await;
            shared.release_repeatedly(release, repeats - 1, hung);
        });
    }

    /// Hints about this name. A store that panics gives none: that costs time only (S20).
    pub(super) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        if let Some(hints) = &self.hints {
            return hints.subscribe(name);
        }
        catch_panic("subscribe", || self.store.subscribe(name)).unwrap_or_else(|_| Wakeups::never())
    }

    pub(super) async fn inspect(&self, name: LeaseName) -> Result<Option<LeaseRecord>> {
        let store = Arc::clone(&self.store);
        let span = tracing::debug_span!("lease.inspect", %name);
        self.in_time("inspect", async move { store.inspect(&name).await }).instrument(span).await
    }

    /// Waits for a call of the store that belongs to no lease, within a fixed time.
    ///
    /// # Cancel safety
    ///
    /// Dropping it does not cut the call, which the runtime finishes (S15).
    pub(super) async fn in_time<T: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (clock, store) = (Arc::clone(&self.clock), self.capabilities.store);
        let call = async move {
            let error = |kind, message| Err(Error::new(kind, operation, message).in_store(store));
            tokio::select! {
                biased;
                outcome = catch_panic_async(operation, call) => outcome.unwrap_or_else(|panic| error(ErrorKind::Internal, panic)),
                () = clock.sleep_until(clock.now() + CALL_TIMEOUT) => {
                    error(ErrorKind::Indeterminate, format!("no answer within {CALL_TIMEOUT:?}"))
                }
            }
        };
        if self.runtime.is_current() {
            return SpawnOnDrop::new(call, &self.runtime).await;
        }
        let (sender, answer) = oneshot::channel();
        self.runtime.spawn(async move {
            let _ = sender.send(call.await);
        });
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(Error::runtime_ended(operation))),
            () = self.clock.sleep_until(self.clock.now() + CALL_TIMEOUT * 2) => {
                let message = "the runtime of this client does not run it: is it blocked, or not driven any more?";
                Err(Error::new(ErrorKind::Indeterminate, operation, message))
            }
        }
    }

    /// Counts a scope of exclusive work for as long as the guard lives.
    pub(super) fn enter_scope(self: &Arc<Self>) -> Scope {
        self.scopes.send_modify(|scopes| *scopes += 1);
        Scope(Arc::clone(self))
    }

    /// Begins to close if nobody has; completes when it is closed.
    pub(super) async fn close(self: &Arc<Self>) -> Result<()> {
        self.runtime.enter("close")?;
        let first = self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Open;
            if first {
                *phase = Phase::Closing;
            }
            first
        });
        if first {
            // A task of its own, so that a caller who stops waiting does not stop the closing.
            let (shared, closed) = (Arc::clone(self), Closed(Arc::clone(self)));
            self.runtime.spawn(async move {
                shared.drain_and_release().await;
                drop(closed);
            });
        }
        self.reached(Phase::Closed).await;
        Ok(())
    }

    /// Scopes get the grace to end by themselves; then they are cut, and are waited for until their leases have run out at
    /// the latest, since they are not renewed any more (S17). What is left is latched and released.
    async fn drain_and_release(self: &Arc<Self>) {
        self.scopes_ended(self.clock.now() + self.close_grace).await;
        self.phase.send_replace(Phase::Cut);
        let last_deadline = self.renewals.stop_renewing();
        // What no scope holds need not wait for those that some do.
        self.end_and_release(self.renewals.take_unscoped());
        self.scopes_ended(last_deadline).await;
        self.end_and_release(self.renewals.end());
        self.releases_ended().await;
    }

    fn end_and_release(self: &Arc<Self>, tenures: Vec<Arc<Tenure>>) {
        for tenure in tenures {
            if tenure.is_scoped() {
                // Its work has not ended: it runs out (S17).
                tenure.lose(LossReason::ClientGone);
            } else if let Some(release) = tenure.end(LossReason::ClientGone, None) {
                self.release_in_background(release);
            }
        }
    }

    /// Those of guards that were dropped before, too. Each has its own time.
    async fn releases_ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.releasing.subscribe().wait_for(|releasing| *releasing == 0).await;
    }

    async fn scopes_ended(&self, deadline: Moment) {
        let mut scopes = self.scopes.subscribe();
        tokio::select! {
            biased;
            _ = scopes.wait_for(|scopes| *scopes == 0) => {}
            () = self.clock.sleep_until(deadline) => {}
        }
    }
}

/// A scope of exclusive work that has not ended.
pub(super) struct Scope(Arc<Shared>);

impl Drop for Scope {
    fn drop(&mut self) {
        self.0.scopes.send_modify(|scopes| *scopes -= 1);
    }
}

/// A release under way in the background.
struct Releasing(Arc<Shared>);

impl Releasing {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.releasing.send_modify(|releasing| *releasing += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.0.releasing.send_modify(|releasing| *releasing -= 1);
    }
}

/// Whatever happens to the closing, nobody waits for its end for ever.
struct Closed(Arc<Shared>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.phase.send_replace(Phase::Closed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("store", &self.store)
            .field("holder", &self.holder)
            .field("phase", &*self.phase.borrow())
            .finish_non_exhaustive()
    }
}
