//! The client, which applications use.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::runtime::Handle;
use tracing::Instrument;

use crate::{
    Break, Capabilities, ClientBuilder, Clock, ErrorKind, FencingToken, HolderId, IntoLeaseName, Lease, LeaseHandle,
    LeaseLost, LeaseName, LeaseOptions, LeaseRecord, LeaseStore, LeaseWatch, Released, Result, TryAcquired, attempt,
    core::{Core, Phase, closed},
    waiting,
};

/// Acquires leases from a store and keeps them. Cheap to clone; all clones share one renewal task, and one holder id.
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
/// Its futures run on tokio, with timers enabled. All of its calls of the store and its background work run on one runtime, its
/// home: that on which it is made, or [`ClientBuilder::runtime`]. It may be used from any other runtime, too; but leases
/// are renewed only while the home is driven and not blocked, and when that ends, they are lost, and every call is
/// answered [`ErrorKind::Closed`]. So make it on the runtime that lives longest.
#[derive(Debug, Clone)]
pub struct LeaseClient {
    core: Arc<Core>,
}

impl LeaseClient {
    /// A client of this store, with a holder id of its own, the system's clock and all defaults: see
    /// [`LeaseClient::builder`].
    #[must_use]
    pub fn new(store: impl LeaseStore) -> Self {
        Self::builder(store).build()
    }

    /// A client of this store, to be set up.
    pub fn builder(store: impl LeaseStore) -> ClientBuilder {
        ClientBuilder::new(Arc::new(store))
    }

    pub(crate) fn of(core: Core) -> Self {
        Self { core: Arc::new(core) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn LeaseStore> {
        &self.core.store
    }

    /// The runtime on which this client works.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] outside a tokio runtime.
    pub fn runtime(&self) -> Result<&Handle> {
        self.core.home.enter("runtime")
    }

    /// Whether [`LeaseClient::close`] was called: nothing new is begun any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Who this client is to others.
    #[must_use]
    pub fn holder(&self) -> &HolderId {
        &self.core.holder
    }

    /// The clock by which this client measures and waits.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.core.clock
    }

    /// What the store can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.core.capabilities
    }

    /// Tries to acquire a lease once. Never waits for a name to become free.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a bad name or options; otherwise when the store cannot be asked,
    /// or nobody knows what it did: then whatever it may have granted is released in the background. It is never said
    /// to be free or held without the store's word (S19).
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves no grant, or one that is released in the background (S15).
    pub async fn try_acquire(&self, name: impl IntoLeaseName, options: impl Into<LeaseOptions>) -> Result<TryAcquired> {
        self.core.enter("acquire")?;
        let (name, options) = (name.into_lease_name()?, options.into());
        options.validate(&self.core.capabilities)?;
        attempt::try_acquire(&self.core, name, options).await
    }

    /// Acquires a lease, and waits for it while somebody else has it: by push where the store has it, with a poll behind.
    /// Within this client, first come first served.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WaitLimit`](crate::ErrorKind::WaitLimit) when the options set a limit and it passes, with the last trouble
    /// of the store, if there was any, as the source. The first attempt has its own timeout: with a limit of zero a free name
    /// is acquired. [`ErrorKind::Closed`](crate::ErrorKind::Closed) as soon as the client
    /// closes (L4). Errors that waiting cannot mend are told at once: `Invalid`, `Denied`, `Unsupported`, `Internal`.
    ///
    /// # Cancel safety
    ///
    /// As [`LeaseClient::try_acquire`]. The place in the line is lost.
    pub async fn acquire(&self, name: impl IntoLeaseName, options: impl Into<LeaseOptions>) -> Result<Lease> {
        self.core.enter("acquire")?;
        let (name, options) = (name.into_lease_name()?, options.into());
        options.validate(&self.core.capabilities)?;
        waiting::acquire(&self.core, name, options).await
    }

