//! A TCP proxy that injects network faults.

mod connection;
mod faults;
mod listener;
mod pump;

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{ToSocketAddrs, lookup_host},
    sync::watch,
    task::AbortHandle,
};

use self::{
    connection::OpenConnections,
    faults::{Faults, Passage},
    listener::Listener,
};

/// A TCP proxy in front of a server. Faults can be switched while connections are open. Each call adds a fault, and
/// [`heal`](Self::heal) ends all of them.
///
/// The proxy accepts a connection before it connects to the server: where the server refuses, the client sees a reset of its
/// new connection. Memory is bounded by 256 KiB for each connection and direction; more stays with the sender, as on a real
/// network. Dropping the proxy closes its port and its connections.
#[derive(Debug)]
pub struct Proxy {
    listener: Listener,
    upstream: watch::Sender<SocketAddr>,
    faults: watch::Sender<Faults>,
    open: OpenConnections,
    acceptor: AbortHandle,
}

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Answers,
    /// Both directions.
    Both,
}

impl Proxy {
    /// Starts a proxy in front of a server, on a free port of the loopback interface. Its tasks run on the current runtime.
    ///
    /// # Errors
    ///
    /// When the address cannot be resolved, or no port is free.
    pub async fn start(upstream: impl ToSocketAddrs) -> io::Result<Self> {
        let upstream =
            lookup_host(upstream).await?.next().ok_or_else(|| io::Error::other("the upstream has no address"))?;
        let upstream = watch::Sender::new(upstream);
        let listener = Listener::open()?;
        let faults = watch::Sender::new(Faults::default());
        let open = OpenConnections::default();
        let accepting =
            connection::accept_all(listener.clone(), upstream.subscribe(), faults.subscribe(), open.clone());
        let acceptor = tokio::spawn(accepting).abort_handle();
        Ok(Self { listener, upstream, faults, open, acceptor })
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Connects new connections to another server from now on, as after a fail-over behind one address. Open connections are
    /// not affected.
    pub fn redirect(&self, upstream: SocketAddr) {
        self.upstream.send_replace(upstream);
    }

    /// Delays bytes. Those in flight keep their delay, and the order never changes.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.change(direction, |path| path.delay = delay);
    }

    /// Limits the bytes of each connection per second, to at least one. Bytes in flight wait for their turn.
    pub fn limit_bandwidth(&self, direction: Direction, bytes_per_second: u32) {
        self.change(direction, |path| path.bandwidth = Some(bytes_per_second.max(1)));
    }

    /// Stops all traffic, the end of a stream included. Connections stay open, and new ones are accepted. What was sent
    /// arrives after healing, as after a cut of a real network.
    pub fn black_hole(&self, direction: Direction) {
        self.change(direction, |path| path.passage = Passage::Hold);
    }

    /// Drops answers. Requests still reach the server, so the outcome is unknown to the client. Healing resets the
    /// connections that have lost bytes.
    pub fn drop_answers(&self) {
        self.change(Direction::Answers, |path| path.passage = Passage::Discard);
    }

    /// Ends each connection after this many more bytes in this direction, or in either one for [`Direction::Both`]. So many
    /// bytes arrive, then both sides see the end. New connections count from their beginning.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.faults.send_modify(|faults| {
            faults.cuts_set += 1;
            let cut = faults.cuts_set;
            faults.change(direction, |path| path.cut = Some((cut, bytes)));
        });
    }

    /// Resets (RST) all open connections, once. New ones are accepted.
    pub fn reset_connections(&self) {
        let mark = || self.faults.send_modify(|faults| faults.resets += 1);
        self.listener.take_unaccepted(mark).iter().for_each(connection::reset);
    }

    /// Refuses new connections, as the port of a dead server does. Open connections are not affected.
    pub fn refuse_connections(&self) {
        self.listener.close();
    }

    /// Ends all faults.
    ///
    /// # Panics
    ///
    /// Panics if another process has taken the port since [`refuse_connections`](Self::refuse_connections).
    pub fn heal(&self) {
        self.faults.send_modify(|faults| {
            faults.heals += 1;
            faults.change(Direction::Both, |path| *path = Default::default());
        });
        self.listener.reopen().unwrap_or_else(|error| panic!("cannot open the port of the proxy again: {error}"));
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.count()
    }

    fn change(&self, direction: Direction, change: impl Fn(&mut faults::Path)) {
        self.faults.send_modify(|faults| faults.change(direction, change));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.close();
        self.acceptor.abort();
    }
}
