//! A real server, wherever it comes from, and the harm that is done to it.

use std::{
    fmt::Debug,
    marker::PhantomData,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tokio::sync::OnceCell;
use url::Url;

use crate::{
    Framing, Proxy, ServerError, WallClock,
    container::{Container, Image},
    deadline::poll_until,
    environment::server_url,
    local_server::{LocalServer, Program, Record},
    pool,
};

/// A real server of some kind. It ends with this value, or with the test process.
///
/// The methods that do harm return once it is done. They go on to the end when their future is dropped.
#[derive(Debug)]
pub struct Server<K: Kind> {
    pub(crate) url: Url,
    origin: Origin,
    is_shared: bool,
    wall_clock: Option<WallClock>,
    kind: PhantomData<K>,
}

/// What is special about a kind of server.
pub trait Kind: Debug + Send + Sync + Sized + 'static {
    /// For people.
    const NAME: &'static str;
    /// The variable that points to a server that is already there.
    const VARIABLE: &'static str;
    /// What to set it to.
    const EXAMPLE: &'static str;
    /// What brings one: a command.
    const INSTALL: &'static str;
    /// Where it listens if its URL does not say.
    const PORT: u16;
    /// Whether it asks the C library what time it is, so that a [`WallClock`] can be put under it.
    const ASKS_THE_C_LIBRARY: bool;
    /// Whether starting one takes so much of the machine that a run starts them one after the other.
    const STARTS_ALONE: bool = false;
    /// How the answers that it sends are told from each other; nothing where they have numbers.
    const FRAMING: Option<Framing>;

    /// Where this process keeps the server that all tests share.
    fn shared() -> &'static OnceCell<Server<Self>>;

    /// Settings of the server as arguments of its command.
    fn arguments(settings: &[(&str, &str)]) -> Vec<String>;

    /// Starts a server of this machine, by a command that is put in front of it, if there is one;
    /// [`ServerError::NoServer`] when none is installed. Blocks.
    fn start(under: &[String], arguments: &[String]) -> Result<LocalServer, ServerError>;

    /// How a server of this machine is run, by a command that contains this port.
    fn program(command: Vec<String>, port: u16) -> Program;

    /// What to run in a container; by default no image serves.
    fn image(_arguments: Vec<String>) -> Option<Image> {
        None
    }

    /// A URL of a server on the loopback interface, for the user who may do everything.
    fn url(port: u16) -> String;

    /// Whether the server at this address serves. Blocks.
    fn serves(address: SocketAddr) -> bool;
}

#[derive(Debug, Clone)]
enum Origin {
    /// Named by the environment.
    Given,
    Local(Arc<LocalServer>),
    Container(Arc<Container>),
}

