//! A primary and a replica of this machine.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::local;
use crate::{Direction, Proxy, ServerError, local_server::LocalServer, server::blocking};

/// A primary, and a replica that follows it asynchronously by way of a network that can be harmed. It ends with this value,
/// or with the test process.
#[derive(Debug)]
pub struct PostgresPair {
    primary: Arc<LocalServer>,
    replica: Arc<LocalServer>,
    network: Proxy,
    has_failed_over: AtomicBool,
}

impl PostgresPair {
    /// Starts both. The replica has what the primary has.
    ///
    /// # Errors
    ///
    /// When there are no binaries, or the replica does not find the primary.
    pub async fn start() -> Result<Self, ServerError> {
        let primary = blocking(|| local::start(&[], &[])).await?;
        let address = SocketAddr::from(([127, 0, 0, 1], primary.port()));
        let network = Proxy::start(address).await.map_err(|error| ServerError::failed("proxy", error))?;
        let port = network.address().port();
        let replica = blocking(move || local::start_replica(port)).await?;
        Ok(Self { primary: primary.into(), replica: replica.into(), network, has_failed_over: false.into() })
    }

    /// Where the primary listens: after a fail-over the former replica.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let has_failed_over = self.has_failed_over.load(Ordering::SeqCst);
        let server = if has_failed_over { &self.replica } else { &self.primary };
        ([127, 0, 0, 1], server.port()).into()
    }

    /// Where the replica listens, which takes over in a fail-over.
    #[must_use]
    pub fn replica_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.replica.port()).into()
    }

    /// A URL of the default database of whoever is the primary.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }

    /// Nothing that is written on the primary reaches the replica any more.
    pub fn hold_back_data(&self) {
        self.network.black_hole(Direction::Answers);
    }

    /// Shuts the primary down in good order, which waits until the replica has all, and promotes the replica.
    ///
    /// # Errors
    ///
    /// When one of the two does not work.
    pub async fn fail_over(&self) -> Result<(), ServerError> {
        let primary = Arc::clone(&self.primary);
        blocking(move || primary.stop()).await?;
        self.promote().await
    }

    /// Kills the primary, and promotes the replica: without what it has not received.
    ///
    /// # Errors
    ///
    /// When one of the two does not work.
    pub async fn lose_primary(&self) -> Result<(), ServerError> {
        let primary = Arc::clone(&self.primary);
        blocking(move || primary.kill()).await?;
        self.promote().await
    }

    async fn promote(&self) -> Result<(), ServerError> {
        // What the network holds back is lost with the connections. The replica finds out that nobody is there.
        self.network.reset_connections();
        self.network.heal();
        let replica = Arc::clone(&self.replica);
        blocking(move || local::promote(&replica)).await?;
        self.has_failed_over.store(true, Ordering::SeqCst);
        Ok(())
    }
}
