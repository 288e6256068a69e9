//! A Redis Cluster: a plain client for each of its primaries, so that one that is dead or hangs holds up nobody else, and a map
//! of the slots. Redirections are followed here: the driver would mix up answers (S25).

mod heirs;
mod map;
mod redirection;

use std::{
    collections::HashMap,
    sync::Arc,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    prelude::{ClientLike, Config, ServerConfig, TlsConfig},
    types::config::Server,
};
use lease_core::{Clock, Moment, SystemClock};
use tokio::runtime::{self, Handle};

pub(crate) use self::{heirs::heirs, map::SlotMap, redirection::Redirection};
use crate::{
    RedisStoreOptions,
    driver::{connection, performance, reconnect_policy},
    lane::Lane,
};

/// The map is read anew after this time even where nothing seems wrong with it.
const OLD: Duration = Duration::from_secs(30);

/// And no sooner than this where something does; than the longest, while it stays as it was.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A server that nobody has asked for this long, and that has no slots, is left.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// So many servers are asked for the map at a time: one of them may hang.
const ASKED_AT_ONCE: usize = 3;

/// What is known of a Cluster, and the clients for its servers.
pub(crate) struct Cluster {
    /// That of each client, but for the server.
    config: Config,
    seeds: Vec<Server>,
    options: RedisStoreOptions,
    state: Mutex<State>,
    is_in_doubt: AtomicBool,
    /// Held by whoever reads the map.
    pub(crate) reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    map: SlotMap,
    nodes: Vec<Node>,
    /// One for each server that there ever was, from 1 on.
    numbers: HashMap<Server, u16>,
    /// When somebody was last asked for the map.
    asked_at: Option<Moment>,
    pause: Duration,
    turn: usize,
}

/// A server's client for one runtime.
struct Node {
    runtime: runtime::Id,
    server: Server,
    lane: Arc<Lane>,
    used_at: Moment,
}

