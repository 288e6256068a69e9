//! The builder of a client.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::shared::Shared;
use crate::{Clock, HolderId, LeaseClient, LeaseStore, Observer, SystemClock, observer::Events, runtime::Runtime};

/// Builds a [`LeaseClient`]; from [`LeaseClient::builder`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use lease_core::{HolderId, LeaseClient};
/// use lease_memory::MemoryStore;
///
/// let client = LeaseClient::builder(MemoryStore::new())
///     .holder(HolderId::new("worker-7")?)
///     .close_grace(Duration::from_secs(20))
///     .build();
/// assert_eq!(client.holder().as_str(), "worker-7");
/// # Ok::<(), lease_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    store: Arc<dyn LeaseStore>,
    holder: Option<HolderId>,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<dyn Observer>>,
    close_grace: Duration,
    runtime: Option<Handle>,
}

impl ClientBuilder {
    pub(super) fn new(store: Arc<dyn LeaseStore>) -> Self {
        Self {
            store,
            holder: None,
            clock: Arc::new(SystemClock),
            observers: Vec::new(),
            close_grace: Duration::from_secs(5),
            runtime: None,
        }
    }

    /// Sets the holder id of the client. Default: [`HolderId::random`]. Two clients must not use the same id at the same time.
    pub fn holder(self, holder: HolderId) -> Self {
        Self { holder: Some(holder), ..self }
    }

    /// Sets the clock by which the client measures and waits, for tests and simulations. Default: [`SystemClock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Adds an observer of all events of the client. There may be several.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// Sets how long [`LeaseClient::close`] waits for scopes of exclusive work to end by themselves. Default: 5 seconds. Zero
    /// is allowed.
    pub fn close_grace(self, close_grace: Duration) -> Self {
        Self { close_grace, ..self }
    }

    /// Sets the runtime on which the client works: the one that lives longest. Default: the runtime on which the client is
    /// built; if it is built outside a runtime, that of its first call.
    pub fn runtime(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// Builds the client.
    #[must_use]
    pub fn build(self) -> LeaseClient {
        let holder = self.holder.unwrap_or_else(HolderId::random);
        let (events, runtime) = (Events::new(self.observers, Arc::clone(&self.clock)), Runtime::new(self.runtime));
        LeaseClient::from_shared(Shared::new(self.store, holder, self.clock, runtime, events, self.close_grace))
    }
}
