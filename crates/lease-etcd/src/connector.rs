//! Makes a connection: once for all callers that wait for it, and to the end, even if they give up meanwhile.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use etcd_client::{Client, ConnectOptions};
use lease_core::{Clock, ErrorKind, Moment};
use tokio::runtime;

use crate::{
    error::{Access, Cure, Failure, classify_while_connecting, store_error, timed_out},
    slots::{Driver, Slots},
};

const OPERATION: &str = "connect";

/// The members of a cluster, and how to connect to them.
pub(crate) struct Endpoints {
    pub(crate) urls: Vec<String>,
    /// Has no user: with one, the driver would log in within a call, and so as often as calls are given up.
    pub(crate) options: ConnectOptions,
    pub(crate) user: Option<(String, String)>,
    /// Time limit for the first answer of a server.
    pub(crate) connect_timeout: Duration,
    /// Time limit for a login. A login costs a server much computation, and after the loss of a member it has those of all its
    /// clients to do.
    pub(crate) login_timeout: Duration,
}

/// One attempt to connect to one endpoint, and to log in.
pub(crate) struct Connector {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) slots: Arc<Mutex<Slots>>,
    pub(crate) runtime: runtime::Id,
    pub(crate) number: u64,
    pub(crate) endpoint: usize,
    /// The driver's client of an earlier connection.
    pub(crate) driver: Option<Driver>,
    pub(crate) has_login: bool,
    pub(crate) not_before: Option<Moment>,
}

/// A failed attempt to connect.
struct ConnectFailure {
    failure: Failure,
    /// Minimum pause before the next attempt.
    pause: Duration,
    /// The driver's client, if it can be used again.
    driver: Option<Driver>,
}

/// Pause after an endpoint that does not answer. It is short, because others may answer.
const SHORT_PAUSE: Duration = Duration::from_millis(50);

/// Minimum pause after a failed login.
const LOGIN_PAUSE: Duration = Duration::from_millis(250);

/// The pause doubles with each failure in a row, up to both of these limits.
const MAX_DOUBLINGS: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

impl Connector {
    /// Makes the connection, and records the outcome in the slot.
    pub(crate) async fn run(self) -> Result<Client, Failure> {
        if let Some(moment) = self.not_before {
            self.clock.sleep_until(moment).await;
        }
        let slots = || self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match self.connect().await {
            Ok(driver) => {
                let client = driver.client.clone();
                slots().connected(self.runtime, self.number, driver);
                Ok(client)
            }
            Err(ConnectFailure { failure, pause, driver }) => {
                tracing::warn!(endpoint = self.url(), reason = %failure.error, "etcd endpoint left: no connection");
                let now = self.clock.now();
                slots().failed(self.runtime, self.number, failure.clone(), driver, |failures| {
                    let doubled = pause.saturating_mul(2_u32.saturating_pow(failures.min(MAX_DOUBLINGS)));
                    now + doubled.min(LONGEST_PAUSE).mul_f64(rand::random_range(0.5..1.5))
                });
                Err(failure)
            }
        }
    }

    fn url(&self) -> &str {
        &self.endpoints.urls[self.endpoint % self.endpoints.urls.len()]
    }

    async fn connect(&self) -> Result<Driver, ConnectFailure> {
        let driver = self.attach().await?;
        let Some(user) = self.endpoints.user.clone().filter(|_| !self.has_login) else { return Ok(driver) };
        let mut client = driver.client.clone();
        let began = self.clock.now();
        let login = async { client.update_user(Some(user)).await };
        match self.within(self.endpoints.login_timeout, login).await {
            Ok(()) => Ok(driver),
            // An operator has switched authentication off. The server then needs no token, but still refuses an old one.
            Err(failure) if failure.cure == Cure::NoLogin => {
                tracing::warn!("etcd does not check who its clients are: authentication is switched off");
                drop(client.update_user(None).await);
                Ok(driver)
            }
            Err(failure) => {
                // As long as the login took: a server that is slow has many logins to do.
                let pause = self.clock.now().saturating_since(began).max(LOGIN_PAUSE);
                Err(ConnectFailure { failure, pause, driver: Some(driver) })
            }
        }
    }

    /// Attaches the driver's client to this endpoint alone. Returns once the server has answered anything, which shows that
    /// the connection works.
    async fn attach(&self) -> Result<Driver, ConnectFailure> {
        let failed = |driver: Option<Driver>| {
            move |error| {
                let failure = classify_while_connecting(OPERATION, error);
                ConnectFailure { failure, pause: SHORT_PAUSE, driver }
            }
        };
        let url = self.url();
        let client = match &self.driver {
            Some(driver) if driver.is_attached_to(self.number) => return Ok(driver.clone()),
            Some(Driver { client, attached }) => {
                if let Some((_, before)) = attached {
                    // Calls that are in flight on the old endpoint go on to their ends.
                    client.remove_endpoint(before).await.map_err(failed(None))?;
                }
                client.add_endpoint(url).await.map_err(failed(None))?;
                client.clone()
            }
            None => Client::connect([url], Some(self.endpoints.options.clone())).await.map_err(failed(None))?,
        };
        let driver = Driver { client, attached: Some((self.number, url.to_owned())) };
        let mut maintenance = driver.client.maintenance_client();
        match self.within(self.endpoints.connect_timeout, async move { maintenance.status().await }).await {
            Err(failure) if failure.cure == Cure::Reconnect => {
                Err(ConnectFailure { failure, pause: SHORT_PAUSE, driver: Some(driver) })
            }
            Ok(status) if status.is_learner() => {
                let message = "this member is a learner, which does not serve clients yet";
                let error = store_error(ErrorKind::Unavailable, OPERATION, message);
                let failure = Failure { error, cure: Cure::Reconnect };
                Err(ConnectFailure { failure, pause: SHORT_PAUSE, driver: Some(driver) })
            }
            Ok(status) => {
                if !status.errors().is_empty() {
                    let (endpoint, alarms) = (url, status.errors().join(", "));
                    tracing::warn!(
                        endpoint,
                        alarms,
                        "etcd is in trouble: with NOSPACE nothing can be acquired or renewed"
                    );
                }
                Ok(driver)
            }
            // Any other answer, even an error, shows that the server was reached.
            Err(_) => Ok(driver),
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            outcome = call => outcome.map_err(|error| classify_while_connecting(OPERATION, error)),
            () = self.clock.sleep_until(self.clock.now() + limit) => Err(timed_out(OPERATION, Access::Read)),
        }
    }
}

/// Returns the failure of a call when there is no runtime on which a connection could live.
pub(crate) fn no_runtime() -> Failure {
    let message =
        "there is no tokio runtime to connect on, or it has ended: make the call within a running tokio runtime";
    Failure { error: store_error(ErrorKind::Unavailable, OPERATION, message), cure: Cure::None }
}
