//! A Redis Cluster: a slot map, and a connection to each primary.
//!
//! Each connection is a plain client of the driver, so that a primary that is dead or hangs does not hold up calls to the others.
//! This crate follows redirections itself, because the driver mixes up answers when it follows them (S25).

mod migration;
mod redirection;
mod slot_map;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    prelude::{ClientLike, Config, ServerConfig, TlsConfig, Value},
    types::config::Server,
};
use lease_core::{Clock, Moment, SystemClock};
use tokio::runtime::{self, Handle};

pub(crate) use self::{migration::migration_targets, redirection::Redirection, slot_map::SlotMap};
use super::{connection::Connection, own::new_client};
use crate::RedisStoreOptions;

/// How often the map is read even if nothing seems wrong with it.
const MAX_MAP_AGE: Duration = Duration::from_secs(30);

/// The shortest time between two readings of a map that may be stale. It doubles up to the longest while the map stays the same.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_millis(100);
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a connection to a server without slots is kept after its last call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many servers are asked for the map at a time: one of them may hang.
const MAP_SOURCES: usize = 3;

/// The slot map of a Cluster, and the connections to its servers.
pub(crate) struct Cluster {
    /// The configuration of each client, except for the server.
    config: Config,
    seeds: Vec<Server>,
    options: RedisStoreOptions,
    state: Mutex<State>,
    is_stale: AtomicBool,
    /// Locked while the map is read.
    pub(crate) reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    map: SlotMap,
    nodes: Vec<Node>,
    /// A number from 1 on for each server that the map has ever had.
    numbers: HashMap<Server, u16>,
    /// When servers were last asked for the map.
    asked_at: Option<Moment>,
    refresh_interval: Duration,
    /// Rotates the servers that are asked for the map.
    turn: usize,
}

/// The connection of one runtime to a server.
struct Node {
    runtime: runtime::Id,
    server: Server,
    connection: Arc<Connection>,
    used_at: Moment,
}

