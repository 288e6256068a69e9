//! A Redis Cluster of this machine.

use std::time::Duration;

use lease_core::{Clock, SystemClock};

use super::{Redis, Reply};
use crate::{Proxy, ServerError, pool};

const SLOTS: usize = 16384;

/// What the servers of every Cluster have.
const SETTINGS: [(&str, &str); 6] = [
    ("cluster-enabled", "yes"),
    ("cluster-config-file", "nodes.conf"),
    ("cluster-node-timeout", "2000"),
    ("appendonly", "yes"),
    ("appendfsync", "always"),
    // So that a replica soon has something to confirm.
    ("repl-ping-replica-period", "1"),
];

/// How long it may take until all of them know something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Servers of this machine that share the slots among them. It can be harmed node by node, and slots can be moved.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    settings: Vec<(String, String)>,
}

impl RedisCluster {
    /// Starts so many servers, without replicas, and returns when they agree with each other. What they have answered survives a
    /// crash.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the Cluster does not come to be.
    pub async fn start(count: usize) -> Result<Self, ServerError> {
        Self::start_with(count, &[]).await
    }

    /// Like [`start`](Self::start), with settings of the servers.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the Cluster does not come to be.
    pub async fn start_with(count: usize, settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let settings =
            SETTINGS.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut cluster = Self { nodes: Vec::new(), settings };
        for _ in 0..count {
            let node = cluster.start_node().await?;
            cluster.nodes.push(node);
        }
        for (at, node) in cluster.nodes.iter().enumerate() {
            let slots: Vec<String> =
                (at * SLOTS / count..(at + 1) * SLOTS / count).map(|slot| slot.to_string()).collect();
            let mut words = vec!["CLUSTER", "ADDSLOTS"];
            words.extend(slots.iter().map(String::as_str));
            accepted(node.command(&words).await?)?;
            let epoch = (at + 1).to_string();
            accepted(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?)?;
        }
        for node in &cluster.nodes[1..] {
            cluster.meet(node).await?;
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// One that has served a test, or a new one.
    ///
    /// # Errors
    ///
    /// As with [`start`](Self::start).
    pub async fn take_or_start(count: usize) -> Result<Self, ServerError> {
        match pool::take(&SETTINGS, count) {
            Some(nodes) => {
                Ok(Self { nodes, settings: SETTINGS.map(|(name, value)| (name.into(), value.into())).into() })
            }
            None => Self::start(count).await,
        }
    }

    /// Leaves a Cluster, which must be in good order and have no more settings than all, to the next test.
    pub fn give(&self) {
        pool::give(&SETTINGS, &self.nodes);
    }

    async fn start_node(&self) -> Result<Redis, ServerError> {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        Redis::start_local(&settings).await
    }

    async fn meet(&self, node: &Redis) -> Result<(), ServerError> {
        let port = node.address()?.port().to_string();
        let bus = node.command(&["CONFIG", "GET", "cluster-port"]).await?;
        let Reply::Many(setting) = bus else {
            return Err(ServerError::Failed("a server before Redis 7 has no cluster-port".into()));
        };
        let bus = setting.get(1).map(Reply::text).unwrap_or_default();
        accepted(self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?)
    }

    /// Adds a server that has no slots; it is the last one.
    ///
    /// # Errors
    ///
    /// When it does not start, or they do not agree on it.
    pub async fn add_node(&mut self) -> Result<(), ServerError> {
        let node = self.start_node().await?;
        self.meet(&node).await?;
        self.nodes.push(node);
        self.settled().await
    }

    /// Adds a server that follows this one.
    ///
    /// # Errors
    ///
    /// When it does not start, or does not come to have all that the other one has.
    pub async fn add_replica(&mut self, of: usize) -> Result<(), ServerError> {
        self.add_node().await?;
        let (id, replica) = (self.id(of).await?, self.nodes.len() - 1);
        accepted(self.nodes[replica].command(&["CLUSTER", "REPLICATE", &id]).await?)?;
        self.eventually(&self.nodes[replica], &["INFO", "replication"], |info| info.contains("master_link_status:up"))
            .await?;
        self.replicated(of).await?;
        // Whoever is to vote knows of it with the next heartbeats.
        let id = self.id(replica).await?;
        let follows = |nodes: &str| nodes.lines().any(|line| line.contains(&id) && line.contains("slave"));
        for node in &self.nodes {
            self.eventually(node, &["CLUSTER", "NODES"], |nodes| follows(&nodes.replace("\\n", "\n"))).await?;
        }
        Ok(())
    }

    /// Returns when the replica of this server has confirmed all that the server wrote. A new replica has an established link for a
    /// second or more before it gets anything.
    ///
    /// # Errors
    ///
    /// When that does not happen in time.
    pub async fn replicated(&self, primary: usize) -> Result<(), ServerError> {
        self.eventually(&self.nodes[primary], &["INFO", "replication"], is_in_sync).await
    }

    /// Ends the last server, which has no slots any more.
    ///
    /// # Errors
    ///
    /// When the others do not forget it.
    pub async fn remove_last_node(&mut self) -> Result<(), ServerError> {
        let id = self.id(self.nodes.len() - 1).await?;
        let Some(node) = self.nodes.pop() else { return Ok(()) };
        for other in &self.nodes {
            accepted(other.command(&["CLUSTER", "FORGET", &id]).await?)?;
        }
        accepted(node.command(&["CLUSTER", "RESET", "SOFT"]).await?)?;
        self.settled().await
    }

    /// The slot of a key.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn slot_of(&self, key: &str) -> Result<u16, ServerError> {
        match self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await? {
            Reply::Integer(slot) => u16::try_from(slot).map_err(|error| ServerError::failed("a slot", error)),
            other => Err(ServerError::Failed(format!("no slot of {key}: {other:?}"))),
        }
    }

    /// Leaves a slot as an interrupted reshard does, with these keys at the other server already: what the first server does not
    /// have is asked for at the other one from now on.
    ///
    /// # Errors
    ///
    /// When a server refuses.
    pub async fn half_move(&self, slot: u16, from: usize, to: usize, keys: &[&str]) -> Result<(), ServerError> {
        let (from_id, to_id, slot) = (self.id(from).await?, self.id(to).await?, slot.to_string());
        accepted(self.nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await?)?;
        accepted(self.nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await?)?;
        self.migrate(from, to, keys).await
    }

    /// Moves a slot with all its keys.
    ///
    /// # Errors
    ///
    /// When a server refuses.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) -> Result<(), ServerError> {
        self.half_move(slot, from, to, &[]).await?;
        let text = slot.to_string();
        loop {
            let keys = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &text, "100"]).await?;
            let Reply::Many(keys) = keys else { return accepted(keys) };
            if keys.is_empty() {
                break;
            }
            let keys: Vec<String> = keys.iter().map(Reply::text).collect();
            self.migrate(from, to, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        let id = self.id(to).await?;
        for at in [to, from].into_iter().chain((0..self.nodes.len()).filter(|at| ![to, from].contains(at))) {
            // Replicas learn it from their primaries.
            let _ = self.nodes[at].command(&["CLUSTER", "SETSLOT", &text, "NODE", &id]).await?;
        }
        Ok(())
    }

