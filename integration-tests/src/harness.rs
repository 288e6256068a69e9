//! A server on the test bench of `lease-testkit`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{LeaseName, LeaseStore};
use lease_testkit::{Harm, Harness, Hold, MixedUp};

use crate::{
    Direction, Exchange, Proxy, pool,
    server::{Kind, Server},
};

/// How a provider keeps leases on a server: in a table, or under a key prefix, that no other case has.
#[async_trait]
pub trait Provider: Send + Sync + Sized + 'static {
    /// The kind of server.
    type Kind: Kind;

    /// Settings of the server.
    const SETTINGS: &'static [(&'static str, &'static str)] = &[];

    /// See [`Harness::ttl`].
    const TTL: Duration;

    /// See [`Harness::commits_slowly`].
    const COMMITS_SLOWLY: bool = false;

    /// Makes room for leases on this server.
    async fn prepare(server: &Server<Self::Kind>) -> Self;

    /// A store of them, on the server that is reached by this URL.
    async fn open(&self, url: &str) -> Arc<dyn LeaseStore>;

    /// See [`Harness::remove_record`].
    async fn remove_record(&self, server: &Server<Self::Kind>, name: &LeaseName);

    /// See [`Harness::back_up`].
    async fn back_up(&self, _server: &Server<Self::Kind>) -> Harm {
        Harm::CannotDo
    }

    /// See [`Harness::put_back`].
    async fn put_back(&self, _server: &Server<Self::Kind>) {}

    /// See [`Harness::hold`].
    async fn hold(&self, _server: &Server<Self::Kind>, _name: &LeaseName) -> Option<Box<dyn Hold>> {
        None
    }
}

/// A server, a network in front of it, and leases that no other case has.
///
/// A case does harm to its server, so it has one to itself; those that passed leave theirs to the next.
#[derive(Debug)]
pub struct ServerHarness<P: Provider> {
    server: Server<P::Kind>,
    network: Proxy,
    provider: P,
}

impl<P: Provider> ServerHarness<P> {
    /// A harness for one case.
    ///
    /// # Panics
    ///
    /// When there is no server to be had, with a message that says what to set or to install.
    pub async fn start() -> Self {
        let server = match pool::take(P::SETTINGS, 1).and_then(|mut servers| servers.pop()) {
            Some(server) => server,
            // One that can be harmed, also where the environment names another.
            None => match Server::start_with_own_clock(P::SETTINGS).await {
                Ok(server) => server,
                Err(_) => Server::try_start(P::SETTINGS).await.unwrap_or_else(|error| panic!("{error}")),
            },
        };
        let address = server.address().unwrap_or_else(|error| panic!("{error}"));
        let network = Proxy::start(address).await.unwrap_or_else(|error| panic!("no proxy: {error}"));
        let provider = P::prepare(&server).await;
        Self { server, network, provider }
    }
}

struct StoreBehindExchange {
    store: Arc<dyn LeaseStore>,
    exchange: Exchange,
}

impl MixedUp for StoreBehindExchange {
    fn store(&self) -> Arc<dyn LeaseStore> {
        Arc::clone(&self.store)
    }

    fn mix_up(&self) {
        self.exchange.mix_up();
    }

    fn is_done(&self) -> bool {
        self.exchange.is_done()
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

    async fn freeze(&self) -> Harm {
        self.server.freeze().await.expect("the server freezes");
        Harm::Done
    }

    async fn thaw(&self) {
        self.server.thaw().await.expect("the server goes on");
    }

    async fn cut(&self) -> Harm {
        self.network.refuse_connections();
        self.network.reset_connections();
        Harm::Done
    }

    async fn lose_answers(&self) -> Harm {
        self.network.drop_answers();
        Harm::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Harm {
        self.network.delay(Direction::Answers, delay);
        Harm::Done
    }

    async fn heal(&self) {
        self.network.heal();
    }

    async fn restart(&self) -> Harm {
        self.server.restart().await.expect("the server restarts");
        Harm::Done
    }

    async fn set_clock_back(&self, by: Duration) -> Harm {
        let Some(clock) = self.server.wall_clock() else { return Harm::CannotDo };
        clock.shift(-i64::try_from(by.as_nanos()).expect("less than a few centuries")).expect("the clock is shifted");
        Harm::Done
    }

    async fn crash(&self) -> Harm {
        self.server.kill().await.expect("the server is killed");
        self.server.start_again().await.expect("the server starts again");
        Harm::Done
    }

    async fn back_up(&self) -> Harm {
        self.provider.back_up(&self.server).await
    }

    async fn put_back(&self) {
        self.provider.put_back(&self.server).await;
    }

    async fn hold(&self, name: &LeaseName) -> Option<Box<dyn Hold>> {
        self.provider.hold(&self.server, name).await
    }

    async fn mixed_up(&self) -> Option<Box<dyn MixedUp>> {
        let address = self.server.address().expect("the server has an address");
        let exchange = Exchange::start(address, P::Kind::FRAMING?).await.expect("a port is free");
        let store = self.provider.open(&self.server.url_at(exchange.address())).await;
        Some(Box::new(StoreBehindExchange { store, exchange }))
    }

    async fn remove_record(&self, name: &LeaseName) -> Harm {
        self.provider.remove_record(&self.server, name).await;
        Harm::Done
    }

    async fn stop(&self) {
        pool::give(P::SETTINGS, std::slice::from_ref(&self.server));
    }
}
