//! The state that all clones of a client, its leases and its background tasks share.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use tracing::field::Empty;

use super::{renewal::Renewals, spans};
use crate::{
    Capabilities, Claim, Clock, Error, ErrorKind, HolderId, LeaseEvent, LeaseName, LeaseRecord, LeaseStore, LossReason,
    Moment, Released, Result, WakeupRegistry, Wakeups,
    batch::{
        Acquire, Answered, Batcher, Contact, Context, Pacing, Release, Request, SpawnOnDrop, catch_panic,
        catch_panic_async,
    },
    grant::{PendingRelease, Tenure},
    observer::Events,
    runtime::Runtime,
};

/// How often a failed release is repeated in the background.
const RELEASE_REPEATS: u32 = 3;

/// The timeout of store calls that belong to no lease.
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
    pub(super) contact: Arc<Contact>,
    releases: Batcher<Release>,
    /// Without push of the store: hints about the client's own releases, for its own waiters.
    hints: Option<WakeupRegistry>,
    tenures: AtomicU64,
    phase: watch::Sender<Phase>,
    /// The number of scopes of exclusive work.
    scopes: watch::Sender<usize>,
    /// The tenures under which there are scopes, by number.
    scoped: Mutex<BTreeMap<u64, Arc<Tenure>>>,
    close_grace: Duration,
    releasing: watch::Sender<Releases>,
}

