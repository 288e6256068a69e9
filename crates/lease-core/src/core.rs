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

use crate::{
    Capabilities, Claim, Clock, Error, ErrorKind, FencingToken, HolderId, LeaseEvent, LeaseName, LeaseRecord,
    LeaseStore, LossReason, Moment, ReleaseRequest, Released, Result, WakeupRegistry, Wakeups,
    batch::{Acquire, Answered, Crowd, Errand, Lanes, Owned, Release, Route, caught, unwinding},
    home::{Home, ended},
    observer::Events,
    renewal::Renewals,
    tenure::Tenure,
    waiting::Waiting,
};

/// How often a release that failed is repeated in the background.
const RELEASE_REPEATS: u32 = 3;

/// How long to wait for an answer to what belongs to no lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Core {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) capabilities: Capabilities,
    pub(crate) holder: HolderId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Events,
    pub(crate) acquires: Lanes<Acquire>,
    pub(crate) renewals: Renewals,
    pub(crate) waiting: Waiting,
    pub(crate) home: Home,
    releases: Lanes<Release>,
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

/// What is to be said to the store of the end of a grant.
#[derive(Debug, Clone)]
pub(crate) struct PendingRelease {
    pub(crate) request: ReleaseRequest,
    /// Nothing for a grant that may have been made, and was never seen.
    pub(crate) token: Option<FencingToken>,
    /// How long it waits for the answer.
    pub(crate) timeout: Duration,
}

/// The life of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// Nothing new is begun; scopes are asked to end.
    Closing,
    /// Scopes end now.
    Cut,
    Closed,
}

