//! The client: the handles that applications use, and what works behind them.

mod attempt;
mod builder;
mod call;
mod health;
mod latest;
mod lease;
mod renewal;
mod retrying;
mod shared;
mod spans;
mod states;
mod try_acquired;
mod waiting;
mod watch;

use std::{future::Future, pin::pin, sync::Arc};

use tokio::runtime::Handle;
use tracing::field::Empty;

pub use self::{
    builder::ClientBuilder,
    health::{ClientHealth, Trouble},
    lease::{Lease, LeaseHandle, WorkScope},
    retrying::RetryError,
    states::LeaseStates,
    try_acquired::TryAcquired,
    watch::LeaseWatch,
};
use self::{
    shared::{Phase, Shared},
    waiting::Lines,
};
use crate::{
    Break, Capabilities, Clock, Error, ErrorKind, FencingToken, HolderId, IntoLeaseName, LeaseEvent, LeaseLost,
    LeaseName, LeaseOptions, LeaseRecord, LeaseStore, Released, Result,
};

/// Acquires leases from a store and keeps them renewed.
///
/// A client is cheap to clone. All clones share one holder id, one renewal task and one batch of requests.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use lease_core::LeaseClient;
/// use lease_memory::MemoryStore;
///
/// let client = LeaseClient::new(MemoryStore::new());
/// let ttl = Duration::from_secs(30);
/// if let Some(lease) = client.try_acquire("nightly-report", ttl).await?.acquired() {
///     println!("reporting with token {}", lease.token());
///     lease.release().await?;
/// }
/// # Ok::<(), lease_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Runtime
///
/// A client works on one tokio runtime, with timers enabled (L10): the one on which it is built, or
/// [`ClientBuilder::runtime`]. Its store calls and its background tasks all run there. Its methods may be called from any other
/// runtime as well. Leases are renewed only while the client's runtime is driven and not blocked; when that runtime ends, the
/// leases are lost, and every call returns [`ErrorKind::Closed`]. Build the client on the runtime that lives longest.
#[derive(Debug, Clone)]
pub struct LeaseClient {
    shared: Arc<Shared>,
    lines: Arc<Lines>,
}

impl LeaseClient {
    /// Creates a client of this store with a random holder id, the system's clock and all other defaults; see
    /// [`LeaseClient::builder`].
    #[must_use]
    pub fn new(store: impl LeaseStore) -> Self {
        Self::builder(store).build()
    }

    /// Returns a builder for a client of this store.
    pub fn builder(store: impl LeaseStore) -> ClientBuilder {
        ClientBuilder::new(Arc::new(store))
    }

