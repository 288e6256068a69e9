//! The harness of `lease-testkit` for a server.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{LeaseName, LeaseStore};
use lease_testkit::{AnswerSwap, Harness, Injection, RecordLock};

use crate::{
    AnswerSwapper, Direction, Proxy, pool,
    server::{Kind, Server},
};

/// A provider that keeps its leases in a table or under a key prefix of its own for each case.
#[async_trait]
pub trait Provider: Send + Sync + Sized + 'static {
    /// The kind of server.
    type Kind: Kind;

    /// The settings of the server.
    const SETTINGS: &'static [(&'static str, &'static str)] = &[];

    /// See [`Harness::ttl`].
    const TTL: Duration;

    /// See [`Harness::commits_slowly`].
    const COMMITS_SLOWLY: bool = false;

    /// Creates the table or the key prefix on this server.
    async fn prepare(server: &Server<Self::Kind>) -> Self;

    /// Opens a store on the server with this URL.
    async fn open(&self, url: &str) -> Arc<dyn LeaseStore>;

    /// See [`Harness::remove_record`].
    async fn remove_record(&self, server: &Server<Self::Kind>, name: &LeaseName);

    /// See [`Harness::back_up`].
    async fn back_up(&self, _server: &Server<Self::Kind>) -> Injection {
        Injection::Unsupported
    }

    /// See [`Harness::restore_backup`].
    async fn restore_backup(&self, _server: &Server<Self::Kind>) {}

    /// See [`Harness::lock_record`].
    async fn lock_record(&self, _server: &Server<Self::Kind>, _name: &LeaseName) -> Option<Box<dyn RecordLock>> {
        None
    }
}

/// A server, a proxy in front of it, and a provider.
///
/// A case injects faults into its server, so it has the server to itself. A case that passed returns its server to the pool.
#[derive(Debug)]
pub struct ServerHarness<P: Provider> {
    server: Server<P::Kind>,
    network: Proxy,
    provider: P,
}

impl<P: Provider> ServerHarness<P> {
    /// Creates the harness for one case.
    ///
    /// # Panics
    ///
    /// Panics if there is no server. The message says what to set or to install.
    pub async fn start() -> Self {
        let server = match pool::take(P::SETTINGS, 1).and_then(|mut servers| servers.pop()) {
            Some(server) => server,
            // A local server, which can be faulted, even if the environment names another one.
            None => match Server::start_with_own_clock(P::SETTINGS).await {
                Ok(server) => server,
                Err(_) => Server::try_start(P::SETTINGS).await.unwrap_or_else(|error| panic!("{error}")),
            },
        };
        let address = server.address().unwrap_or_else(|error| panic!("{error}"));
        let network = Proxy::start(address).await.unwrap_or_else(|error| panic!("cannot start a proxy: {error}"));
        let provider = P::prepare(&server).await;
        Self { server, network, provider }
    }
}

struct StoreBehindSwapper {
    store: Arc<dyn LeaseStore>,
    swapper: AnswerSwapper,
}

impl AnswerSwap for StoreBehindSwapper {
    fn store(&self) -> Arc<dyn LeaseStore> {
        Arc::clone(&self.store)
    }

    fn swap_next(&self) {
        self.swapper.swap_next();
    }

    fn has_swapped(&self) -> bool {
        self.swapper.has_swapped()
    }
}

#[async_trait]
impl<P: Provider> Harness for ServerHarness<P> {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        self.provider.open(&self.server.url_through(&self.network)).await
    }

    fn ttl(&self) -> Duration {
        P::TTL
    }

    fn commits_slowly(&self) -> bool {
        P::COMMITS_SLOWLY
    }

    async fn freeze(&self) -> Injection {
        self.server.freeze().await.expect("the server freezes");
        Injection::Done
    }

    async fn thaw(&self) {
        self.server.thaw().await.expect("the server goes on");
    }

    async fn cut(&self) -> Injection {
        self.network.refuse_connections();
        self.network.reset_connections();
        Injection::Done
    }

    async fn lose_answers(&self) -> Injection {
        self.network.drop_answers();
        Injection::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Injection {
        self.network.delay(Direction::Answers, delay);
        Injection::Done
    }

    async fn delay_requests(&self, delay: Duration) -> Injection {
        self.network.delay(Direction::Requests, delay);
        Injection::Done
    }

    async fn heal(&self) {
        self.network.heal();
    }

    async fn restart(&self) -> Injection {
        self.server.restart().await.expect("the server restarts");
        Injection::Done
    }

    async fn set_clock_back(&self, by: Duration) -> Injection {
        let Some(clock) = self.server.wall_clock() else { return Injection::Unsupported };
        clock.shift(-i64::try_from(by.as_nanos()).expect("less than a few centuries")).expect("the clock is shifted");
        Injection::Done
    }

    async fn crash(&self) -> Injection {
        self.server.kill().await.expect("the server is killed");
        self.server.start_again().await.expect("the server starts again");
        Injection::Done
    }

    async fn back_up(&self) -> Injection {
        self.provider.back_up(&self.server).await
    }

    async fn restore_backup(&self) {
        self.provider.restore_backup(&self.server).await;
    }

    async fn lock_record(&self, name: &LeaseName) -> Option<Box<dyn RecordLock>> {
        self.provider.lock_record(&self.server, name).await
    }

    async fn answer_swap(&self) -> Option<Box<dyn AnswerSwap>> {
        let address = self.server.address().expect("the server has an address");
        let swapper = AnswerSwapper::start(address, P::Kind::FRAMING?).await.expect("a port is free");
        let store = self.provider.open(&self.server.url_at(swapper.address())).await;
        Some(Box::new(StoreBehindSwapper { store, swapper }))
    }

    async fn remove_record(&self, name: &LeaseName) -> Injection {
        self.provider.remove_record(&self.server, name).await;
        Injection::Done
    }

    async fn stop(&self) {
        pool::give(P::SETTINGS, std::slice::from_ref(&self.server));
    }
}
