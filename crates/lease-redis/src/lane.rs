//! Clients of the driver, each with its one connection, and when that is left.

use std::{
    future::Future,
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
    runtime::{self, Handle},
    sync::broadcast::{Receiver, error::TryRecvError},
};

use crate::cluster::Cluster;

/// How long a client of the application stays at a replica.
const PATIENCE_WITH_A_REPLICA: Duration = Duration::from_secs(1);

/// The clients of a store.
pub(crate) enum Lanes {
    Own(OwnLanes),
    Cluster(Box<Cluster>),
    /// The application's: on the runtime that it has connected them on.
    Borrowed(Vec<Arc<Lane>>),
}

/// A client of the store's own for each runtime that calls: a connection that belongs to another one is of no use when that
/// idles or has ended.
pub(crate) struct OwnLanes {
    client: Client,
    of_runtimes: Mutex<Vec<(runtime::Id, Arc<Lane>)>>,
}

impl OwnLanes {
    /// With the first one, connected on this runtime.
    pub(crate) fn new(client: Client, first: Lane) -> Self {
        let first = (Handle::current().id(), Arc::new(first));
        Self { client, of_runtimes: Mutex::new(vec![first]) }
    }

    /// Made at the first call. Outside a runtime, where nothing can be called, any.
    pub(crate) fn of_this_runtime(&self) -> Arc<Lane> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut lanes = self.of_runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lanes.last().map(|(_, lane)| Arc::clone(lane));
        let found = lanes.iter().find(|(id, lane)| here.is_none_or(|here| here == *id) && !lane.has_ended());
        if let Some((_, lane)) = found {
            return Arc::clone(lane);
        }
        match (here, last) {
            (None, Some(last)) => last,
            (None, None) => Arc::new(Lane::new(self.client.clone(), None)),
            (Some(here), _) => {
                lanes.retain(|(_, lane)| !lane.has_ended());
                let client = self.client.clone_new();
                let task = client.connect();
                let lane = Arc::new(Lane::new(client, Some(task)));
                lanes.push((here, Arc::clone(&lane)));
                lane
            }
        }
    }
}

/// A client and, where it is the store's own, the task that keeps its connections.
pub(crate) struct Lane {
    state: Mutex<State>,
    pub(crate) is_own: bool,
    /// The generation whose server was looked at.
    looked_at: AtomicU64,
    /// Whether the last that it led to was a replica.
    is_refused: AtomicBool,
    /// Whether somebody is finding out if the connection hangs, or replacing it.
    is_probed: AtomicBool,
}

struct State {
    client: Client,
    task: Option<ConnectHandle>,
    /// The driver's word of each new connection, and how many there have been.
    connections: Receiver<Server>,
    generation: u64,
    /// The generation after the last one that was left on purpose.
    left: u64,
}

impl Lane {
    /// With the task of a client of the store's own.
    pub(crate) fn new(client: Client, task: Option<ConnectHandle>) -> Self {
        let (is_own, connections) = (task.is_some(), client.reconnect_rx());
        let state = Mutex::new(State { client, task, connections, generation: 0, left: 0 });
        Self {
            state,
            is_own,
            looked_at: AtomicU64::new(u64::MAX),
            is_refused: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
        }
    }

    /// Another number as soon as there is another connection.
    pub(crate) fn generation(&self) -> u64 {
        let mut state = self.lock();
        loop {
            match state.connections.try_recv() {
                Ok(_) => state.generation += 1,
                Err(TryRecvError::Lagged(missed)) => state.generation += missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return state.generation,
            }
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.lock().client.clone()
    }

    /// Whether the task of the store's own client has ended, with its runtime or since the client was closed.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().task.as_ref().is_some_and(ConnectHandle::is_finished)
    }

    /// The generation, if its server was not looked at.
    pub(crate) fn not_looked_at(&self) -> Option<u64> {
        let generation = self.generation();
        (self.looked_at.load(Ordering::Relaxed) != generation).then_some(generation)
    }

    /// It led to a server that may write.
    pub(crate) fn was_answered(&self) {
        self.is_refused.store(false, Ordering::Relaxed);
    }

    /// The server behind this connection was looked at.
    pub(crate) fn was_looked_at(&self, generation: u64) {
        self.looked_at.store(generation, Ordering::Relaxed);
    }

    /// Finds out in the background whether the connection hangs, and replaces it if so.
    fn probe(self: &Arc<Self>, options: Options) {
        self.in_background(move |client| async move {
            let answer = client.with_options(&options).ping::<Value>(None).await;
            if answer.is_err_and(|error| *error.kind() == DriverErrorKind::Timeout) && client.is_connected() {
                tracing::warn!(store = crate::STORE, "a connection hangs, and is replaced");
                let _ = client.force_reconnection().await;
            }
        });
    }

    /// It leads to a replica. A client of the store's own leaves it at once. One of the application has other commands under
    /// way, and leaves it when it is still one after a while.
    pub(crate) fn was_refused(self: &Arc<Self>) {
        if self.is_own {
            return self.leave(self.generation());
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_refused.swap(true, Ordering::Relaxed) {
            return;
        }
        let (lane, generation) = (Arc::clone(self), self.generation());
        runtime.spawn(async move {
            let clock = SystemClock;
            clock.sleep_until(clock.now() + PATIENCE_WITH_A_REPLICA).await;
            if lane.is_refused.swap(false, Ordering::Relaxed) {
                lane.leave(generation);
            }
        });
    }

    /// Ends this connection in the background, if it still is the one; the driver makes another one.
    pub(crate) fn leave(&self, generation: u64) {
        let Ok(runtime) = Handle::try_current() else { return };
        let is_current = self.generation() == generation;
        let mut state = self.lock();
        if is_current && state.left <= generation {
            state.left = generation + 1;
            let client = state.client.clone();
            runtime.spawn(async move { client.force_reconnection().await });
        }
    }

    /// Outside a runtime nothing happens; the next call that hangs is inside one.
    fn in_background<F: Future<Output = ()> + Send>(self: &Arc<Self>, work: impl FnOnce(Client) -> F + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_probed.swap(true, Ordering::SeqCst) {
            let probed = Probed(Arc::clone(self));
            let client = self.client();
            runtime.spawn(async move {
                let _probed = probed;
                work(client).await;
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The application's own client lives on.
        if let Some(task) = self.lock().task.take() {
            task.abort();
        }
    }
}

/// Says at its end, however that comes, that nobody is finding out any more.
struct Probed(Arc<Lane>);

impl Drop for Probed {
    fn drop(&mut self) {
        self.0.is_probed.store(false, Ordering::SeqCst);
    }
}

/// A call under way. Dropped before its end, it was abandoned.
pub(crate) struct Call<'a> {
    pub(crate) lane: &'a Arc<Lane>,
    pub(crate) client: &'a Client,
    /// How the connection that it is on is probed then.
    pub(crate) probe: Option<Options>,
}

impl Call<'_> {
    pub(crate) fn finish(mut self) {
        self.probe = None;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take().filter(|_| self.client.is_connected()) {
            self.lane.probe(probe);
        }
    }
}