impl Cluster {
    /// That of the servers in the configuration.
    pub(crate) fn new(config: Config, options: &RedisStoreOptions) -> Self {
        let seeds = config.server.hosts();
        Self {
            config,
            seeds,
            options: options.clone(),
            state: Mutex::default(),
            is_in_doubt: AtomicBool::new(true),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The servers that the configuration names.
    pub(crate) fn seeds(&self) -> &[Server] {
        &self.seeds
    }

    /// The configuration of a client for this server.
    pub(crate) fn config_for(&self, server: &Server) -> Config {
        let server = ServerConfig::Centralized { server: server.clone() };
        Config { server, database: None, fail_fast: false, ..self.config.clone() }
    }

    /// A client for this server that nobody has connected.
    pub(crate) fn client(&self, config: Config) -> Client {
        let options = &self.options;
        Client::new(config, Some(performance(options)), Some(connection(options)), Some(reconnect_policy()))
    }

    /// The client for this server, made at the first call. Within a runtime.
    pub(crate) fn lane(&self, server: &Server) -> Arc<Lane> {
        let (here, now) = (Handle::current().id(), SystemClock.now());
        let mut state = self.lock();
        let is_it = |node: &&mut Node| node.runtime == here && node.server == *server && !node.lane.has_ended();
        if let Some(node) = state.nodes.iter_mut().find(is_it) {
            node.used_at = now;
            return Arc::clone(&node.lane);
        }
        let server = state.map.known(server.clone());
        let client = self.client(self.config_for(&server));
        let task = client.connect();
        let lane = Arc::new(Lane::new(client, Some(task)));
        state.nodes.push(Node { runtime: here, server, lane: Arc::clone(&lane), used_at: now });
        lane
    }

    /// Keeps a client that was connected on this runtime.
    pub(crate) fn keep(&self, server: Server, lane: Lane) {
        let node = Node { runtime: Handle::current().id(), server, lane: Arc::new(lane), used_at: SystemClock.now() };
        self.lock().nodes.push(node);
    }

    /// The clients of this runtime.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        let Ok(runtime) = Handle::try_current() else { return Vec::new() };
        let (state, here) = (self.lock(), runtime.id());
        state.nodes.iter().filter(|node| node.runtime == here).map(|node| Arc::clone(&node.lane)).collect()
    }

    pub(crate) fn server_of(&self, slot: u16) -> Option<Server> {
        self.lock().map.server_of(slot).cloned()
    }

    /// A number for the server that has this slot; 0 where it is not known.
    pub(crate) fn number_of(&self, slot: u16) -> u16 {
        let state = self.lock();
        state.map.server_of(slot).and_then(|server| state.numbers.get(server)).copied().unwrap_or(0)
    }

    /// A server has said that another one has this slot.
    pub(crate) fn moved(&self, slot: u16, server: &Server) {
        let mut state = self.lock();
        state.map.moved(slot, server.clone());
        state.count_servers();
    }

    /// Something is wrong that may be because the map is: it is read anew before the next call.
    pub(crate) fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::Relaxed);
    }

    /// Whether the map is to be read anew, and may be.
    pub(crate) fn wants_map(&self) -> bool {
        let state = self.lock();
        let pause = if self.is_in_doubt.load(Ordering::Relaxed) { state.pause.max(PAUSE) } else { OLD };
        state.asked_at.is_none_or(|at| at + pause <= SystemClock.now())
    }

    /// Whether there never was one.
    pub(crate) fn has_no_map(&self) -> bool {
        self.lock().map.covered() == 0
    }

    /// A server to subscribe at: one that is connected, if there is one, in its turn.
    pub(crate) fn one_to_listen_to(&self, turn: usize) -> Option<Server> {
        let state = self.lock();
        let is_connected = |server: &&Server| {
            state.nodes.iter().any(|node| node.server == **server && node.lane.client().is_connected())
        };
        let connected: Vec<_> = state.map.servers().iter().filter(is_connected).collect();
        let all = || state.map.servers().iter().chain(&self.seeds).collect();
        let servers = if connected.is_empty() { all() } else { connected };
        servers.get(turn % servers.len().max(1)).map(|server| (*server).clone())
    }

    /// Whether a server has no slots any more.
    pub(crate) fn has_left(&self, server: &Server) -> bool {
        let state = self.lock();
        state.map.covered() > 0 && state.map.slots_of(server) == 0
    }

    /// Who may tell the map: some of those that are connected, each in its turn; otherwise all that are known.
    pub(crate) fn may_tell_the_map(&self) -> Vec<(Server, Arc<Lane>)> {
        let here = Handle::current().id();
        let known = {
            let mut state = self.lock();
            state.asked_at = Some(SystemClock.now());
            state.turn = state.turn.wrapping_add(1);
            // One that has left the Cluster knows what was true then.
            let knows_none = state.map.covered() == 0;
            let is_in_it = |server: &Server| knows_none || state.map.servers().contains(server);
            let is_connected =
                |node: &&Node| node.runtime == here && is_in_it(&node.server) && node.lane.client().is_connected();
            let mut connected: Vec<_> = state.nodes.iter().filter(is_connected).map(Node::lane).collect();
            if !connected.is_empty() {
                let turn = state.turn % connected.len();
                connected.rotate_left(turn);
                connected.truncate(ASKED_AT_ONCE);
                return connected;
            }
            state.map.servers().iter().chain(&self.seeds).cloned().collect::<Vec<_>>()
        };
        known.into_iter().map(|server| (server.clone(), self.lane(&server))).collect()
    }

    /// Reads the answer of a server to `CLUSTER SLOTS`.
    pub(crate) fn read(&self, answer: &fred::prelude::Value, asked: &Server) -> Option<SlotMap> {
        SlotMap::read(answer, asked, self.config.tls.as_ref().map(|TlsConfig { hostnames, .. }| hostnames))
    }

    /// From now on this is the map. Clients of servers that have left it are dropped.
    pub(crate) fn learn(&self, map: SlotMap) {
        self.is_in_doubt.store(false, Ordering::Relaxed);
        let now = SystemClock.now();
        let mut left = Vec::new();
        let mut state = self.lock();
        state.pause = if state.map == map { (state.pause * 2).clamp(PAUSE, LONGEST_PAUSE) } else { PAUSE };
        state.map = map;
        state.count_servers();
        let State { map, nodes, .. } = &mut *state;
        // A slot may be moving to one that has none yet.
        let is_left = |node: &mut Node| {
            node.lane.has_ended() || (!map.servers().contains(&node.server) && node.used_at + FORGOTTEN <= now)
        };
        left.extend(nodes.extract_if(.., is_left));
        drop(state);
        // Without the lock: they end their clients.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count_servers(&mut self) {
        for server in self.map.servers() {
            let next = u16::try_from(self.numbers.len() + 1).unwrap_or(u16::MAX);
            if !self.numbers.contains_key(server) {
                self.numbers.insert(server.clone(), next);
            }
        }
    }
}

impl Node {
    fn lane(&self) -> (Server, Arc<Lane>) {
        (self.server.clone(), Arc::clone(&self.lane))
    }
}

/// A call to a server of a Cluster. Unless it ends well, the map is read anew.
pub(crate) struct Doubt<'a>(Option<&'a Cluster>);

impl<'a> Doubt<'a> {
    pub(crate) fn begin(cluster: &'a Cluster) -> Self {
        Self(Some(cluster))
    }

    pub(crate) fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(cluster) = self.0 {
            cluster.doubt();
        }
    }
}