impl<K: Kind> Server<K> {
    /// The server that all tests of this process, or of the whole run, share; started by the first who asks. It refuses to be
    /// harmed.
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
        K::shared().get_or_try_init(async || Ok(Self { is_shared: true, ..Self::start_shared().await? })).await
    }

    async fn start_shared() -> Result<Self, ServerError> {
        if server_url(K::VARIABLE)?.is_none() {
            match blocking(|| pool::shared::<K>().transpose()).await {
                Ok(None) | Err(ServerError::NoServer(_)) => {}
                Ok(Some(port)) => return Self::on_port(port, Origin::Given),
                Err(error) => return Err(error),
            }
        }
        Self::try_start(&[]).await
    }

    /// A server of one's own, which can be harmed; unless the environment names one.
    ///
    /// # Panics
    ///
    /// When there is none to be had, with a message that says what to set or to install.
    pub async fn start() -> Self {
        Self::try_start(&[]).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`start`](Self::start), without the panic, and with settings of the server.
    ///
    /// # Errors
    ///
    /// When there is none to be had.
    pub async fn try_start(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        if let Some(url) = server_url(K::VARIABLE)? {
            let given = Self::new(url, Origin::Given);
            given.is_there().await?;
            return Ok(given);
        }
        let no_binary = match Self::start_local(settings).await {
            Err(ServerError::NoServer(reason)) => reason,
            outcome => return outcome,
        };
        Self::start_container(settings).await.map_err(|no_container| {
            let (name, variable, example, install) = (K::NAME, K::VARIABLE, K::EXAMPLE, K::INSTALL);
            ServerError::NoServer(format!(
                "No {name} for this test. Set {variable}={example}, or install a server ({install}), or start a container \
                 engine.\n  binary: {no_binary}\n  container: {no_container}"
            ))
        })
    }

    /// A server from a binary of this machine, even where the environment names another: one that can surely be harmed.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the server does not start.
    pub async fn start_local(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        Self::start_under(Vec::new(), settings).await
    }

    /// Like [`start_local`](Self::start_local), under a wall clock that can be shifted.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the server does not start.
    pub async fn start_with_clock(settings: &[(&str, &str)], clock: &WallClock) -> Result<Self, ServerError> {
        Self::start_under(clock.as_command(), settings).await
    }

    async fn start_under(command: Vec<String>, settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let arguments = K::arguments(settings);
        let server = blocking(move || K::start(&command, &arguments)).await?;
        Self::local(server)
    }

    pub(crate) fn local(server: LocalServer) -> Result<Self, ServerError> {
        Self::on_port(server.port(), Origin::Local(Arc::new(server)))
    }

    /// Like [`start_local`](Self::start_local), under a [`wall_clock`](Self::wall_clock) of its own, where the kind of server bears
    /// one.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the server does not start.
    pub async fn start_with_own_clock(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        if !K::ASKS_THE_C_LIBRARY {
            return Self::start_local(settings).await;
        }
        let clock = WallClock::new().await?;
        let server = Self::start_with_clock(settings, &clock).await?;
        Ok(Self { wall_clock: Some(clock), ..server })
    }

    /// Takes over a server that another process has [given](Self::give).
    pub(crate) fn take(record: Record) -> Result<Self, ServerError> {
        let Record { directory, keeper, port, clock, command } = record;
        let server = LocalServer::take(keeper, directory, K::program(command, port))?;
        let wall_clock = clock.map(WallClock::at).transpose()?;
        Ok(Self { wall_clock, ..Self::local(server)? })
    }

    /// Leaves the server, as it runs, to another process; it must be one of this machine.
    pub(crate) fn give(&self) -> Result<Record, ServerError> {
        let Origin::Local(server) = &self.origin else {
            return Err(ServerError::Failed("it ends with this process".into()));
        };
        Ok(Record { clock: self.wall_clock.as_ref().map(|clock| clock.file().to_owned()), ..server.give()? })
    }

    /// The same server once more: it ends with the last of these values.
    pub(crate) fn handle(&self) -> Self {
        let Self { url, origin, is_shared, wall_clock, kind } = self;
        let (url, origin, wall_clock) = (url.clone(), origin.clone(), wall_clock.clone());
        Self { url, origin, is_shared: *is_shared, wall_clock, kind: *kind }
    }

    /// A server in a container, even where there is a binary: to test that way.
    ///
    /// # Errors
    ///
    /// When no container engine answers, or it has no image.
    pub async fn start_container(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let image = K::image(K::arguments(settings));
        let image = image.ok_or_else(|| ServerError::NoServer(format!("no image of {}", K::NAME)))?;
        let container = Container::start(image, K::PORT).await?;
        let server = Self::on_port(container.port(), Origin::Container(Arc::new(container)))?;
        server.answers().await?;
        Ok(server)
    }

    fn on_port(port: u16, origin: Origin) -> Result<Self, ServerError> {
        let url = Url::parse(&K::url(port)).map_err(|error| ServerError::failed("URL of the server", error))?;
        Ok(Self::new(url, origin))
    }

    fn new(url: Url, origin: Origin) -> Self {
        Self { url, origin, is_shared: false, wall_clock: None, kind: PhantomData }
    }

    /// Its URL, for the user who may do everything, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Its URL by way of a proxy that was started in front of [`address`](Self::address).
    #[must_use]
    pub fn url_through(&self, proxy: &Proxy) -> String {
        self.url_at(proxy.address())
    }

    /// The URL of this server, as it is reached at this address.
    #[must_use]
    pub fn url_at(&self, address: SocketAddr) -> String {
        let mut url = self.url.clone();
        // Both fail only for URLs without a host.
        let _ = url.set_ip_host(address.ip());
        let _ = url.set_port(Some(address.port()));
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// What its processes take for the wall clock, after [`start_with_own_clock`](Self::start_with_own_clock).
    #[must_use]
    pub fn wall_clock(&self) -> Option<&WallClock> {
        self.wall_clock.as_ref()
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// When the environment names a server by something else than a host and a port, or one that cannot be resolved.
    pub fn address(&self) -> Result<SocketAddr, ServerError> {
        let addresses = match self.url.host_str() {
            Some(_) => self.url.socket_addrs(|| Some(K::PORT)).unwrap_or_default(),
            None => Vec::new(),
        };
        let cannot = || ServerError::Failed(format!("the host in {} cannot be resolved", K::VARIABLE));
        addresses.first().copied().ok_or_else(cannot)
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

    /// Starts it again after [`kill`](Self::kill), on the same port with what is on its disk, and returns when it serves.
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

    /// Shuts it down in good order and starts it again, on the same port. What it keeps depends on its settings.
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
        let cannot = |reason| Err(ServerError::Cannot { action, server: K::NAME, reason });
        match &self.origin {
            _ if self.is_shared => cannot("other tests share it; start one of your own".to_owned()),
            Origin::Given => cannot(format!("it is not ours: {} names it", K::VARIABLE)),
            Origin::Local(server) => Ok(Harmable::Local(Arc::clone(server))),
            Origin::Container(container) => Ok(Harmable::Container(Arc::clone(container))),
        }
    }

    /// An error that says where nobody listens, rather than one from deep within a test.
    async fn is_there(&self) -> Result<(), ServerError> {
        if self.url.host_str().is_none() {
            // A socket's path, which drivers write in their own ways.
            return Ok(());
        }
        let address = self.address()?;
        blocking(move || match TcpStream::connect_timeout(&address, Duration::from_secs(10)) {
            Ok(_) => Ok(()),
            Err(error) => Err(ServerError::NoServer(format!("{} names a server at {address}: {error}", K::VARIABLE))),
        })
        .await
    }

    /// Returns when it serves; a container's port answers long before the server in it does.
    async fn answers(&self) -> Result<(), ServerError> {
        let address = self.address()?;
        let what = format!("{} serves", K::NAME);
        blocking(move || poll_until(&what, Duration::from_secs(60), || K::serves(address))).await
    }
}

enum Harmable {
    Local(Arc<LocalServer>),
    Container(Arc<Container>),
}

/// Runs what blocks beside the runtime's threads: timers of the test must go on meanwhile.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServerError> + Send + 'static,
) -> Result<T, ServerError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ServerError::failed("harness", error))?
}