impl Core {
    pub(crate) fn new(
        store: Arc<dyn LeaseStore>,
        holder: HolderId,
        clock: Arc<dyn Clock>,
        home: Home,
        events: Events,
        close_grace: Duration,
    ) -> Self {
        let capabilities = store.capabilities();
        let calls_at_once = capabilities.calls_at_once;
        let hints = (!capabilities.push).then(WakeupRegistry::default);
        let crowd = (calls_at_once <= 1).then(Arc::<Crowd>::default);
        let route =
            Route { store: Arc::clone(&store), clock: Arc::clone(&clock), home: home.clone(), calls_at_once, crowd };
        Self {
            capabilities,
            hints,
            holder,
            events,
            acquires: Lanes::new(route.clone()),
            renewals: Renewals::new(Arc::clone(&store), Arc::clone(&clock), home.clone()),
            releases: Lanes::new(route),
            home,
            waiting: Waiting::default(),
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
    pub(crate) fn enter(&self, operation: &'static str) -> Result<()> {
        if self.is_closed() {
            return Err(closed(operation));
        }
        self.home.enter(operation).map(drop)
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.phase.borrow() > Phase::Open
    }

    pub(crate) fn next_tenure(&self) -> u64 {
        self.tenures.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for this phase, or a later one.
    pub(crate) async fn reached(&self, phase: Phase) {
        // The sender lives as long as `self`.
        let _ = self.phase.subscribe().wait_for(|current| *current >= phase).await;
    }

    /// Releases and waits for the answer. Transient failures are repeated in the background.
    pub(crate) async fn release(self: &Arc<Self>, release: PendingRelease) -> Result<Released> {
        let span = tracing::debug_span!("lease.release", name = %release.request.claim.name);
        let errand = Errand::new(release.request.clone(), self.clock.now(), release.timeout);
        let core = Arc::clone(self);
        let done = move |answered: &Answered<Released>| core.released(release, RELEASE_REPEATS, 0, answered);
        self.releases.submit(errand, done).instrument(span).await.result
    }

    /// Releases, best effort (S16).
    pub(crate) fn release_in_background(self: &Arc<Self>, release: PendingRelease) {
        self.release_repeatedly(release, RELEASE_REPEATS, 0);
    }

    fn release_repeatedly(self: &Arc<Self>, release: PendingRelease, repeats: u32, hung: u32) {
        let errand = Errand::new(release.request.clone(), self.clock.now(), release.timeout).after_hanging(hung);
        let (core, releasing) = (Arc::clone(self), Releasing::begin(self));
        self.releases.enqueue(errand, move |answered| {
            core.released(release, repeats, hung, &answered);
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
        let (core, hung) = (Arc::clone(self), hung + u32::from(answered.hung));
        self.home.spawn(async move {
            core.clock.sleep_until(core.clock.now() + release.timeout).await;
            core.release_repeatedly(release, repeats - 1, hung);
        });
    }

    /// Hints about this name. A store that panics gives none: that costs time only (S20).
    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        if let Some(hints) = &self.hints {
            return hints.subscribe(name);
        }
        unwinding("subscribe", || self.store.subscribe(name)).unwrap_or_else(|_| Wakeups::never())
    }

    pub(crate) async fn inspect(&self, name: LeaseName) -> Result<Option<LeaseRecord>> {
        let store = Arc::clone(&self.store);
        let span = tracing::debug_span!("lease.inspect", %name);
        self.in_time("inspect", async move { store.inspect(&name).await }).instrument(span).await
    }

    /// Waits for a call of the store that belongs to no lease, within a fixed time.
    ///
    /// # Cancel safety
    ///
    /// Dropping it does not cut the call, which the runtime finishes (S15).
    pub(crate) async fn in_time<T: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (clock, store) = (Arc::clone(&self.clock), self.capabilities.store);
        let call = async move {
            let error = |kind, message| Err(Error::new(kind, operation, message).in_store(store));
            tokio::select! {
                biased;
                outcome = caught(operation, call) => outcome.unwrap_or_else(|panic| error(ErrorKind::Internal, panic)),
                () = clock.sleep_until(clock.now() + CALL_TIMEOUT) => {
                    error(ErrorKind::Indeterminate, format!("no answer within {CALL_TIMEOUT:?}"))
                }
            }
        };
        if self.home.is_here() {
            return Owned::new(call, &self.home).await;
        }
        let (sender, answer) = oneshot::channel();
        self.home.spawn(async move {
            let _ = sender.send(call.await);
        });
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or_else(|_| Err(ended(operation))),
            () = self.clock.sleep_until(self.clock.now() + CALL_TIMEOUT * 2) => {
                let message = "the runtime of this client does not run it: is it blocked, or not driven any more?";
                Err(Error::new(ErrorKind::Indeterminate, operation, message))
            }
        }
    }

    /// Counts a scope of exclusive work for as long as the guard lives.
    pub(crate) fn enter_scope(self: &Arc<Self>) -> Scope {
        self.scopes.send_modify(|scopes| *scopes += 1);
        Scope(Arc::clone(self))
    }

    /// Begins to close if nobody has; completes when it is closed.
    pub(crate) async fn close(self: &Arc<Self>) -> Result<()> {
        self.home.enter("close")?;
        let first = self.phase.send_if_modified(|phase| {
            let first = *phase == Phase::Open;
            if first {
                *phase = Phase::Closing;
            }
            first
        });
        if first {
            // A task of its own, so that a caller who stops waiting does not stop the closing.
            let (core, closed) = (Arc::clone(self), Closed(Arc::clone(self)));
            self.home.spawn(async move {
                core.drain_and_release().await;
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
pub(crate) struct Scope(Arc<Core>);

impl Drop for Scope {
    fn drop(&mut self) {
        self.0.scopes.send_modify(|scopes| *scopes -= 1);
    }
}

/// A release under way in the background.
struct Releasing(Arc<Core>);

impl Releasing {
    fn begin(core: &Arc<Core>) -> Self {
        core.releasing.send_modify(|releasing| *releasing += 1);
        Self(Arc::clone(core))
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.0.releasing.send_modify(|releasing| *releasing -= 1);
    }
}

/// Whatever happens to the closing, nobody waits for its end for ever.
struct Closed(Arc<Core>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.phase.send_replace(Phase::Closed);
    }
}

pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation, "the client is closed: use another one")
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("store", &self.store)
            .field("holder", &self.holder)
            .field("phase", &*self.phase.borrow())
            .finish_non_exhaustive()
    }
}
