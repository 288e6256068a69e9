//! The connection in use, and how calls are made on it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use etcd_client::{Client, ConnectOptions};
use futures::future::BoxFuture;
use lease_core::{Clock, ErrorKind, Moment};
use tokio::sync::watch;

use crate::error::{Access, Cure, Failure, classify, timed_out};

/// One connection at a time, to one member of the cluster at a time.
///
/// The driver spreads its calls over all endpoints, dead ones too, so each endpoint here has a driver's client of its own. A
/// call that fails with its connection, has no answer in time, or is abandoned by its caller, ends the use of that
/// connection: the next call goes to the next endpoint on a new one, and the old one closes when the calls that still
/// are on it have ended (S24).
pub(crate) struct Connections {
    source: Source,
    clock: Arc<dyn Clock>,
    request_timeout: Duration,
    current: Mutex<Current>,
    /// The number of the connection in use, for streams that must move with it.
    number: watch::Sender<u64>,
}

/// What a call of the driver returns, once it has what it needs.
pub(crate) type Reply<T> = BoxFuture<'static, Result<T, etcd_client::Error>>;

/// Where connections come from.
pub(crate) enum Source {
    /// The application's own client: it is used as it is, for ever.
    Given(Box<Client>),
    /// These endpoints, in turn.
    Endpoints { urls: Vec<String>, options: Box<ConnectOptions> },
}

#[derive(Default)]
struct Current {
    number: u64,
    endpoint: usize,
    client: Option<Client>,
}

impl Connections {
    pub(crate) fn new(source: Source, clock: Arc<dyn Clock>, request_timeout: Duration) -> Self {
        let client = match &source {
            Source::Given(client) => Some((**client).clone()),
            Source::Endpoints { .. } => None,
        };
        let current = Mutex::new(Current { client, ..Current::default() });
        Self { source, clock, request_timeout, current, number: watch::Sender::new(0) }
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
        let deadline = self.clock.now() + self.request_timeout;
        let share = self.request_timeout / u32::try_from(self.endpoints()).unwrap_or(u32::MAX);
        let mut attempts = self.endpoints().max(2);
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
    ) -> Result<T, Failure> {
        // An abandoned call leaves its connection behind (S24); so does one that fails with it.
        let mut unfinished = Unfinished { connections: self, number: self.lock().number };
        let mut access_now = Access::Read;
        let outcome = {
            let work = async {
                let client = self.client(operation, unfinished.number).await?;
                access_now = access;
                call(client).await.map_err(|error| classify(operation, access, error))
            };
            tokio::select! {
                biased;
                outcome = work => Some(outcome),
                () = self.clock.sleep_until(deadline) => None,
            }
        };
        let outcome = outcome.unwrap_or_else(|| Err(timed_out(operation, access_now)));
        if !matches!(&outcome, Err(Failure { cure: Cure::Reconnect, .. })) {
            unfinished.number = NONE;
        }
        outcome
    }

    /// The client for the connection with this number, made if need be.
    async fn client(&self, operation: &'static str, number: u64) -> Result<Client, Failure> {
        let url = {
            let current = self.lock();
            match (&current.client, &self.source) {
                (Some(client), _) => return Ok(client.clone()),
                (None, Source::Given(client)) => return Ok((**client).clone()),
                (None, Source::Endpoints { urls, .. }) => urls[current.endpoint % urls.len()].clone(),
            }
        };
        let client = self.connect(operation, &url).await?;
        let mut current = self.lock();
        if current.number == number {
            // Somebody else may have been faster: then that one is used by all.
            return Ok(current.client.get_or_insert(client).clone());
        }
        Ok(client)
    }

    /// A client for this endpoint alone. Without a user it connects with its first call; with one it logs in now.
    async fn connect(&self, operation: &'static str, url: &str) -> Result<Client, Failure> {
        match &self.source {
            Source::Given(client) => Ok((**client).clone()),
            Source::Endpoints { options, .. } => Client::connect([url], Some((**options).clone()))
                .await
                .map_err(|error| classify(operation, Access::Read, error)),
        }
    }

    /// Uses the connection with this number for nothing more.
    pub(crate) fn leave(&self, number: u64) {
        if matches!(self.source, Source::Given(_)) {
            return;
        }
        let mut current = self.lock();
        if current.number == number {
            current.number += 1;
            current.endpoint += 1;
            current.client = None;
            self.number.send_replace(current.number);
        }
    }

    /// The number of the connection in use, and its changes.
    pub(crate) fn numbers(&self) -> watch::Receiver<u64> {
        self.number.subscribe()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn endpoints(&self) -> usize {
        match &self.source {
            Source::Given(_) => 1,
            Source::Endpoints { urls, .. } => urls.len(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither URLs nor options: both may have a password.
        f.debug_struct("Connections").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

/// No connection has it.
const NONE: u64 = u64::MAX;

/// A call under way. Dropped before its end, it leaves its connection.
struct Unfinished<'a> {
    connections: &'a Connections,
    number: u64,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.connections.leave(self.number);
    }
}
