//! How a client is set up.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{
    Clock, HolderId, LeaseClient, LeaseStore, Observer, SystemClock, core::Core, home::Home, observer::Events,
};

/// A client that is being set up, from [`LeaseClient::builder`].
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
#[must_use = "nothing is done until it is built"]
pub struct ClientBuilder {
    store: Arc<dyn LeaseStore>,
    holder: Option<HolderId>,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<dyn Observer>>,
    close_grace: Duration,
    runtime: Option<Handle>,
}

impl ClientBuilder {
    pub(crate) fn new(store: Arc<dyn LeaseStore>) -> Self {
        Self {
            store,
            holder: None,
            clock: Arc::new(SystemClock),
            observers: Vec::new(),
            close_grace: Duration::from_secs(5),
            runtime: None,
        }
    }

    /// Who the client is to others. Default: [`HolderId::random`]. Two clients that are alive at a time must not share one.
    pub fn holder(self, holder: HolderId) -> Self {
        Self { holder: Some(holder), ..self }
    }

    /// The clock by which the client measures and waits: another one in tests and simulations. Default: [`SystemClock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Adds an observer, which sees all events of the client. There may be several.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// How long [`LeaseClient::close`] gives scopes of exclusive work to end by themselves. Default: 5 seconds; zero is
    /// allowed.
    pub fn close_grace(self, close_grace: Duration) -> Self {
        Self { close_grace, ..self }
    }

    /// The runtime on which the client works: the one that lives longest. Default: the one on which it is built, or if that is
    /// none, the one of its first call.
    pub fn runtime(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// The client.
    #[must_use]
    pub fn build(self) -> LeaseClient {
        let holder = self.holder.unwrap_or_else(HolderId::random);
        let (events, home) = (Events::new(self.observers), Home::new(self.runtime));
        LeaseClient::of(Core::new(self.store, holder, self.clock, home, events, self.close_grace))
    }
}
