//! Makes calls, each on the connection in use.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use etcd_client::Client;
use futures::{FutureExt, future::BoxFuture};
use lease_core::{Clock, ErrorKind, Moment};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    connector::{Connector, Endpoints, no_runtime},
    error::{Access, Cure, Failure, classify, timed_out},
    history::History,
    slots::{SharedConnect, Slot, Slots},
};

/// The connections of a store: one at a time per runtime, to one member of the cluster.
///
/// The driver spreads its calls over all endpoints, including those that do not answer, so its client has one endpoint only
/// here. If a call fails with its connection, is not answered in time, or is abandoned by its caller, the connection is left:
/// the next call goes to the next endpoint on a new connection, and the old one closes when the calls in flight on it have
/// ended (S24).
///
/// A connection is made once for all callers that wait for it, in a task that no caller can cancel. A caller that gives up
/// before its call was sent leaves no connection. Otherwise a server with slow logins would never complete one.
pub(crate) struct Connections {
    source: Source,
    clock: Arc<dyn Clock>,
    request_timeout: Duration,
    slots: Arc<Mutex<Slots>>,
    /// The number of the connection that was left last. Streams on it may be dead as well.
    left: watch::Sender<u64>,
    history: History,
}

/// The future of a call of the driver.
pub(crate) type Reply<T> = BoxFuture<'static, Result<T, etcd_client::Error>>;

/// The source of connections.
pub(crate) enum Source {
    /// The application's client. It is never replaced.
    Given(Box<Client>),
    /// These endpoints, in turn.
    Endpoints(Arc<Endpoints>),
}

/// A connection to make a call on.
#[derive(Clone)]
struct Connection {
    number: u64,
    login: u64,
    client: Client,
}

impl Connections {
    pub(crate) fn new(source: Source, clock: Arc<dyn Clock>, request_timeout: Duration) -> Self {
        let endpoint = match &source {
            Source::Given(_) => 0,
            // A random start, so that processes with the same list do not all use one member, and do not move together.
            Source::Endpoints(endpoints) => rand::random_range(0..endpoints.urls.len().max(1)),
        };
        let slots = Arc::new(Mutex::new(Slots::starting_at(endpoint)));
        Self { source, clock, request_timeout, slots, left: watch::Sender::new(0), history: History::default() }
    }

    /// Makes a call. A call that was certainly not executed is tried once on every endpoint while time remains.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the call may have been executed. Its connection is not used for further calls.
    pub(crate) async fn call<T>(
        &self,
        operation: &'static str,
        access: Access,
        call: impl Fn(Client) -> Reply<T> + Send + Sync,
    ) -> Result<T, Failure> {
        self.numbered_call(operation, access, call).await.map(|(_, answer)| answer)
    }