/// The phase of a client's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    /// Nothing new is begun. Scopes should end.
    Closing,
    /// Scopes are cut off.
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
        let contact = Arc::<Contact>::default();
        let context = Context {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            runtime: runtime.clone(),
            contact: Arc::clone(&contact),
            calls_at_once,
            largest_call: capabilities.largest_call,
            pacing,
        };
        Self {
            capabilities,
            contact: Arc::clone(&contact),
            hints,
            holder,
            events,
            acquires: Batcher::new(context.clone()),
            renewals: Renewals::new(Arc::clone(&store), Arc::clone(&clock), runtime.clone(), Arc::clone(&contact)),
            releases: Batcher::new(context),
            runtime,
            tenures: AtomicU64::new(0),
            store,
            clock,
            phase: watch::Sender::new(Phase::Open),
            scopes: watch::Sender::new(0),
            scoped: Mutex::default(),
            close_grace,
            releasing: watch::Sender::new(Releases { in_flight: 0, over_at: Moment::from_origin(Duration::ZERO) }),
        }
    }

    /// Checks that the client is open and that the caller is on a runtime.
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

    /// Waits for this phase or a later one.
    pub(super) async fn reached(&self, phase: Phase) {
        // The sender lives as long as `self`.
        let _ = self.phase.subscribe().wait_for(|current| *current >= phase).await;
    }

    /// Releases and waits for the answer. Transient failures are repeated in the background.
    pub(super) async fn release(self: &Arc<Self>, release: PendingRelease) -> Result<Released> {
        let span = spans::release(&release, self.capabilities.store);
        let request = Request::new(release.request.clone(), self.clock.now(), release.timeout);
        let (shared, releasing) = (Arc::clone(self), Releasing::begin(self, release.timeout));
        let done = move |answered: &Answered<Released>| {
            shared.released(release, RELEASE_REPEATS, 0, answered);
            drop(releasing);
        };
        spans::within(span, async { self.releases.submit(request, done).await.result }).await
    }

    /// Releases, best effort (S16).
    pub(super) fn release_in_background(self: &Arc<Self>, release: PendingRelease) {
        self.release_repeatedly(release, RELEASE_REPEATS, 0);
    }

    fn release_repeatedly(self: &Arc<Self>, release: PendingRelease, repeats: u32, hung: u32) {
        let request = Request::new(release.request.clone(), self.clock.now(), release.timeout).after_hanging(hung);
        let (shared, releasing) = (Arc::clone(self), Releasing::begin(self, release.timeout));
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
            correlation: release.correlation.clone(),
        });
        if repeats == 0 || !answered.result.as_ref().is_err_and(Error::is_transient) {
            return;
        }
        if answered.hung && hung == 0 {
            // Another request of the same call may be the cause: repeat it at once, in a smaller batch (L7).
            self.release_repeatedly(release, repeats - 1, 1);
            return;
        }
        let (shared, hung) = (Arc::clone(self), hung + u32::from(answered.hung));
        self.runtime.spawn(async move {
            shared.clock.sleep_until(shared.clock.now() + release.timeout).await;
            shared.release_repeatedly(release, repeats - 1, hung);
        });
    }

    /// Subscribes to hints about this name. If the store panics there are none, which costs time only (S20).
    pub(super) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        if let Some(hints) = &self.hints {
            return hints.subscribe(name);
        }
        catch_panic("subscribe", || self.store.subscribe(name)).unwrap_or_else(|_| Wakeups::never())
    }

    pub(super) async fn inspect(&self, name: LeaseName) -> Result<Option<LeaseRecord>> {
        let store = Arc::clone(&self.store);
        let span = tracing::debug_span!(target: "lease", "lease.inspect", otel.kind = "client", otel.status_code = Empty, error.type = Empty,
            lease.store = self.capabilities.store, lease.name = %name);
        let lease = name.clone();
        let inspecting = self.in_time("inspect", async move { store.inspect(&name).await });
        spans::within(span, inspecting).await.map_err(|error| error.with_lease(&lease))
    }

    /// Awaits a store call that belongs to no lease, with a fixed timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cut off the call: the client's runtime finishes it (S15).
    pub(super) async fn in_time<T: Send + 'static>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (clock, store, contact) = (Arc::clone(&self.clock), self.capabilities.store, Arc::clone(&self.contact));
        let call = async move {
            contact.called(clock.now());
            let error = |kind, message| Err(Error::new(kind, operation, message).in_store(store));
            let result = tokio::select! {
                biased;
                outcome = catch_panic_async(operation, call) => outcome.unwrap_or_else(|panic| error(ErrorKind::Internal, panic)),
                () = clock.sleep_until(clock.now() + CALL_TIMEOUT) => {
                    error(ErrorKind::Indeterminate, format!("no answer within {CALL_TIMEOUT:?}"))
                }
            };
            contact.returned([&result]);
            result
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
                let message = "the runtime of this client did not run the call: check whether it is blocked, or no longer driven";
                Err(Error::new(ErrorKind::Indeterminate, operation, message))
            }
        }
    }

    /// Counts a scope of exclusive work for as long as the returned value lives.
    pub(super) fn enter_scope(self: &Arc<Self>) -> Scope {
        self.scopes.send_modify(|scopes| *scopes += 1);
        Scope(Arc::clone(self))
    }

    /// Counts a scope of exclusive work under this tenure, for as long as the returned value lives.
    pub(super) fn enter_scope_of(self: &Arc<Self>, tenure: &Arc<Tenure>) -> ScopeOf {
        let mut scoped = self.lock_scoped();
        tenure.enter_scope();
        scoped.entry(tenure.number).or_insert_with(|| Arc::clone(tenure));
        drop(scoped);
        ScopeOf { tenure: Arc::clone(tenure), scope: self.enter_scope() }
    }

    /// Returns the tenures under which there are scopes.
    pub(super) fn scoped(&self) -> Vec<Arc<Tenure>> {
        self.lock_scoped().values().map(Arc::clone).collect()
    }

    fn lock_scoped(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Tenure>>> {
        self.scoped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to close, if that has not begun. Completes when the client is closed.
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
            // A task of its own, so that the closing goes on if the caller stops waiting.
            let (shared, closed) = (Arc::clone(self), Closed(Arc::clone(self)));
            self.runtime.spawn(async move {
                shared.drain_and_release().await;
                drop(closed);
            });
        }
        self.reached(Phase::Closed).await;
        Ok(())
    }

    /// Gives scopes the grace to end by themselves. Then cuts them off, stops renewing, and waits for them until their leases have
    /// expired at the latest (S17). Finally ends and releases all leases.
    async fn drain_and_release(self: &Arc<Self>) {
        self.scopes_ended(self.clock.now() + self.close_grace).await;
        self.phase.send_replace(Phase::Cut);
        let last_deadline = self.renewals.stop_renewing();
        // Leases without a scope need not wait for those with one.
        self.end_and_release(self.renewals.take_unscoped());
        self.scopes_ended(last_deadline).await;
        self.end_and_release(self.renewals.end());
        self.releases_ended().await;
    }

    fn end_and_release(self: &Arc<Self>, tenures: Vec<Arc<Tenure>>) {
        for tenure in tenures {
            if tenure.is_scoped() {
                // Its work has not ended: the lease expires (S17).
                tenure.lose(LossReason::ClientGone);
            } else if let Some(release) = tenure.end(LossReason::ClientGone, None) {
                self.release_in_background(release);
            }
        }
    }

    /// Waits for all releases in flight, including those of guards that were dropped before, and those that callers await. Each has
    /// its own timeout. One whose caller is not polled does not end, and is not waited for any longer than that.
    async fn releases_ended(&self) {
        let mut releasing = self.releasing.subscribe();
        loop {
            let Releases { in_flight, over_at } = *releasing.borrow_and_update();
            if in_flight == 0 {
                return;
            }
            tokio::select! {
                biased;
                _ = releasing.changed() => {}
                () = self.clock.sleep_until(over_at) => return,
            }
        }
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

/// A scope of exclusive work under a tenure that has not ended.
pub(super) struct ScopeOf {
    pub(super) tenure: Arc<Tenure>,
    scope: Scope,
}

impl Drop for ScopeOf {
    fn drop(&mut self) {
        let mut scoped = self.scope.0.lock_scoped();
        self.tenure.leave_scope();
        if !self.tenure.is_scoped() {
            scoped.remove(&self.tenure.number);
        }
    }
}

/// The releases in flight.
#[derive(Debug, Clone, Copy)]
struct Releases {
    in_flight: usize,
    /// When all of them must have ended.
    over_at: Moment,
}

/// A release in flight.
struct Releasing(Arc<Shared>);

impl Releasing {
    fn begin(shared: &Arc<Shared>, timeout: Duration) -> Self {
        // A request may wait in the queue before it is sent.
        let over_at = shared.clock.now() + timeout.saturating_mul(2);
        shared.releasing.send_modify(|releases| {
            releases.in_flight += 1;
            releases.over_at = releases.over_at.max(over_at);
        });
        Self(Arc::clone(shared))
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.0.releasing.send_modify(|releases| releases.in_flight -= 1);
    }
}

/// Marks the client as closed when it is dropped, even if the closing panics.
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