    /// Acquires a lease if the name is free, and runs `work` under it, as [`LeaseClient::run`] does. Returns `None`, and
    /// runs nothing, if somebody else has it.
    ///
    /// # Errors
    ///
    /// As [`LeaseClient::try_acquire`]; [`ErrorKind::Lost`](crate::ErrorKind::Lost) when the lease was lost before the work
    /// was done.
    ///
    /// # Panics
    ///
    /// As [`LeaseClient::run`].
    ///
    /// # Cancel safety
    ///
    /// As [`LeaseClient::run`].
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
        let _scope = self.core.enter_scope();
        match self.try_acquire(name, options).await?.acquired() {
            Some(lease) => self.run_under(lease, work).await.map(Some),
            None => Ok(None),
        }
    }

    /// Acquires a lease, waiting for it, and runs `work` under it: a scope of exclusive work. The work is dropped when the
    /// lease is lost, and has ended, one way or the other, before the lease is released (S17).
    ///
    /// When the client closes, [`LeaseHandle::closing`] tells the work; after the grace it is dropped. The caveat of
    /// [`LeaseHandle::while_held`] about blocking work applies.
    ///
    /// # Errors
    ///
    /// As [`LeaseClient::acquire`]; [`ErrorKind::Lost`](crate::ErrorKind::Lost) when the lease was lost before the work
    /// was done. A release that fails is no error: observers are told, and the lease runs out.
    ///
    /// # Panics
    ///
    /// When the work does; the lease is then released in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the work, and then releases the lease in the background.
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
        let _scope = self.core.enter_scope();
        let lease = self.acquire(name, options).await?;
        self.run_under(lease, work).await
    }

    async fn run_under<W, F>(&self, lease: Lease, work: W) -> Result<F::Output>
    where
        W: FnOnce(LeaseHandle) -> F,
        F: Future,
    {
        let span = tracing::debug_span!("lease.run", name = %lease.name());
        let running = async {
            let scope = lease.scope();
            let outcome = {
                let mut work = pin!(lease.while_held(work(lease.handle())));
                tokio::select! {
                    biased;
                    () = self.core.reached(Phase::Cut) => Err(closed("run")),
                    outcome = &mut work => outcome.map_err(LeaseLost::into),
                }
            };
            drop(scope);
            // The work has ended or was dropped: now the lease may go. What is lost already is released in the background: its
            // caller learns of the loss at once, also while the store is out of reach (S5).
            if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Lost) {
                drop(lease);
            } else {
                let _ = lease.release().await;
            }
            outcome
        };
        running.instrument(span).await
    }

    /// Who holds a lease now; nothing when it is free.
    ///
    /// # Errors
    ///
    /// When the name is bad, or the store cannot be asked within 5 seconds.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn inspect(&self, name: impl IntoLeaseName) -> Result<Option<LeaseRecord>> {
        self.core.enter("inspect")?;
        self.core.inspect(name.into_lease_name()?).await
    }

    /// At most `limit` leases in force whose names begin with `prefix` and come after `after`, in the byte order of their
    /// names. Not a snapshot. The last name of a page is the `after` of the next one.
    ///
    /// # Errors
    ///
    /// When the store cannot be asked within 5 seconds.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.core.enter("list")?;
        let span = tracing::debug_span!("lease.list", prefix, ?after, limit);
        let (store, prefix, after) = (Arc::clone(&self.core.store), prefix.to_owned(), after.cloned());
        let list = async move { store.list(&prefix, after.as_ref(), limit).await };
        self.core.in_time("list", list).instrument(span).await
    }

    /// Watches who holds a lease.
    ///
    /// # Errors
    ///
    /// When the name is bad, or the client is closed.
    pub fn watch(&self, name: impl IntoLeaseName) -> Result<LeaseWatch> {
        self.core.enter("watch")?;
        Ok(LeaseWatch::new(&self.core, name.into_lease_name()?))
    }

    /// Ends the grant with this token, whoever has it: for administrators (S22). [`Released::NotHeld`] when that grant is over
    /// already; a successor is never hit.
    ///
    /// # Errors
    ///
    /// When the name is bad, or the store cannot be told within 5 seconds. The break may have happened all the same if the
    /// kind is [`ErrorKind::Indeterminate`](crate::ErrorKind::Indeterminate); it may be repeated.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it is finished in the background.
    pub async fn break_lease(&self, name: impl IntoLeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.core.enter("break")?;
        let (store, name) = (Arc::clone(&self.core.store), name.into_lease_name()?);
        let span = tracing::debug_span!("lease.break", %name, %token, ?how);
        let breaking = async move { store.break_lease(&name, token, how).await };
        self.core.in_time("break", breaking.instrument(span)).await
    }

    /// Closes this client and all its clones, in order: nothing new is begun, and who waits is told so (L4); scopes of
    /// exclusive work are told, get the grace to end, and are then dropped; all leases end and are released.
    ///
    /// It takes at most the grace, plus the longest remaining validity of a scope's lease whose work does not let itself be
    /// dropped, plus the time for the releases, those of guards dropped before included: for as long as they are answered, and
    /// two attempt timeouts for those that are not. A lease whose scope has not ended by then is not released but
    /// runs out (S17). Idempotent.
    ///
    /// # Errors
    ///
    /// Only when it is called outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Once polled, the closing goes on in the background.
    pub async fn close(&self) -> Result<()> {
        self.core.close().instrument(tracing::debug_span!("lease.close")).await
    }
}
