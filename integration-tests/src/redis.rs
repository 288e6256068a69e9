//! Redis, or Valkey.

mod cluster;
mod local;
mod raw;
mod sentinel;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::OnceCell;
use url::Url;

use self::local::LocalRedis;
pub use self::{cluster::RedisCluster, raw::Reply, sentinel::RedisSentinel};
use crate::{Proxy, ServerError, WallClock, container::Container, deadline::poll_until, environment::server_url};

/// Points to a server that is already there.
const URL: &str = "LEASE_TEST_REDIS_URL";

/// A real Redis server. It ends with this value, or with the test process.
///
/// The methods that do harm return once it is done. They go on to the end when their future is dropped.
#[derive(Debug)]
pub struct Redis {
    url: Url,
    server: Server,
    shared: bool,
}

#[derive(Debug)]
enum Server {
    Given,
    Local(Arc<LocalRedis>),
    Container(Arc<Container>),
}

impl Redis {
    /// The server that all tests of this process share; started by the first who asks. It refuses to be harmed.
    ///
    /// # Panics
    ///
    /// When there is none to be had, with a message that says what to set or to install.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        let start = async || Ok(Self { shared: true, ..Self::try_start(&[]).await? });
        SHARED.get_or_try_init(start).await.unwrap_or_else(|error: ServerError| panic!("{error}"))
    }

    /// A server of one's own, which can be harmed; unless the environment names one.
    ///
    /// # Panics
    ///
    /// When there is none to be had, with a message that says what to set or to install.
    pub async fn start() -> Self {
        Self::try_start(&[]).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`start`](Self::start), without the panic, and with settings of the server: `[("appendonly", "yes")]`. Without
    /// any, it keeps nothing on disk.
    ///
    /// # Errors
    ///
    /// When there is none to be had.
    pub async fn try_start(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        if let Some(url) = server_url(URL)? {
            return Ok(Self { url, server: Server::Given, shared: false });
        }
        match Self::start_local(settings).await {
            Err(ServerError::NoServer(no_binary)) => Self::start_container(settings).await.map_err(|error| {
                ServerError::NoServer(format!(
                    "No Redis server for this test: {URL} is not set, {no_binary}, and no container engine helps ({error}). \
                     Run integration-tests/run, which installs one."
                ))
            }),
            outcome => outcome,
        }
    }

    /// A server from a binary of this machine, even where the environment names another: one that can surely be harmed.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the server does not start.
    pub async fn start_local(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        Self::start_under(&[], settings).await
    }

    /// Like [`start_local`](Self::start_local), under a wall clock that can be shifted.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the server does not start.
    pub async fn start_with_clock(settings: &[(&str, &str)], clock: &WallClock) -> Result<Self, ServerError> {
        Self::start_under(&clock.as_command(), settings).await
    }

    async fn start_under(command: &[String], settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let (command, arguments) = (command.to_vec(), local::settings_as_arguments(settings));
        let server = blocking(move || LocalRedis::start(&command, &arguments)).await?;
        let redis = Self { url: local_url(server.port())?, server: Server::Local(Arc::new(server)), shared: false };
        redis.answers().await?;
        Ok(redis)
    }

    /// A server in a container, even where there is a binary: to test that way.
    ///
    /// # Errors
    ///
    /// When no container engine answers, or it has no image.
    pub async fn start_container(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let mut command: Vec<String> = ["redis-server", "--save", "", "--appendonly", "no"].map(Into::into).into();
        command.extend(local::settings_as_arguments(settings));
        let container = Container::start("redis", "8", 6379, &[], command).await?;
        let url = local_url(container.port())?;
        let redis = Self { url, server: Server::Container(Arc::new(container)), shared: false };
        redis.answers().await?;
        Ok(redis)
    }

    /// A URL of its database 0, for the user who may do everything.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// A URL by way of a proxy that was started in front of [`address`](Self::address).
    #[must_use]
    pub fn url_through(&self, proxy: &Proxy) -> String {
        let mut url = self.url.clone();
        // Both fail only for URLs without a host.
        let _ = url.set_ip_host(proxy.address().ip());
        let _ = url.set_port(Some(proxy.address().port()));
        url.into()
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When the environment names a server that cannot be resolved.
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        let addresses = self.url.socket_addrs(|| Some(6379)).unwrap_or_default();
        addresses.first().copied().ok_or_else(|| ServerError::Failed(format!("the host in {URL} cannot be resolved")))
    }

    /// Runs a command on a connection of its own, on a server without a password.
    ///
    /// # Errors
    ///
    /// When there is no answer. What the server itself refuses is a [`Reply::Error`].
    pub async fn command(&self, words: &[&str]) -> Result<Reply, ServerError> {
        let (address, words) = (self.address()?, words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        blocking(move || {
            raw::command(address, &words).map_err(|error| ServerError::failed("no answer of the server", error))
        })
        .await
    }

    /// Stops the server where it is: connections stay open, nothing answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Cannot`] when it is shared, or named by the environment.
    pub async fn freeze(&self) -> Result<(), ServerError> {
        match self.harmable("freeze")? {
            Harmable::Local(server) => blocking(move || server.freeze()).await,
            Harmable::Container(container) => container.pause().await,
        }
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    ///
    /// [`ServerError::Cannot`] when it is shared, or named by the environment.
    pub async fn thaw(&self) -> Result<(), ServerError> {
        match self.harmable("thaw")? {
            Harmable::Local(server) => blocking(move || server.thaw()).await,
            Harmable::Container(container) => container.unpause().await,
        }
    }

    /// Kills it, as a crash does. Its port refuses connections then.
    ///
    /// # Errors
    ///
    /// [`ServerError::Cannot`] when it is shared, or named by the environment.
    pub async fn kill(&self) -> Result<(), ServerError> {
        match self.harmable("kill")? {
            Harmable::Local(server) => blocking(move || server.kill()).await,
            Harmable::Container(container) => container.kill().await,
        }
    }

    /// Starts it again after [`kill`](Self::kill), on the same port with what is on its disk, and returns when it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Cannot`] when it is shared, or named by the environment; when it is running already.
    pub async fn start_again(&self) -> Result<(), ServerError> {
        match self.harmable("start")? {
            Harmable::Local(server) => blocking(move || server.start_again()).await?,
            Harmable::Container(container) => container.start_again().await?,
        }
        self.answers().await
    }

    /// Shuts it down in good order and starts it again, on the same port. What it keeps depends on its settings: with
    /// `appendonly yes` everything, without settings nothing.
    ///
    /// # Errors
    ///
    /// [`ServerError::Cannot`] when it is shared, or named by the environment.
    pub async fn restart(&self) -> Result<(), ServerError> {
        match self.harmable("restart")? {
            Harmable::Local(server) => blocking(move || server.restart()).await?,
            Harmable::Container(container) => {
                container.stop().await?;
                container.start_again().await?;
            }
        }
        self.answers().await
    }

    fn harmable(&self, action: &'static str) -> Result<Harmable, ServerError> {
        let cannot = |reason| Err(ServerError::Cannot { action, server: "Redis", reason });
        match &self.server {
            _ if self.shared => cannot("other tests share it; use Redis::start()"),
            Server::Given => cannot("it is not ours: LEASE_TEST_REDIS_URL names it"),
            Server::Local(server) => Ok(Harmable::Local(Arc::clone(server))),
            Server::Container(container) => Ok(Harmable::Container(Arc::clone(container))),
        }
    }

    /// Returns when it answers, and has loaded what is on its disk.
    async fn answers(&self) -> Result<(), ServerError> {
        let address = self.address()?;
        blocking(move || {
            poll_until("Redis answers", Duration::from_secs(60), || match raw::command(address, &["PING".into()]) {
                // Or another error: it wants a password, but it is there.
                Ok(Reply::Error(error)) => !error.starts_with("LOADING"),
                Ok(_) => true,
                Err(_) => false,
            })
        })
        .await
    }
}

enum Harmable {
    Local(Arc<LocalRedis>),
    Container(Arc<Container>),
}

fn local_url(port: u16) -> Result<Url, ServerError> {
    Url::parse(&format!("redis://127.0.0.1:{port}")).map_err(|error| ServerError::failed("URL of the server", error))
}

/// Runs what blocks beside the runtime's threads: timers of the test must go on meanwhile.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServerError::failed("harness", error))?
}