impl Cluster {
    /// Creates the Cluster of a configuration, without connections.
    pub(crate) fn new(config: Config, options: &RedisStoreOptions) -> Self {
        let seeds = config.server.hosts();
        Self {
            config,
            seeds,
            options: options.clone(),
            state: Mutex::default(),
            is_stale: AtomicBool::new(true),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the servers that the configuration names.
    pub(crate) fn seeds(&self) -> &[Server] {
        &self.seeds
    }

    /// Returns the configuration of a client for a server.
    pub(crate) fn config_for(&self, server: &Server) -> Config {
        let server = ServerConfig::Centralized { server: server.clone() };
        Config { server, database: None, fail_fast: false, ..self.config.clone() }
    }

    /// Creates a client that is not connected.
    pub(crate) fn client(&self, config: Config) -> Client {
        new_client(config, &self.options)
    }

    /// Returns the connection of the current runtime to a server, opening it at the first call.
    ///
    /// # Panics
    ///
    /// Panics outside a runtime.
    pub(crate) fn connection(&self, server: &Server) -> Arc<Connection> {
        let (here, now) = (Handle::current().id(), SystemClock.now());
        let mut state = self.lock();
        // A redirection names no name for the certificate.
        let server = state.map.with_certificate_name(server.clone());
        let is_usable = |node: &&mut Node| {
            node.runtime == here && node.has_address_and_name_of(&server) && !node.connection.has_ended()
        };
        if let Some(node) = state.nodes.iter_mut().find(is_usable) {
            node.used_at = now;
            return Arc::clone(&node.connection);
        }
        let client = self.client(self.config_for(&server));
        let task = client.connect();
        let connection = Arc::new(Connection::new(client, Some(task)));
        state.nodes.push(Node { runtime: here, server, connection: Arc::clone(&connection), used_at: now });
        connection
    }

    /// Adds a connection that was opened on the current runtime.
    pub(crate) fn add(&self, server: Server, connection: Connection) {
        let (runtime, used_at) = (Handle::current().id(), SystemClock.now());
        let node = Node { runtime, server, connection: Arc::new(connection), used_at };
        self.lock().nodes.push(node);
    }

    /// Returns the connections of the current runtime.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections_to(|_, _| true)
    }

    /// Returns the established connections of the current runtime to servers that have slots.
    pub(crate) fn connections_to_primaries(&self) -> Vec<Arc<Connection>> {
        self.connections_to(|map, node| map.servers().contains(&node.server) && node.connection.client().is_connected())
    }

    fn connections_to(&self, is_wanted: impl Fn(&SlotMap, &Node) -> bool) -> Vec<Arc<Connection>> {
        let Ok(runtime) = Handle::try_current() else { return Vec::new() };
        let (state, here) = (self.lock(), runtime.id());
        let wanted = state.nodes.iter().filter(|node| node.runtime == here && is_wanted(&state.map, node));
        wanted.map(|node| Arc::clone(&node.connection)).collect()
    }

    /// Returns the server that has a slot, if it is known.
    pub(crate) fn server_of(&self, slot: u16) -> Option<Server> {
        self.lock().map.server_of(slot).cloned()
    }

    /// Returns a number for the server that has a slot; 0 if the server is not known.
    pub(crate) fn number_of(&self, slot: u16) -> u16 {
        let state = self.lock();
        state.map.server_of(slot).and_then(|server| state.numbers.get(server)).copied().unwrap_or(0)
    }

    /// Notes that a server redirects calls for a slot to another server.
    pub(crate) fn moved(&self, slot: u16, server: &Server) {
        let mut state = self.lock();
        state.map.assign(slot, server.clone());
        state.number_servers();
    }

    /// Marks the map as stale: the next call reads it first.
    pub(crate) fn mark_stale(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
    }

    /// Returns whether the map is due to be read.
    pub(crate) fn needs_refresh(&self) -> bool {
        let state = self.lock();
        let is_stale = self.is_stale.load(Ordering::Relaxed);
        let interval = if is_stale { state.refresh_interval.max(MIN_REFRESH_INTERVAL) } else { MAX_MAP_AGE };
        state.asked_at.is_none_or(|at| at + interval <= SystemClock.now())
    }

    /// Returns whether the map was never read.
    pub(crate) fn has_no_map(&self) -> bool {
        self.lock().map.covered() == 0
    }

    /// Returns a server to subscribe at, another one at each turn. Prefers servers that are connected.
    pub(crate) fn server_for_subscription(&self, turn: usize) -> Option<Server> {
        let state = self.lock();
        let is_connected = |server: &&Server| {
            state.nodes.iter().any(|node| node.server == **server && node.connection.client().is_connected())
        };
        let connected: Vec<_> = state.map.servers().iter().filter(is_connected).collect();
        let all = || state.map.servers().iter().chain(&self.seeds).collect();
        let servers = if connected.is_empty() { all() } else { connected };
        servers.get(turn % servers.len().max(1)).map(|server| (*server).clone())
    }

    /// Returns whether a server has lost all its slots.
    pub(crate) fn has_no_slots(&self, server: &Server) -> bool {
        let state = self.lock();
        state.map.covered() > 0 && state.map.slots_of(server) == 0
    }

    /// Returns the servers to ask for the map: a few that are connected, others at each call; or else all that are known.
    pub(crate) fn map_sources(&self) -> Vec<(Server, Arc<Connection>)> {
        let here = Handle::current().id();
        let known = {
            let mut state = self.lock();
            state.asked_at = Some(SystemClock.now());
            state.turn = state.turn.wrapping_add(1);
            // A server that has left the Cluster has an old map.
            let has_no_map = state.map.covered() == 0;
            let is_in_it = |server: &Server| has_no_map || state.map.servers().contains(server);
            let is_connected = |node: &&Node| {
                node.runtime == here && is_in_it(&node.server) && node.connection.client().is_connected()
            };
            let mut connected: Vec<_> =
                state.nodes.iter().filter(is_connected).map(Node::server_and_connection).collect();
            if !connected.is_empty() {
                let turn = state.turn % connected.len();
                connected.rotate_left(turn);
                connected.truncate(MAP_SOURCES);
                return connected;
            }
            state.map.servers().iter().chain(&self.seeds).cloned().collect::<Vec<_>>()
        };
        known.into_iter().map(|server| (server.clone(), self.connection(&server))).collect()
    }

    /// Parses the answer of a server to `CLUSTER SLOTS`.
    pub(crate) fn parse_map(&self, answer: &Value, asked: &Server) -> Option<SlotMap> {
        SlotMap::parse(answer, asked, self.config.tls.as_ref().map(|TlsConfig { hostnames, .. }| hostnames))
    }

    /// Replaces the map, and drops the connections to servers that are not in it.
    pub(crate) fn set_map(&self, map: SlotMap) {
        self.is_stale.store(false, Ordering::Relaxed);
        let now = SystemClock.now();
        let mut left = Vec::new();
        let mut state = self.lock();
        state.refresh_interval = if state.map == map {
            (state.refresh_interval * 2).clamp(MIN_REFRESH_INTERVAL, MAX_REFRESH_INTERVAL)
        } else {
            MIN_REFRESH_INTERVAL
        };
        state.map = map;
        state.number_servers();
        let State { map, nodes, .. } = &mut *state;
        // A server without slots may be getting its first one: its connection is kept while it is used.
        // One that was opened with another name for the certificate may never be connected.
        let is_left = |node: &mut Node| {
            let known = map.with_certificate_name(node.server.clone());
            node.connection.has_ended()
                || !node.has_address_and_name_of(&known)
                || (!map.servers().contains(&node.server) && node.used_at + IDLE_TIMEOUT <= now)
        };
        left.extend(nodes.extract_if(.., is_left));
        drop(state);
        // Outside the lock: a connection ends its client when it is dropped.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number_servers(&mut self) {
        for server in self.map.servers() {
            let next = u16::try_from(self.numbers.len() + 1).unwrap_or(u16::MAX);
            if !self.numbers.contains_key(server) {
                self.numbers.insert(server.clone(), next);
            }
        }
    }
}

impl Node {
    /// The driver's comparison of servers ignores the name that the certificate must have.
    fn has_address_and_name_of(&self, server: &Server) -> bool {
        self.server == *server && self.server.tls_server_name == server.tls_server_name
    }

