//! A Redis Cluster of this machine.

use std::time::Duration;

use lease_core::{Clock, SystemClock};

use super::{Redis, Reply};
use crate::{Proxy, ServerError};

const SLOTS: usize = 16384;

/// How long it may take until all of them know something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Servers of this machine that share the slots among them, without replicas. It can be harmed node by node.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts so many servers, and returns when they agree with each other. What they have answered survives a crash.
    ///
    /// # Errors
    ///
    /// When there is no binary, or the Cluster does not come to be.
    pub async fn start(count: usize) -> Result<Self, ServerError> {
        let settings = [
            ("cluster-enabled", "yes"),
            ("cluster-config-file", "nodes.conf"),
            ("cluster-node-timeout", "2000"),
            ("appendonly", "yes"),
            ("appendfsync", "always"),
        ];
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Redis::start_local(&settings).await?);
        }
        for (at, node) in nodes.iter().enumerate() {
            let slots: Vec<String> =
                (at * SLOTS / count..(at + 1) * SLOTS / count).map(|slot| slot.to_string()).collect();
            let mut words = vec!["CLUSTER", "ADDSLOTS"];
            words.extend(slots.iter().map(String::as_str));
            accepted(node.command(&words).await?)?;
            let epoch = (at + 1).to_string();
            accepted(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?)?;
        }
        let cluster = Self { nodes };
        for node in &cluster.nodes[1..] {
            let port = node.address()?.port().to_string();
            let bus = node.command(&["CONFIG", "GET", "cluster-port"]).await?;
            let Reply::Many(setting) = bus else {
                return Err(ServerError::Failed("a server before Redis 7 has no cluster-port".into()));
            };
            let bus = setting.get(1).map(Reply::text).unwrap_or_default();
            accepted(cluster.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?)?;
        }
        cluster.settled().await?;
        Ok(cluster)
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
        let clock = SystemClock;
        let deadline = clock.now() + PATIENCE;
        for node in &self.nodes {
            while !node.command(words).await.is_ok_and(|reply| is_right(&format!("{reply:?}"))) {
                if clock.now() >= deadline {
                    return Err(ServerError::Failed(format!("waited {PATIENCE:?} in vain: the Cluster agrees")));
                }
                clock.sleep_until(clock.now() + Duration::from_millis(20)).await;
            }
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
