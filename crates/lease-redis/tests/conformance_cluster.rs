//! The conformance suite, with a Cluster of three servers: names are spread over the slots, and batches span the servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Direction, Proxy, RedisCluster};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_redis::RedisStoreOptions;
use lease_testkit::{Harness, Injection, conformance};

conformance!(real, ClusterHarness::start);

/// A Cluster with a proxy in front of each of its servers. No other case uses them at the same time, because a case injects
/// faults.
struct ClusterHarness {
    cluster: RedisCluster,
    proxies: Vec<Proxy>,
    options: RedisStoreOptions,
}

impl ClusterHarness {
    async fn start() -> Self {
        let cluster = RedisCluster::take_or_start(3).await.unwrap();
        let mut proxies = Vec::new();
        for node in cluster.nodes() {
            proxies.push(Proxy::start(node.address().unwrap()).await.unwrap());
        }
        cluster.announce(&proxies).await.unwrap();
        let options = RedisStoreOptions::new().with_key_prefix(format!("{}:", GrantId::random()));
        Self { cluster, proxies, options }
    }
}

#[async_trait]
impl Harness for ClusterHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        let url = self.cluster.url_through(&self.proxies);
        Arc::new(self.options.connect(&url).await.unwrap())
    }

    /// A request times out after a sixth of the ttl. On two busy cores, shared with the servers, a request takes some time.
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
        for proxy in &self.proxies {
            proxy.refuse_connections();
            proxy.reset_connections();
        }
        Injection::Done
    }

    async fn lose_answers(&self) -> Injection {
        self.proxies.iter().for_each(Proxy::drop_answers);
        Injection::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Injection {
        self.proxies.iter().for_each(|proxy| proxy.delay(Direction::Answers, delay));
        Injection::Done
    }

    async fn heal(&self) {
        self.proxies.iter().for_each(Proxy::heal);
    }

    async fn restart(&self) -> Injection {
        for node in self.cluster.nodes() {
            node.restart().await.unwrap();
        }
        self.cluster.settled().await.unwrap();
        // A restarted server does not announce the address of its proxy any more.
        self.cluster.announce(&self.proxies).await.unwrap();
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
        self.cluster.announce(&self.proxies).await.unwrap();
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
            // Servers without the slot reply with a redirection.
            node.command(&["DEL", &key]).await.unwrap();
        }
        Injection::Done
    }

    async fn stop(&self) {
        self.cluster.give();
    }
}
