//! Making a connection: once for all who wait for it, and to its end, whoever gives up meanwhile.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use etcd_client::{Client, ConnectOptions};
use lease_core::{Clock, ErrorKind, Moment};
use tokio::runtime;

use crate::{
    connections::State,
    error::{Access, Cure, Failure, classify_while_connecting, here, timed_out},
};

const OPERATION: &str = "connect";

/// The members of a cluster, and how they are talked to.
pub(crate) struct Endpoints {
    pub(crate) urls: Vec<String>,
    /// Without the user: the driver would log in within a call, and so as often as calls are given up.
    pub(crate) options: ConnectOptions,
    pub(crate) user: Option<(String, String)>,
    /// How long a server may take to answer at all.
    pub(crate) connect_timeout: Duration,
    /// How long a login may take: the server computes for a while, and does so for all its clients when a member was lost.
    pub(crate) login_timeout: Duration,
}

/// What calls are made on: the driver's client, which keeps its login when it is moved to another endpoint.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) client: Client,
    /// The connection, and the endpoint, that it is attached to.
    attached: Option<(u64, String)>,
}

/// A connection that is being made.
pub(crate) struct Making {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) runtime: runtime::Id,
    pub(crate) number: u64,
    pub(crate) endpoint: usize,
    /// What there was before.
    pub(crate) driver: Option<Driver>,
    pub(crate) has_login: bool,
    pub(crate) not_before: Option<Moment>,
}

impl Driver {
    pub(crate) fn is_attached_to(&self, number: u64) -> bool {
        self.attached.as_ref().is_some_and(|(attached, _)| *attached == number)
    }
}

/// Why a connection could not be made.
pub(crate) struct Unmade {
    pub(crate) failure: Failure,
    /// How long to pause before the next try, at the least.
    pause: Duration,
    /// What has come of the driver's client.
    pub(crate) driver: Option<Driver>,
}

/// After an endpoint that does not answer: there may be others.
const SHORT_PAUSE: Duration = Duration::from_millis(50);

/// After a login that has failed, at the least.
const LOGIN_PAUSE: Duration = Duration::from_millis(250);

/// Pauses double so many times, and up to the longest.
const MOST_DOUBLINGS: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

impl Making {
    /// Makes it, and says in the state what became of it.
    pub(crate) async fn run(self) -> Result<Client, Failure> {
        if let Some(moment) = self.not_before {
            self.clock.sleep_until(moment).await;
        }
        let state = || self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match self.make().await {
            Ok(driver) => {
                let client = driver.client.clone();
                state().made(self.runtime, self.number, driver);
                Ok(client)
            }
            Err(unmade) => {
                let failure = unmade.failure.clone();
                tracing::warn!(endpoint = self.url(), reason = %failure.error, "etcd endpoint left: no connection");
                let (now, pause) = (self.clock.now(), unmade.pause);
                state().not_made(self.runtime, self.number, unmade, |failures| {
                    let doubled = pause.saturating_mul(2_u32.saturating_pow(failures.min(MOST_DOUBLINGS)));
                    now + doubled.min(LONGEST_PAUSE).mul_f64(rand::random_range(0.5..1.5))
                });
                Err(failure)
            }
        }
    }

    fn url(&self) -> &str {
        &self.endpoints.urls[self.endpoint % self.endpoints.urls.len()]
    }

    async fn make(&self) -> Result<Driver, Unmade> {
        let driver = self.attach().await?;
        let Some(user) = self.endpoints.user.clone().filter(|_| !self.has_login) else { return Ok(driver) };
        let mut client = driver.client.clone();
        let began = self.clock.now();
        let login = async { client.update_user(Some(user)).await };
        match self.within(self.endpoints.login_timeout, login).await {
            Ok(()) => Ok(driver),
            // An operator has switched authentication off: nobody is asked who he is, but an old token is refused all the same.
            Err(failure) if failure.cure == Cure::NoLogin => {
                tracing::warn!("etcd does not check who its clients are: authentication is switched off");
                drop(client.update_user(None).await);
                Ok(driver)
            }
            Err(failure) => {
                // As long as the server was busy with it: it is slow because it has many of them.
                let pause = self.clock.now().saturating_since(began).max(LOGIN_PAUSE);
                Err(Unmade { failure, pause, driver: Some(driver) })
            }
        }
    }

    /// The driver's client on this endpoint alone, once the server has said anything: a connection that stands.
    async fn attach(&self) -> Result<Driver, Unmade> {
        let unmade = |driver: Option<Driver>| {
            move |error| {
                let failure = classify_while_connecting(OPERATION, error);
                Unmade { failure, pause: SHORT_PAUSE, driver }
            }
        };
        let url = self.url();
        let client = match &self.driver {
            Some(driver) if driver.is_attached_to(self.number) => return Ok(driver.clone()),
            Some(Driver { client, attached }) => {
                if let Some((_, before)) = attached {
                    // Calls on it go on to their ends.
                    client.remove_endpoint(before).await.map_err(unmade(None))?;
                }
                client.add_endpoint(url).await.map_err(unmade(None))?;
                client.clone()
            }
            None => Client::connect([url], Some(self.endpoints.options.clone())).await.map_err(unmade(None))?,
        };
        let driver = Driver { client, attached: Some((self.number, url.to_owned())) };
        let mut maintenance = driver.client.maintenance_client();
        match self.within(self.endpoints.connect_timeout, async move { maintenance.status().await }).await {
            Err(failure) if failure.cure == Cure::Reconnect => {
                Err(Unmade { failure, pause: SHORT_PAUSE, driver: Some(driver) })
            }
            Ok(status) if status.is_learner() => {
                let message = "this member is a learner, which serves nobody yet";
                let error = here(ErrorKind::Unavailable, OPERATION, message);
                let failure = Failure { error, cure: Cure::Reconnect };
                Err(Unmade { failure, pause: SHORT_PAUSE, driver: Some(driver) })
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
            // Whatever it says, it has been reached.
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

/// There is no runtime any more, or never was one, on which a connection could live.
pub(crate) fn no_runtime() -> Failure {
    let message = "there is no tokio runtime to connect on, or it has ended";
    Failure { error: here(ErrorKind::Unavailable, OPERATION, message), cure: Cure::None }
}