    fn server_and_connection(&self) -> (Server, Arc<Connection>) {
        (self.server.clone(), Arc::clone(&self.connection))
    }
}

/// Marks the map as stale when it is dropped, unless [`keep_map`](Self::keep_map) was called: a call that fails or is abandoned
/// may have gone to the wrong server.
pub(crate) struct StaleOnDrop<'a>(Option<&'a Cluster>);

impl<'a> StaleOnDrop<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self(Some(cluster))
    }

    pub(crate) fn keep_map(mut self) {
        self.0 = None;
    }
}

impl Drop for StaleOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(cluster) = self.0 {
            cluster.mark_stale();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_is_connected_again_when_the_name_for_its_certificate_is_known() {
        let config = Config::from_url_clustered("redis-cluster://127.0.0.1:1").unwrap();
        let cluster = Cluster::new(config, &RedisStoreOptions::new());
        let from_redirection = Server::new("127.0.0.1", 1);
        let named = Server { tls_server_name: Some("a.example".into()), ..from_redirection.clone() };
        let map_with = |server: &Server| {
            let mut map = SlotMap::default();
            map.assign(7, server.clone());
            map
        };
        cluster.moved(7, &from_redirection);
        let before = cluster.connection(&from_redirection);
        assert!(Arc::ptr_eq(&before, &cluster.connection(&from_redirection)));
        cluster.set_map(map_with(&named));
        assert!(cluster.connections().is_empty());
        let after = cluster.connection(&from_redirection);
        assert_eq!(after.client().client_config().server.hosts()[0].tls_server_name, named.tls_server_name);
        cluster.set_map(map_with(&named));
        assert!(Arc::ptr_eq(&after, &cluster.connection(&named)));
        // A map that was read before a redirection has named the server.
        cluster.lock().map = map_with(&from_redirection);
        assert!(!Arc::ptr_eq(&after, &cluster.connection(&from_redirection)));
    }
}
