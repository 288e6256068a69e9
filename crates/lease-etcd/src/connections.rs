//! The connection in use, and how calls are made on it.

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

/// One connection at a time, to one member of the cluster at a time.
///
/// The driver spreads its calls over all endpoints, dead ones too, so its client here has one endpoint only. A call that
/// fails with its connection, has no answer in time, or is abandoned by its caller, ends the use of that connection: the
/// next call goes to the next endpoint on a new one, and the old one closes when the calls that still are on it have
/// ended (S24).
///
/// A connection is made once, for all who wait for it, in a task that nobody who waits can cut short: who gives up before
/// anything of his own was sent has nothing to leave. Else a server that is slow to let clients in would never let any in.
pub(crate) struct Connections {
    source: Source,
    clock: Arc<dyn Clock>,
    request_timeout: Duration,
    slots: Arc<Mutex<Slots>>,
    /// The number of the connection that was left last, for streams that may be dead with it.
    left: watch::Sender<u64>,
    history: History,
}

/// What a call of the driver returns, once it has what it needs.
pub(crate) type Reply<T> = BoxFuture<'static, Result<T, etcd_client::Error>>;

/// Where connections come from.
pub(crate) enum Source {
    /// The application's own client: it is used as it is, for ever.
    Given(Box<Client>),
    /// These endpoints, in turn.
    Endpoints(Arc<Endpoints>),
}

/// What calls are made on.
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
            // So that not all processes with the same list are on one member, and move together.
            Source::Endpoints(endpoints) => rand::random_range(0..endpoints.urls.len().max(1)),
        };
        let slots = Arc::new(Mutex::new(Slots::starting_at(endpoint)));
        Self { source, clock, request_timeout, slots, left: watch::Sender::new(0), history: History::default() }
    }

    /// Makes a call. One that surely was not done is tried on every endpoint once, as far as the time goes.
    ///
    /// # Cancel safety
    ///
    /// When it is dropped, the call may have been done, and its connection is not used for further calls.
    pub(crate) async fn call<T>(
        &self,
        operation: &'static str,
        access: Access,
        call: impl Fn(Client) -> Reply<T> + Send + Sync,
    ) -> Result<T, Failure> {
        self.numbered_call(operation, access, call).await.map(|(_, answer)| answer)
    }

    /// Makes a call as [`Connections::call`] does, and tells the number of the connection that has answered.
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
                // Nothing was done, and the next attempt waits for the login.
                may_log_in = false;
                continue;
            }
            attempts -= 1;
            // What may have been done is repeated by nobody but the caller, as the same attempt (S13).
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
        // An abandoned call leaves its connection behind (S24); so does one that fails with it. Who only waits for the
        // connection leaves nothing.
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

    /// The connection of this runtime, made if need be.
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
                    // A login alone is made where the connection is.
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

    /// No connection stands yet: if the last one could not be made, that is why.
    fn not_connected(&self, operation: &'static str) -> Failure {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let slots = self.lock();
        let slot = slots.slots.iter().find(|slot| Some(slot.runtime) == runtime);
        slot.and_then(|slot| slot.last_failure.clone()).unwrap_or_else(|| timed_out(operation, Access::Read))
    }

    /// The server does not know the token of this login any more: the next call logs in anew.
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

    /// Uses the connection with this number for nothing more.
    pub(crate) fn leave(&self, number: u64, reason: &str) {
        let Source::Endpoints(endpoints) = &self.source else { return };
        let left = self.lock().leave(number);
        if let Some(endpoint) = left {
            let endpoint = &endpoints.urls[endpoint % endpoints.urls.len()];
            tracing::warn!(%endpoint, reason, "etcd endpoint left");
            self.left.send_replace(number);
        }
    }

    /// Whether this connection was not left.
    pub(crate) fn is_in_use(&self, number: u64) -> bool {
        matches!(self.source, Source::Given(_)) || self.lock().slots.iter().any(|slot| slot.number == number)
    }

    /// The number of the connection that was left last: it changes whenever one is.
    pub(crate) fn left(&self) -> watch::Receiver<u64> {
        self.left.subscribe()
    }

    /// The endpoint that is in use, or will be by the next call.
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
        // Neither the options nor the user: both may have a password.
        f.debug_struct("Connections").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

/// No connection has it.
pub(crate) const NONE: u64 = u64::MAX;

/// A call under way. Dropped before its end, it leaves its connection.
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
