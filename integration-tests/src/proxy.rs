//! A network that can be harmed: a TCP proxy.

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

/// A TCP proxy in front of a server. Its faults can be switched while connections are open; each call adds to the
/// faults that are there, [`heal`](Self::heal) ends them all.
///
/// It accepts a connection before it reaches the server: where the server refuses, the client sees its new connection
/// reset. Memory is bounded by 256 KiB per connection and direction; what does not fit waits with its sender, as it does
/// on a real network. Dropping the proxy closes its port and its connections.
#[derive(Debug)]
pub struct Proxy {
    listener: Listener,
    upstream: watch::Sender<SocketAddr>,
    faults: watch::Sender<Faults>,
    open: OpenConnections,
    acceptor: AbortHandle,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Answers,
    /// Both.
    Both,
}

impl Proxy {
    /// Starts a proxy in front of a server, on a free port of the loopback interface. Its tasks run on this runtime.
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

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// New connections reach another server from now on, as after a fail-over behind one address. Open ones are not touched.
    pub fn redirect(&self, upstream: SocketAddr) {
        self.upstream.send_replace(upstream);
    }

    /// Bytes arrive this much later. Those under way keep their time; their order never changes.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.change(direction, |path| path.delay = delay);
    }

    /// Each connection passes only so many bytes in a second, at least one; bytes that are under way wait for their turn.
    pub fn limit_bandwidth(&self, direction: Direction, bytes_per_second: u32) {
        self.change(direction, |path| path.bandwidth = Some(bytes_per_second.max(1)));
    }

    /// Connections stay open, and new ones are accepted, but nothing passes, no closing either. What was sent arrives
    /// after healing, as after a cut of a real network.
    pub fn black_hole(&self, direction: Direction) {
        self.change(direction, |path| path.passage = Passage::Hold);
    }

    /// Requests reach the server, answers are lost: the client cannot know whether it was done. Healing resets the
    /// connections that have lost something.
    pub fn drop_answers(&self) {
        self.change(Direction::Answers, |path| path.passage = Passage::Discard);
    }

    /// Each connection ends after this many more bytes in this direction (in either, for [`Direction::Both`]): so many
    /// arrive, then both sides see the end. New connections count from their beginning.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.faults.send_modify(|faults| {
            faults.cuts_set += 1;
            let cut = faults.cuts_set;
            faults.change(direction, |path| path.cut = Some((cut, bytes)));
        });
    }

    /// Resets (RST) all open connections, once. New ones are welcome.
    pub fn reset_connections(&self) {
        let mark = || self.faults.send_modify(|faults| faults.resets += 1);
        self.listener.take_unaccepted(mark).iter().for_each(connection::reset);
    }

    /// Refuses new connections, as the port of a dead server does. Open ones are not touched.
    pub fn refuse_connections(&self) {
        self.listener.close();
    }

    /// Ends all faults.
    ///
    /// # Panics
    ///
    /// When somebody has taken the port since [`refuse_connections`](Self::refuse_connections).
    pub fn heal(&self) {
        self.faults.send_modify(|faults| {
            faults.heals += 1;
            faults.change(Direction::Both, |path| *path = Default::default());
        });
        self.listener.reopen().unwrap_or_else(|error| panic!("the proxy's port: {error}"));
    }

    /// How many connections are open.
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
