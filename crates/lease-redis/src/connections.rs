//! The connections of a store, and the calls on them.
//!
//! All calls of a runtime share one connection to a server. The driver pairs answers with commands in their order, and drops the
//! answers of abandoned calls, so an abandoned call by itself does no harm. A connection that **hangs** must not be used again:
//! after a call was abandoned or timed out, a `PING` is sent behind it, and if that is not answered either, the driver is made to
//! reconnect (S24).
//!
//! The order of answers is not trusted (S25). Each call has a tag that comes back with its answer, and a connection is replaced
//! when it gives an answer to the wrong call. An error of the server has no tag, so the call is repeated, and a second error is
//! believed.
//!
//! `connections` chooses a connection, `send` sends one command, `slots` finds the server of a slot, `run` runs a script with its
//! repetitions, and `open` connects.

mod call;
mod cluster;
mod connection;
mod open;
mod own;
mod run;
mod send;
mod slots;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    prelude::{ClientLike, Config},
    types::RespVersion,
};
use lease_core::GrantId;

pub(crate) use self::{
    call::{Answered, Attempts, CallOptions, Confirmed},
    connection::Connection,
    slots::Primary,
};
use self::{cluster::Cluster, own::OwnConnections};
use crate::{RedisStoreOptions, driver::longest_wait, reply::is_read_only, url};

/// The time limit of the `PING` behind an abandoned call, in addition to the time for which the server waits for replicas.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// The connections of a store.
pub(crate) struct Connections {
    kind: Kind,
    next_borrowed: AtomicUsize,
    /// The tag of the next call. Each store begins with another one.
    next_tag: AtomicU64,
    server: String,
    command_timeout: Duration,
    probe_timeout: Duration,
}

enum Kind {
    Own(OwnConnections),
    Cluster(Box<Cluster>),
    /// Clients of the application, on the runtime on which the application has connected them.
    Borrowed(Vec<Arc<Connection>>),
}

impl Connections {
    /// Uses clients of the application. A client of a Cluster provides only the configuration, because it cannot be used for
    /// each server by itself.
    pub(crate) fn borrow(clients: Vec<Client>, options: &RedisStoreOptions) -> Self {
        let config = clients.first().map(ClientLike::client_config);
        let server = config.as_ref().map(url::describe).unwrap_or_default();
        let kind = match config.filter(|config| config.server.is_clustered()) {
            Some(config) => {
                let config = Config { version: RespVersion::RESP3, ..config };
                Kind::Cluster(Box::new(Cluster::new(config, options)))
            }
            None => {
                let connection = |client| Arc::new(Connection::new(client, None));
                Kind::Borrowed(clients.into_iter().map(connection).collect())
            }
        };
        Self::new(kind, server, options)
    }

    fn new(kind: Kind, server: String, options: &RedisStoreOptions) -> Self {
        Self {
            kind,
            next_borrowed: AtomicUsize::new(0),
            // 63 bits: the server has signed integers.
            next_tag: AtomicU64::new((GrantId::random().as_u128() as u64) >> 1),
            server,
            command_timeout: options.command_timeout,
            probe_timeout: PROBE_TIMEOUT + longest_wait(options),
        }
    }

    /// Returns a description of the server or the Cluster, for messages.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster().is_some()
    }

    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        match &self.kind {
            Kind::Cluster(cluster) => Some(cluster),
            Kind::Own(_) | Kind::Borrowed(_) => None,
        }
    }

    /// Returns a connection for a call: one of the borrowed ones in turn, those that are connected first. In a Cluster, returns
    /// one to any of the configured servers.
    pub(crate) fn pick(&self) -> Arc<Connection> {
        let seeds;
        let connections = match &self.kind {
            Kind::Own(own) => return own.of_this_runtime(),
            Kind::Cluster(cluster) => {
                seeds = cluster.seeds().iter().map(|seed| cluster.connection(seed)).collect();
                &seeds
            }
            Kind::Borrowed(connections) => connections,
        };
        let start = self.next_borrowed.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..connections.len()).map(|at| &connections[(start + at) % connections.len()]);
        let connected = in_turn.clone().find(|connection| connection.client().is_connected());
        Arc::clone(connected.unwrap_or(&connections[start % connections.len()]))
    }

    /// Returns the connections whose server was not checked since they were established, with their generations.
    pub(crate) fn unchecked(&self) -> Vec<(Arc<Connection>, u64)> {
        let unchecked = |connection: &Arc<Connection>| {
            connection.unchecked().map(|generation| (Arc::clone(connection), generation))
        };
        match &self.kind {
            Kind::Own(own) => unchecked(&own.of_this_runtime()).into_iter().collect(),
            // Only the primaries are checked: a replica is, when it becomes one.
            Kind::Cluster(cluster) => cluster.connections_to_primaries().iter().filter_map(unchecked).collect(),
            Kind::Borrowed(connections) => connections.iter().filter_map(unchecked).collect(),
        }
    }

    /// Returns the clients of the current runtime. In a Cluster without connections, returns a client for each configured server
    /// that is not connected.
    pub(crate) fn clients(&self) -> Vec<Client> {
        match &self.kind {
            Kind::Own(own) => vec![own.of_this_runtime().client()],
            Kind::Cluster(cluster) => {
                let clients: Vec<_> = cluster.connections().iter().map(|connection| connection.client()).collect();
                if !clients.is_empty() {
                    return clients;
                }
                cluster.seeds().iter().map(|seed| cluster.client(cluster.config_for(seed))).collect()
            }
            Kind::Borrowed(connections) => connections.iter().map(|connection| connection.client()).collect(),
        }
    }

    /// Returns the first of the clients.
    pub(crate) fn client(&self) -> Client {
        self.clients().swap_remove(0)
    }

    /// Leaves the server if the reply says that it is a replica.
    pub(crate) fn leave_replica_after(&self, reply: &str) {
        if is_read_only(reply) {
            self.leave_replica();
        }
    }

    /// Leaves a server that is a replica: after a fail-over, its name or the sentinels lead to the new primary.
    pub(crate) fn leave_replica(&self) {
        match &self.kind {
            Kind::Own(own) => own.of_this_runtime().leave_replica(),
            Kind::Cluster(cluster) => cluster.mark_stale(),
            Kind::Borrowed(connections) => connections.iter().for_each(Connection::leave_replica),
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the clients: their configuration has the password.
        f.debug_struct("Connections").field("server", &self.server).finish_non_exhaustive()
    }
}
