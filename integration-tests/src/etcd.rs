//! etcd.

mod cluster;
mod health;
mod local;
mod peers;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::OnceCell;
use url::Url;

pub use self::cluster::EtcdCluster;
use self::local::LocalEtcd;
use crate::{Proxy, ServerError, container::Container, deadline::poll_until, environment::server_url};

/// Points to a server that is already there.
const URL: &str = "LEASE_TEST_ETCD_URL";

/// A real etcd server. It ends with this value, or with the test process.
///
/// The methods that do harm return once it is done. They go on to the end when their future is dropped.
#[derive(Debug)]
pub struct Etcd {
    url: Url,
    server: Server,
    shared: bool,
}

#[derive(Debug)]
enum Server {
    Given,
    Local(Arc<LocalEtcd>),
    Container(Arc<Container>),
}

impl Etcd {
    /// The server that all tests of this process share; started by the first who asks. It refuses to be harmed.
    ///
    /// # Panics
    ///
    /// When there is none to be had, with a message that says what to set or to install.
    pub async fn shared() -> &'static Self {
        Self::try_shared().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`shared`](Self::shared), without the panic.
    ///
    /// # Errors
    ///
    /// When there is none to be had.
    pub async fn try_shared() -> Result<&'static Self, ServerError> {
        static SHARED: OnceCell<Etcd> = OnceCell::const_new();
        SHARED.get_or_try_init(async || Ok(Self { shared: true, ..Self::try_start(&[]).await? })).await
    }

    /// A server of one's own, which can be harmed; unless the environment names one.
    ///
    /// # Panics
    ///
    /// When there is none to be had, with a message that says what to set or to install.
    pub async fn start() -> Self {
        Self::try_start(&[]).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`start`](Self::start), without the panic, and with settings of the server such as `("max-txn-ops", "64")`.
    ///
    /// # Errors
    ///
    /// When there is none to be had.
    pub async fn try_start(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        if let Some(url) = server_url(URL)? {
            return Ok(Self { url, server: Server::Given, shared: false });
        }
        let no_binary = match Self::start_local(settings).await {
            Err(ServerError::NoServer(reason)) => reason,
            other => return other,
        };
        match Self::start_container(settings).await {
            Ok(etcd) => Ok(etcd),
            Err(no_container) => Err(ServerError::NoServer(format!(
                "No etcd for this test. Set {URL}=http://host:2379, or install a server \
                 (Debian, Ubuntu: apt-get install etcd-server; ./integration-tests/run does that), or start a container \
                 engine.\n  binary: {no_binary}\n  container: {no_container}"
            ))),
        }
    }

    /// A server from a binary of this machine, even where the environment names another: one that can surely be harmed.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the server does not start.
    pub async fn start_local(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let arguments = local::settings_as_arguments(settings);
        let server = blocking(move || LocalEtcd::start(&arguments)).await?;
        Ok(Self { url: local_url(server.port())?, server: Server::Local(Arc::new(server)), shared: false })
    }

    /// A server in a container, even where there is a binary: to test that way.
    ///
    /// # Errors
    ///
    /// When no container engine answers, or it has no image.
    pub async fn start_container(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let mut command = vec!["etcd".to_owned()];
        command.extend(local::settings_as_arguments(&[
            ("listen-client-urls", "http://0.0.0.0:2379"),
            ("advertise-client-urls", "http://127.0.0.1:2379"),
        ]));
        command.extend(local::settings_as_arguments(settings));
        let container = Container::start("rancher/mirrored-coreos-etcd", "v3.5.9", 2379, &[], command).await?;
        let url = local_url(container.port())?;
        let etcd = Self { url, server: Server::Container(Arc::new(container)), shared: false };
        etcd.answers().await?;
        Ok(etcd)
    }

    /// Its client URL, `http://host:port`, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Its client URL by way of a proxy that was started in front of [`address`](Self::address).
    #[must_use]
    pub fn url_through(&self, proxy: &Proxy) -> String {
        format!("{}://{}", self.url.scheme(), proxy.address())
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When the environment names a server by something else than a host and a port, or one that cannot be resolved.
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        let addresses = match self.url.host_str() {
            Some(_) => self.url.socket_addrs(|| Some(2379)).unwrap_or_default(),
            None => Vec::new(),
        };
        addresses.first().copied().ok_or_else(|| ServerError::Failed(format!("the host in {URL} cannot be resolved")))
    }

    /// How many etcd leases it keeps, on a server without a password: those that grants are attached to.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn count_leases(&self) -> Result<usize, ServerError> {
        let address = self.address()?;
        blocking(move || {
            health::count_leases(address).ok_or_else(|| ServerError::Failed("etcd does not say its leases".into()))
        })
        .await
    }

    /// Stops every process of the server where it is: connections stay open, nothing answers.
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

    /// Kills every process of the server at one moment, as a crash does. Its port refuses connections then.
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

    /// Starts it again after [`kill`](Self::kill), on the same port with the same data, and returns when it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Cannot`] when it is shared, or named by the environment; when it is running already.
    pub async fn start_again(&self) -> Result<(), ServerError> {
        match self.harmable("start")? {
            Harmable::Local(server) => blocking(move || server.start_again()).await,
            Harmable::Container(container) => {
                container.start_again().await?;
                self.answers().await
            }
        }
    }

    /// Shuts it down in good order and starts it again, on the same port with the same data.
    ///
    /// # Errors
    ///
    /// [`ServerError::Cannot`] when it is shared, or named by the environment.
    pub async fn restart(&self) -> Result<(), ServerError> {
        match self.harmable("restart")? {
            Harmable::Local(server) => blocking(move || server.restart()).await,
            Harmable::Container(container) => {
                container.stop().await?;
                container.start_again().await?;
                self.answers().await
            }
        }
    }

    fn harmable(&self, action: &'static str) -> Result<Harmable, ServerError> {
        let cannot = |reason| Err(ServerError::Cannot { action, server: "etcd", reason });
        match &self.server {
            _ if self.shared => cannot("other tests share it; use Etcd::start()"),
            Server::Given => cannot("it is not ours: LEASE_TEST_ETCD_URL names it"),
            Server::Local(server) => Ok(Harmable::Local(Arc::clone(server))),
            Server::Container(container) => Ok(Harmable::Container(Arc::clone(container))),
        }
    }

    /// Returns when it serves; a container's port answers long before the server in it does.
    async fn answers(&self) -> Result<(), ServerError> {
        let address = self.address()?;
        blocking(move || poll_until("etcd serves", Duration::from_secs(60), || health::is_healthy(address))).await
    }
}

enum Harmable {
    Local(Arc<LocalEtcd>),
    Container(Arc<Container>),
}

fn local_url(port: u16) -> Result<Url, ServerError> {
    Url::parse(&format!("http://127.0.0.1:{port}")).map_err(|error| ServerError::failed("URL of the server", error))
}

/// Runs what blocks beside the runtime's threads: timers of the test must go on meanwhile.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServerError::failed("harness", error))?
}