    async fn migrate(&self, from: usize, to: usize, keys: &[&str]) -> Result<(), ServerError> {
        if keys.is_empty() {
            return Ok(());
        }
        let port = self.nodes[to].address()?.port().to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys);
        accepted(self.nodes[from].command(&words).await?)
    }

    async fn id(&self, at: usize) -> Result<String, ServerError> {
        Ok(self.nodes[at].command(&["CLUSTER", "MYID"]).await?.text())
    }

    /// Its servers.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// A URL that names all of them.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<&str> = self.nodes.iter().map(|node| node.url().trim_start_matches("redis://")).collect();
        format!("redis-cluster://{}?node={}", hosts[0], hosts[1..].join("&node="))
    }

    /// Has everybody believe that each server is where its proxy is. The URL of the Cluster is then [`Self::url_through`].
    ///
    /// # Errors
    ///
    /// When a server refuses.
    pub async fn announce(&self, proxies: &[Proxy]) -> Result<(), ServerError> {
        for (node, proxy) in self.nodes.iter().zip(proxies) {
            let port = proxy.address().port().to_string();
            accepted(node.command(&["CONFIG", "SET", "cluster-announce-port", &port]).await?)?;
        }
        // The news travels with the next heartbeats.
        let ports: Vec<String> = proxies.iter().map(|proxy| format!("Integer({})", proxy.address().port())).collect();
        self.agreed(&["CLUSTER", "SLOTS"], |slots| ports.iter().all(|port| slots.contains(port))).await
    }

    /// A URL that names the proxies.
    #[must_use]
    pub fn url_through(&self, proxies: &[Proxy]) -> String {
        let hosts: Vec<String> = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
        format!("redis-cluster://{}?node={}", hosts[0], hosts[1..].join("&node="))
    }

    /// Returns when all of them serve, and know each other.
    ///
    /// # Errors
    ///
    /// When they do not within half a minute.
    pub async fn settled(&self) -> Result<(), ServerError> {
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        self.agreed(&["CLUSTER", "INFO"], |info| info.contains("cluster_state:ok") && info.contains(&known)).await
    }

    /// Asks all of them until every answer, written out, is right.
    async fn agreed(&self, words: &[&str], is_right: impl Fn(&str) -> bool) -> Result<(), ServerError> {
        for node in &self.nodes {
            self.eventually(node, words, &is_right).await?;
        }
        Ok(())
    }

    async fn eventually(
        &self,
        node: &Redis,
        words: &[&str],
        is_right: impl Fn(&str) -> bool,
    ) -> Result<(), ServerError> {
        let clock = SystemClock;
        let deadline = clock.now() + PATIENCE;
        while !node.command(words).await.is_ok_and(|reply| is_right(&format!("{reply:?}"))) {
            if clock.now() >= deadline {
                return Err(ServerError::Failed(format!("waited {PATIENCE:?} in vain: the Cluster agrees")));
            }
            clock.sleep_until(clock.now() + Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

pub(super) fn accepted(reply: Reply) -> Result<(), ServerError> {
    match reply {
        Reply::Error(error) => Err(ServerError::Failed(error)),
        _ => Ok(()),
    }
}

/// Returns whether the replica of this primary has confirmed something, and all that the primary wrote.
fn is_in_sync(info: &str) -> bool {
    let number_after = |start: &str| {
        let digits = info.split_once(start)?.1;
        digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse::<u64>().ok()
    };
    let written = number_after("master_repl_offset:");
    written.is_some_and(|written| written > 0) && number_after(",offset=") == written
}