    /// Makes a call as [`Connections::call`] does. Returns the number of the connection with the answer.
    pub(crate) async fn numbered_call<T>(
        &self,
        operation: &'static str,
        access: Access,
        call: impl Fn(Client) -> Reply<T> + Send + Sync,
    ) -> Result<(u64, T), Failure> {
        let deadline = self.clock.now() + self.request_timeout;
        let share = self.request_timeout / u32::try_from(self.endpoints()).unwrap_or(u32::MAX);
        let mut attempts = self.endpoints().max(2);
        let mut may_log_in = true;
        loop {
            let attempt_deadline = match access {
                // An endpoint that does not answer leaves time for the others.
                Access::Read => deadline.min(self.clock.now() + share),
                Access::Write => deadline,
            };
            let failure = match self.call_once(operation, access, attempt_deadline, &call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if failure.cure == Cure::Login && may_log_in && self.has_user() {
                // The call was not executed. The next attempt waits for the login.
                may_log_in = false;
                continue;
            }
            attempts -= 1;
            // A call that may have been executed is repeated only by the caller, as the same attempt (S13).
            let is_settled = failure.cure != Cure::Reconnect || failure.error.kind() == ErrorKind::Indeterminate;
            if is_settled || attempts == 0 || self.clock.now() >= deadline {
                return Err(failure);
            }
        }
    }

    async fn call_once<T>(
        &self,
        operation: &'static str,
        access: Access,
        deadline: Moment,
        call: &(impl Fn(Client) -> Reply<T> + Send + Sync),
    ) -> Result<(u64, T), Failure> {
        // An abandoned call leaves its connection (S24), and so does a call that fails with it. A call that only waits for the
        // connection does not.
        let mut unfinished = Unfinished { connections: self, number: NONE, reason: None };
        let connected = tokio::select! {
            biased;
            connection = self.connection() => Some(connection),
            () = self.clock.sleep_until(deadline) => None,
        };
        let Some(connected) = connected else { return Err(self.not_connected(operation)) };
        let connection = connected?;
        let (number, login) = (connection.number, connection.login);
        unfinished.number = number;
        let outcome = tokio::select! {
            biased;
            outcome = call(connection.client) => outcome.map_err(|error| classify(operation, access, error)),
            () = self.clock.sleep_until(deadline) => Err(timed_out(operation, access)),
        };
        match &outcome {
            Err(Failure { cure: Cure::Reconnect, error }) => unfinished.reason = Some(error.to_string()),
            Err(Failure { cure: Cure::Login, .. }) => {
                unfinished.number = NONE;
                self.forget_login(number, login);
            }
            _ => unfinished.number = NONE,
        }
        outcome.map(|answer| (number, answer))
    }

    /// Returns the connection of this runtime. Makes one if there is none.
    async fn connection(&self) -> Result<Connection, Failure> {
        let endpoints = match &self.source {
            Source::Given(client) => return Ok(Connection { number: NONE, login: 0, client: (**client).clone() }),
            Source::Endpoints(endpoints) => endpoints,
        };
        let runtime = Handle::try_current().map_err(|_| no_runtime())?;
        let (number, login, client) = {
            let mut slots = self.lock();
            let endpoint = slots.endpoint;
            let slot = slots.slot_of(runtime.id());
            match &slot.client {
                Some(client) if !matches!(client.peek(), Some(Err(_))) => (slot.number, slot.login, client.clone()),
                _ => {
                    // If only the login is missing, it is made on the existing connection.
                    if !slot.driver.as_ref().is_some_and(|driver| driver.is_attached_to(slot.number)) {
                        slot.endpoint = endpoint;
                    }
                    let client = self.connect(Arc::clone(endpoints), slot, &runtime);
                    (slot.number, slot.login, slot.client.insert(client).clone())
                }
            }
        };
        Ok(Connection { number, login, client: client.await? })
    }

    fn connect(&self, endpoints: Arc<Endpoints>, slot: &Slot, runtime: &Handle) -> SharedConnect {
        let connector = Connector {
            endpoints,
            clock: Arc::clone(&self.clock),
            slots: Arc::clone(&self.slots),
            runtime: slot.runtime,
            number: slot.number,
            endpoint: slot.endpoint,
            driver: slot.driver.clone(),
            has_login: slot.has_login,
            not_before: slot.not_before,
        };
        let task = runtime.spawn(connector.run());
        async move { task.await.unwrap_or_else(|_| Err(no_runtime())) }.boxed().shared()
    }

    /// Returns the failure of a call whose time ended before there was a connection: the last failure to connect, if any.
    fn not_connected(&self, operation: &'static str) -> Failure {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let slots = self.lock();
        let slot = slots.slots.iter().find(|slot| Some(slot.runtime) == runtime);
        slot.and_then(|slot| slot.last_failure.clone()).unwrap_or_else(|| timed_out(operation, Access::Read))
    }

    /// Gives up the login, because the server has refused its token. The next call logs in again.
    fn forget_login(&self, number: u64, login: u64) {
        let mut slots = self.lock();
        if let Some(slot) = slots.slots.iter_mut().find(|slot| (slot.number, slot.login) == (number, login))
            && !slot.is_connecting()
        {
            slot.login += 1;
            slot.has_login = false;
            slot.client = None;
        }
    }

    /// Uses the connection with this number for no further calls, and logs the reason.
    pub(crate) fn leave(&self, number: u64, reason: &str) {
        let Source::Endpoints(endpoints) = &self.source else { return };
        let left = self.lock().leave(number);
        if let Some(endpoint) = left {
            let endpoint = &endpoints.urls[endpoint % endpoints.urls.len()];
            tracing::warn!(%endpoint, reason, "etcd endpoint left");
            self.left.send_replace(number);
        }
    }

    /// Returns whether this connection was not left.
    pub(crate) fn is_in_use(&self, number: u64) -> bool {
        matches!(self.source, Source::Given(_)) || self.lock().slots.iter().any(|slot| slot.number == number)
    }

    /// Returns a receiver of the number of the connection that was left last.
    pub(crate) fn left(&self) -> watch::Receiver<u64> {
        self.left.subscribe()
    }

    /// Returns the endpoint that is in use, or that the next call will use.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        let Source::Endpoints(endpoints) = &self.source else { return None };
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let slots = self.lock();
        let slot = slots.slots.iter().find(|slot| Some(slot.runtime) == runtime && slot.client.is_some());
        let endpoint = slot.map_or(slots.endpoint, |slot| slot.endpoint);
        Some(&endpoints.urls[endpoint % endpoints.urls.len()])
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn has_user(&self) -> bool {
        matches!(&self.source, Source::Endpoints(endpoints) if endpoints.user.is_some())
    }

    fn endpoints(&self) -> usize {
        match &self.source {
            Source::Given(_) => 1,
            Source::Endpoints(endpoints) => endpoints.urls.len(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Prints neither the options nor the user: both may contain a password.
        f.debug_struct("Connections").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

/// A number that no connection has.
pub(crate) const NONE: u64 = u64::MAX;

/// A call in flight. Leaves its connection if it is dropped before its end.
struct Unfinished<'a> {
    connections: &'a Connections,
    number: u64,
    reason: Option<String>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.number != NONE {
            self.connections.leave(self.number, self.reason.as_deref().unwrap_or("a call was abandoned by its caller"));
        }
    }
}
