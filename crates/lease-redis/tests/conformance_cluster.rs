//! The conformance suite, against a Cluster of three servers: names spread over the slots, batches span the servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Direction, Proxy, RedisCluster};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_redis::RedisStoreOptions;
use lease_testkit::{Harness, Injection, conformance};

conformance!(real, ClusterHarness::start);

/// A Cluster, and a network in front of each of its servers. A case does harm to them, so it has them to itself.
struct ClusterHarness {
    cluster: RedisCluster,
    network: Vec<Proxy>,
    options: RedisStoreOptions,
}

impl ClusterHarness {
    async fn start() -> Self {
        let cluster = RedisCluster::take_or_start(3).await.unwrap();
        let mut network = Vec::new();
        for node in cluster.nodes() {
            network.push(Proxy::start(node.address().unwrap()).await.unwrap());
        }
        cluster.announce(&network).await.unwrap();
        let options = RedisStoreOptions::new().with_key_prefix(format!("{}:", GrantId::random()));
        Self { cluster, network, options }
    }
}

#[async_trait]
impl Harness for ClusterHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        let url = self.cluster.url_through(&self.network);
        Arc::new(self.options.connect(&url).await.unwrap())
    }

    /// A request has a sixth of it: on a busy machine that shares two cores with its servers, that takes some time.
    fn ttl(&self) -> Duration {
        Duration::from_millis(1500)
    }

    async fn freeze(&self) -> Injection {
        for node in self.cluster.nodes() {
            node.freeze().await.unwrap();
        }
        Injection::Done
    }

    async fn thaw(&self) {
        for node in self.cluster.nodes() {
            node.thaw().await.unwrap();
        }
        self.cluster.settled().await.unwrap();
    }

    async fn cut(&self) -> Injection {
        for network in &self.network {
            network.refuse_connections();
            network.reset_connections();
        }
        Injection::Done
    }

    async fn lose_answers(&self) -> Injection {
        self.network.iter().for_each(Proxy::drop_answers);
        Injection::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Injection {
        self.network.iter().for_each(|network| network.delay(Direction::Answers, delay));
        Injection::Done
    }

    async fn heal(&self) {
        self.network.iter().for_each(Proxy::heal);
    }

    async fn restart(&self) -> Injection {
        for node in self.cluster.nodes() {
            node.restart().await.unwrap();
        }
        self.cluster.settled().await.unwrap();
        // They have forgotten where they were said to be.
        self.cluster.announce(&self.network).await.unwrap();
        Injection::Done
    }

    async fn crash(&self) -> Injection {
        for node in self.cluster.nodes() {
            node.kill().await.unwrap();
        }
        for node in self.cluster.nodes() {
            node.start_again().await.unwrap();
        }
        self.cluster.settled().await.unwrap();
        self.cluster.announce(&self.network).await.unwrap();
        Injection::Done
    }

    async fn back_up(&self) -> Injection {
        for node in self.cluster.nodes() {
            node.back_up(&self.options.key_prefix).await.unwrap();
        }
        Injection::Done
    }

    async fn restore_backup(&self) {
        for node in self.cluster.nodes() {
            node.put_back(&self.options.key_prefix).await.unwrap();
        }
    }

    async fn remove_record(&self, name: &LeaseName) -> Injection {
        let key = format!("{}{name}", self.options.key_prefix);
        for node in self.cluster.nodes() {
            // Those that do not have its slot refuse.
            node.command(&["DEL", &key]).await.unwrap();
        }
        Injection::Done
    }

    async fn stop(&self) {
        self.cluster.give();
    }
}
