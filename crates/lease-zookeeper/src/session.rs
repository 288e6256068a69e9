//! The session with the servers, and a new one after its end.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lease_core::{Clock, Error, ErrorKind, Moment, Result, SystemClock};
use tokio::task::JoinHandle;
use zookeeper_client::{self as zk, Client, Connector, SessionState};

use crate::error::{Access, failure, store_error};

/// Where sessions come from.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) connector: Connector,
    pub(crate) addresses: String,
    pub(crate) timeout: Duration,
}

impl Origin {
    /// Begins a session.
    pub(crate) async fn connect(&self) -> Result<Client> {
        tokio::select! {
            biased;
            outcome = self.connector.clone().connect(&self.addresses) => {
                // The addresses were checked, and may be told: they contain no password.
                outcome.map_err(|cause| failure(cause, "connect", Access::Read, &self.addresses))
            }
            () = SystemClock.sleep_until(SystemClock.now() + self.timeout) => {
                let message = format!("no server of {} has begun a session within {:?}", self.addresses, self.timeout);
                Err(store_error(ErrorKind::Unavailable, "connect", message))
            }
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connector has the credentials.
        f.debug_struct("Origin")
            .field("addresses", &self.addresses)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The session that all calls share. The driver connects it again when a connection breaks. After its end, the first call begins
/// a new one in the background. No lease depends on a session.
pub(crate) struct Session {
    /// `None` if the application has brought the client.
    origin: Option<Origin>,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    /// The driver's task has ended without saying so: its runtime was shut down.
    is_dead: bool,
    renewal: Option<Renewal>,
    /// Why there is no new session yet.
    failure: Option<Error>,
}

struct Renewal {
    task: JoinHandle<()>,
    began: Moment,
}

impl Session {
    pub(crate) fn new(client: Client, origin: Option<Origin>) -> Arc<Self> {
        let current = Mutex::new(Current { client, is_dead: false, renewal: None, failure: None });
        Arc::new(Self { origin, current })
    }

    /// Returns a client that can send now. What it sends while it is disconnected would wait in a queue without a limit, and be done
    /// much later.
    pub(crate) fn client(self: &Arc<Self>, operation: &'static str) -> Result<Client> {
        let mut current = self.lock();
        match current.client.state() {
            SessionState::SyncConnected if !current.is_dead => return Ok(current.client.clone()),
            SessionState::Disconnected if !current.is_dead => {
                let message = "the connection is broken, and the driver connects again: try again";
                return Err(store_error(ErrorKind::Unavailable, operation, message));
            }
            _ => {}
        }
        let Some(origin) = &self.origin else {
            let message = "the session of the application's client has ended: open the store with a new client";
            return Err(store_error(ErrorKind::Unavailable, operation, message));
        };
        self.renew(&mut current, origin.clone());
        Err(match &current.failure {
            Some(error) => {
                let message = format!("the session has ended, and there is no new one yet: {error}");
                store_error(error.kind(), operation, message).with_source(error.clone())
            }
            None => store_error(
                ErrorKind::Unavailable,
                operation,
                "the session has ended, and a new one is being begun: try again",
            ),
        })
    }

    /// Begins a new session, unless that is in progress.
    fn renew(self: &Arc<Self>, current: &mut Current, origin: Origin) {
        let now = SystemClock.now();
        // Its runtime may have been stopped, or nobody drives it.
        let is_in_progress = current.renewal.as_ref().is_some_and(|renewal| {
            !renewal.task.is_finished() && now.saturating_since(renewal.began) < origin.timeout * 2
        });
        if is_in_progress {
            return;
        }
        let session = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            let outcome = origin.connect().await;
            let Some(session) = session.upgrade() else { return };
            let mut current = session.lock();
            match outcome {
                Ok(client) => {
                    tracing::info!(target: "lease", store = crate::STORE, "a new session has begun after the end of the last one");
                    *current = Current { client, is_dead: false, renewal: None, failure: None };
                }
                Err(error) => {
                    tracing::warn!(target: "lease", store = crate::STORE, %error, "the session has ended, and there is no new one yet");
                    current.failure = Some(error);
                }
            }
        });
        current.renewal = Some(Renewal { task, began: now });
    }

    /// Returns the error of a request that this client has sent.
    pub(crate) fn failed(
        &self,
        client: &Client,
        cause: zk::Error,
        operation: &'static str,
        access: Access,
        path: &str,
    ) -> Error {
        if matches!(cause, zk::Error::UnexpectedError(_) | zk::Error::ClientClosed) {
            let mut current = self.lock();
            if current.client.session_id() == client.session_id() {
                current.is_dead = true;
            }
        }
        failure(cause, operation, access, path)
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.lock();
        f.debug_struct("Session")
            .field("origin", &self.origin)
            .field("id", &current.client.session_id())
            .field("state", &current.client.state())
            .finish()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(renewal) = &self.lock().renewal {
            renewal.task.abort();
        }
    }
}
