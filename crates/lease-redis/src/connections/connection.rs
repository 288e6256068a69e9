//! One multiplexed connection: a client of the driver, which sends all calls over a single connection and reconnects it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    error::ErrorKind as DriverErrorKind,
    prelude::{ClientLike, EventInterface, Options, Value},
    types::{ConnectHandle, config::Server},
};
use lease_core::{Clock, SystemClock};
use tokio::{
    runtime::Handle,
    sync::broadcast::{Receiver, error::TryRecvError},
};

use crate::STORE;

/// How long a client of the application may stay connected to a replica.
const REPLICA_GRACE: Duration = Duration::from_secs(1);

/// A multiplexed connection. Each time the driver reconnects, its generation rises.
pub(crate) struct Connection {
    state: Mutex<State>,
    is_own: bool,
    /// The generation whose server was checked.
    checked: AtomicU64,
    /// Whether the last answer came from a replica.
    is_at_replica: AtomicBool,
    /// Whether a probe is in flight.
    is_probed: AtomicBool,
}

struct State {
    client: Client,
    /// The background task of a client of the store's own.
    task: Option<ConnectHandle>,
    /// Receives a message for each new connection.
    reconnects: Receiver<Server>,
    generation: u64,
    /// The generation after the last one that was left.
    left: u64,
}

impl Connection {
    /// Wraps a client. `task` is the background task of a client of the store's own.
    pub(crate) fn new(client: Client, task: Option<ConnectHandle>) -> Self {
        let is_own = task.is_some();
        let reconnects = client.reconnect_rx();
        Self {
            state: Mutex::new(State { client, task, reconnects, generation: 0, left: 0 }),
            is_own,
            checked: AtomicU64::new(u64::MAX),
            is_at_replica: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
        }
    }

    /// Returns the number of times that the driver has connected.
    pub(crate) fn generation(&self) -> u64 {
        let mut state = self.lock();
        loop {
            match state.reconnects.try_recv() {
                Ok(_) => state.generation += 1,
                Err(TryRecvError::Lagged(missed)) => state.generation += missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return state.generation,
            }
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.lock().client.clone()
    }

    /// Returns whether the background task of the store's own client has ended, with its runtime or because the client was
    /// closed.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().task.as_ref().is_some_and(ConnectHandle::is_finished)
    }

    /// Returns the generation, if its server was not checked.
    pub(crate) fn unchecked(&self) -> Option<u64> {
        let generation = self.generation();
        (self.checked.load(Ordering::Relaxed) != generation).then_some(generation)
    }

    /// Notes that the server of a generation was checked.
    pub(crate) fn set_checked(&self, generation: u64) {
        self.checked.store(generation, Ordering::Relaxed);
    }

    /// Notes that the server did not answer a check.
    pub(crate) fn set_unchecked(&self) {
        self.checked.store(u64::MAX, Ordering::Relaxed);
    }

    /// Notes an answer of a primary.
    pub(crate) fn is_at_primary(&self) {
        self.is_at_replica.store(false, Ordering::Relaxed);
    }

    /// Notes an answer of a replica. A client of the store's own reconnects at once. A client of the application has other
    /// commands in flight, and reconnects if it is still at a replica after the grace.
    pub(crate) fn leave_replica(self: &Arc<Self>) {
        if self.is_own {
            return self.reconnect(self.generation());
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_at_replica.swap(true, Ordering::Relaxed) {
            return;
        }
        let (connection, generation) = (Arc::clone(self), self.generation());
        runtime.spawn(async move {
            let clock = SystemClock;
            clock.sleep_until(clock.now() + REPLICA_GRACE).await;
            if connection.is_at_replica.swap(false, Ordering::Relaxed) {
                connection.reconnect(generation);
            }
        });
    }

    /// Makes the driver reconnect in the background, unless it has left this generation already.
    pub(crate) fn reconnect(&self, generation: u64) {
        let Ok(runtime) = Handle::try_current() else { return };
        let is_current = self.generation() == generation;
        let mut state = self.lock();
        if is_current && state.left <= generation {
            state.left = generation + 1;
            let client = state.client.clone();
            runtime.spawn(async move { client.force_reconnection().await });
        }
    }

    /// Sends a `PING` in the background, and makes the driver reconnect if it is not answered. Does nothing outside a runtime;
    /// the next call that hangs is inside one.
    fn probe(self: &Arc<Self>, options: Options) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_probed.swap(true, Ordering::SeqCst) {
            return;
        }
        let probe = Probe(Arc::clone(self));
        runtime.spawn(async move {
            let client = probe.0.client();
            let answer = client.with_options(&options).ping::<Value>(None).await;
            if answer.is_err_and(|error| *error.kind() == DriverErrorKind::Timeout) && client.is_connected() {
                tracing::warn!(store = STORE, "a connection hangs: reconnecting");
                let _ = client.force_reconnection().await;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A client of the application stays connected.
        if let Some(task) = self.lock().task.take() {
            task.abort();
        }
    }
}

/// A probe in flight; it ends when this is dropped.
struct Probe(Arc<Connection>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.is_probed.store(false, Ordering::SeqCst);
    }
}

/// A call in flight. If it is dropped before it finishes, the call was abandoned, and the connection is probed (S24).
pub(crate) struct CallGuard<'a> {
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) client: &'a Client,
    /// The options of the probe; `None` once the call has finished.
    pub(crate) probe: Option<Options>,
}

impl CallGuard<'_> {
    pub(crate) fn finish(mut self) {
        self.probe = None;
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take().filter(|_| self.client.is_connected()) {
            self.connection.probe(probe);
        }
    }
}