    fn from_shared(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), lines: Arc::default() }
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn LeaseStore> {
        &self.shared.store
    }

    /// Returns the runtime on which this client works.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when called outside a tokio runtime.
    pub fn runtime(&self) -> Result<&Handle> {
        self.shared.runtime.enter("runtime")
    }

    /// Returns whether [`LeaseClient::close`] was called. A closed client begins nothing new.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Returns the holder id that this client uses.
    #[must_use]
    pub fn holder(&self) -> &HolderId {
        &self.shared.holder
    }

    /// Returns the clock by which this client measures and waits.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Returns the capabilities of the store.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.shared.capabilities
    }

    /// Tries to acquire a lease once. Returns [`TryAcquired::Held`] if it is held by another holder. Never waits for the name
    /// to become free.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a bad name or bad options. Any other kind when the store cannot be reached or the outcome is
    /// unknown; a grant that may have been made is then released in the background. A name is never reported free or held
    /// without an answer of the store (S19).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no grant behind: one that was made is released in the background (S15).
    pub async fn try_acquire(&self, name: impl IntoLeaseName, options: impl Into<LeaseOptions>) -> Result<TryAcquired> {
        self.shared.enter("acquire")?;
        let (name, options) = (name.into_lease_name()?, options.into());
        options.validate(&self.shared.capabilities)?;
        attempt::try_acquire(&self.shared, name, options).await
    }

    /// Acquires a lease, waiting while another holder has it. A release wakes it by push, where the store has push; a poll
    /// every second or two backs this up. Within one client, callers are served in the order of their calls. Between clients,
    /// there is no order: one that acquires a name again as soon as it has released it may keep others waiting for many turns. A
    /// pause of some milliseconds lets them have theirs.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::WaitLimit`] when [`LeaseOptions::wait_limit`] passes; its source is the last failure of the store, if
    ///   there was one. The first attempt is not cut short: with a limit of zero, a free name is acquired.
    /// * [`ErrorKind::Closed`] as soon as the client begins to close (L4).
    /// * `Invalid`, `Denied`, `Unsupported` and `Internal` at once, because waiting does not help.
    ///
    /// # Cancel safety
    ///
    /// As for [`LeaseClient::try_acquire`]. The caller's place in the order is lost.
    pub async fn acquire(&self, name: impl IntoLeaseName, options: impl Into<LeaseOptions>) -> Result<Lease> {
        self.shared.enter("acquire")?;
        let (name, options) = (name.into_lease_name()?, options.into());
        options.validate(&self.shared.capabilities)?;
        waiting::acquire(&self.shared, &self.lines, name, options).await
    }

    /// Tries to acquire a lease once, and runs `work` under it as [`LeaseClient::run`] does. Returns `None`, without running
    /// anything, if the lease is held by another holder.
    ///
    /// # Errors
    ///
    /// As for [`LeaseClient::try_acquire`]; and [`ErrorKind::Lost`] when the lease was lost before the work was done.
    ///
    /// # Panics
    ///
    /// As for [`LeaseClient::run`].
    ///
    /// # Cancel safety
    ///
    /// As for [`LeaseClient::run`].
    pub async fn try_run<W, F>(
        &self,
        name: impl IntoLeaseName,
        options: impl Into<LeaseOptions>,
        work: W,
    ) -> Result<Option<F::Output>>
    where
        W: FnOnce(LeaseHandle) -> F,
        F: Future,
    {
        let _scope = self.shared.enter_scope();
        match self.try_acquire(name, options).await?.acquired() {
            Some(lease) => self.run_under(lease, work).await.map(Some),
            None => Ok(None),
        }
    }

    /// Acquires a lease, waiting for it as [`LeaseClient::acquire`] does, and runs `work` under it.
    ///
    /// The work is dropped as soon as the lease is lost. It has always ended, completed or dropped, before the lease is
    /// released (S17). When the client begins to close, [`LeaseHandle::closing`] completes; after the grace the work is dropped.
    /// Work that blocks its thread cannot be dropped; see [`LeaseHandle::while_held`].
    ///
    /// # Errors
    ///
    /// As for [`LeaseClient::acquire`]; and [`ErrorKind::Lost`] when the lease was lost before the work was done. A release
    /// that fails is reported to observers, not to the caller; the lease then expires.
    ///
    /// # Panics
    ///
    /// Panics if the work panics; the lease is then released in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the work, and then releases the lease in the background.
    pub async fn run<W, F>(
        &self,
        name: impl IntoLeaseName,
        options: impl Into<LeaseOptions>,
        work: W,
    ) -> Result<F::Output>
    where
        W: FnOnce(LeaseHandle) -> F,
        F: Future,
    {
        let _scope = self.shared.enter_scope();
        let lease = self.acquire(name, options).await?;
        self.run_under(lease, work).await
    }

    async fn run_under<W, F>(&self, lease: Lease, work: W) -> Result<F::Output>
    where
        W: FnOnce(LeaseHandle) -> F,
        F: Future,
    {
        let span = tracing::info_span!(target: "lease", "lease.run", otel.kind = "internal", otel.status_code = Empty, error.type = Empty,
            lease.name = %lease.name(), lease.holder = %lease.holder(), lease.token = lease.token().get(),
            correlation.id = spans::id(lease.correlation()));
        let running = async {
            let scope = lease.scope();
            let outcome = {
                let mut work = pin!(lease.while_held(work(lease.handle())));
                tokio::select! {
                    biased;
                    () = self.shared.reached(Phase::Cut) => Err(Error::closed("run")),
                    outcome = &mut work => outcome.map_err(LeaseLost::into),
                }
            };
            drop(scope);
            // The work has ended: the lease may be released. After a loss this is done in the background, so that the caller
            // learns of the loss at once even if the store is unreachable (S5).
            if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Lost) {
                drop(lease);
            } else {
                let _ = lease.release().await;
            }
            outcome
        };
        spans::within(span, running).await
    }

    /// Returns the health of this client, for the probes of an orchestrator. Local, without I/O.
    #[must_use]
    pub fn health(&self) -> ClientHealth {
        ClientHealth::of(&self.shared)
    }

    /// Reports an event to the observers of this client, for crates that build on leases, such as `lease-election`.
    pub fn report(&self, event: LeaseEvent) {
        self.shared.events.emit(|| event);
    }

    /// Returns the lease of this name that is in force, or `None` if the name is free.
    ///
    /// # Errors
    ///
    /// When the name is bad, or the store does not answer within 5 seconds.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn inspect(&self, name: impl IntoLeaseName) -> Result<Option<LeaseRecord>> {
        self.shared.enter("inspect")?;
        self.shared.inspect(name.into_lease_name()?).await
    }

    /// Returns at most `limit` leases that are in force, whose names begin with `prefix` and come after `after`, in the byte
    /// order of their names. To read the next page, pass the last name of this one as `after`. Pages are not a snapshot.
    ///
    /// # Errors
    ///
    /// When the store does not answer within 5 seconds.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.shared.enter("list")?;
        let span = tracing::debug_span!(target: "lease", "lease.list", otel.kind = "client", otel.status_code = Empty, error.type = Empty,
            lease.store = self.shared.capabilities.store, prefix, ?after, limit);
        let (store, prefix, after) = (Arc::clone(&self.shared.store), prefix.to_owned(), after.cloned());
        let list = async move { store.list(&prefix, after.as_ref(), limit).await };
        spans::within(span, self.shared.in_time("list", list)).await
    }

    /// Watches which holder has a lease.
    ///
    /// # Errors
    ///
    /// When the name is bad, or the client is closed.
    pub fn watch(&self, name: impl IntoLeaseName) -> Result<LeaseWatch> {
        self.shared.enter("watch")?;
        Ok(LeaseWatch::new(&self.shared, name.into_lease_name()?))
    }

    /// Ends the grant with this token, whichever holder has it: an operation for administrators (S22). Returns
    /// [`Released::NotHeld`] if that grant is not in force any more; a later grant of the name is never ended.
    ///
    /// # Errors
    ///
    /// When the name is bad, or the store does not answer within 5 seconds. With [`ErrorKind::Indeterminate`] the grant may have
    /// been ended all the same; the call may be repeated.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the call is finished in the background.
    pub async fn break_lease(&self, name: impl IntoLeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.shared.enter("break")?;
        let (store, name) = (Arc::clone(&self.shared.store), name.into_lease_name()?);
        let span = tracing::info_span!(target: "lease", "lease.break", otel.kind = "client", otel.status_code = Empty, error.type = Empty,
            lease.store = self.shared.capabilities.store, lease.name = %name, lease.token = token.get(), ?how);
        let lease = name.clone();
        let breaking = async move { store.break_lease(&name, token, how).await };
        let broken = spans::within(span, self.shared.in_time("break", breaking)).await;
        broken.map_err(|error| error.with_lease(&lease))
    }

    /// Closes this client and all its clones, in this order: nothing new is begun, and every waiting call returns
    /// [`ErrorKind::Closed`] (L4); [`LeaseHandle::closing`] completes, scopes of exclusive work get the
    /// [grace](ClientBuilder::close_grace) to end and are then dropped; all leases end and are released.
    ///
    /// Takes at most the sum of the grace, the longest remaining validity of a lease whose scope does not end, and the time for
    /// the releases, which is two attempt timeouts if the store does not answer. A lease whose scope has not ended by then is not
    /// released but expires (S17). A second call waits for the end of the first.
    ///
    /// # Errors
    ///
    /// Only when called outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the closing goes on in the background.
    pub async fn close(&self) -> Result<()> {
        let span = tracing::info_span!(target: "lease", "lease.close", otel.kind = "internal", otel.status_code = Empty, error.type = Empty,
            lease.holder = %self.holder());
        spans::within(span, self.shared.close()).await
    }
}
