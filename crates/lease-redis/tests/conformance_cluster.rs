//! The conformance suite, against a Cluster of three servers: names spread over the slots, batches span the servers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use integration_tests::{Direction, Proxy, RedisCluster};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_redis::RedisStoreOptions;
use lease_testkit::{Harm, Harness, conformance};

conformance!(real, ClusterHarness::start);

/// Clusters that no case has at the moment. A case does harm to its servers, so it has them to itself; those that passed
/// leave theirs to the next.
static CLUSTERS: Mutex<Vec<Arc<Harmable>>> = Mutex::new(Vec::new());

/// A Cluster, and a network in front of each of its servers. The network has a runtime of its own, and so outlives a case.
struct Harmable {
    cluster: RedisCluster,
    network: Vec<Proxy>,
    _runtime: tokio::runtime::Runtime,
}

struct ClusterHarness {
    harmable: Arc<Harmable>,
    options: RedisStoreOptions,
}

impl ClusterHarness {
    async fn start() -> Self {
        let idle = CLUSTERS.lock().unwrap().pop();
        let harmable = match idle {
            Some(harmable) => harmable,
            None => {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                let (cluster, network) = runtime
                    .spawn(async {
                        let cluster = RedisCluster::start(3).await.unwrap();
                        let mut network = Vec::new();
                        for node in cluster.nodes() {
                            network.push(Proxy::start(node.address().unwrap()).await.unwrap());
                        }
                        cluster.announce(&network).await.unwrap();
                        (cluster, network)
                    })
                    .await
                    .unwrap();
                Arc::new(Harmable { cluster, network, _runtime: runtime })
            }
        };
        let options = RedisStoreOptions::new().with_key_prefix(format!("{}:", GrantId::random()));
        Self { harmable, options }
    }
}

#[async_trait]
impl Harness for ClusterHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        let url = self.harmable.cluster.url_through(&self.harmable.network);
        Arc::new(self.options.connect(&url).await.unwrap())
    }

    /// A request has a sixth of it: on a busy machine that shares two cores with its servers, that takes some time.
    fn ttl(&self) -> Duration {
        Duration::from_millis(1500)
    }

    async fn freeze(&self) -> Harm {
        for node in self.harmable.cluster.nodes() {
            node.freeze().await.unwrap();
        }
        Harm::Done
    }

    async fn thaw(&self) {
        for node in self.harmable.cluster.nodes() {
            node.thaw().await.unwrap();
        }
        self.harmable.cluster.settled().await.unwrap();
    }

    async fn cut(&self) -> Harm {
        for network in &self.harmable.network {
            network.refuse_connections();
            network.reset_connections();
        }
        Harm::Done
    }

    async fn lose_answers(&self) -> Harm {
        self.harmable.network.iter().for_each(Proxy::drop_answers);
        Harm::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Harm {
        self.harmable.network.iter().for_each(|network| network.delay(Direction::Answers, delay));
        Harm::Done
    }

    async fn heal(&self) {
        self.harmable.network.iter().for_each(Proxy::heal);
    }

    async fn restart(&self) -> Harm {
        for node in self.harmable.cluster.nodes() {
            node.restart().await.unwrap();
        }
        self.harmable.cluster.settled().await.unwrap();
        // They have forgotten where they were said to be.
        self.harmable.cluster.announce(&self.harmable.network).await.unwrap();
        Harm::Done
    }

    async fn crash(&self) -> Harm {
        for node in self.harmable.cluster.nodes() {
            node.kill().await.unwrap();
        }
        for node in self.harmable.cluster.nodes() {
            node.start_again().await.unwrap();
        }
        self.harmable.cluster.settled().await.unwrap();
        self.harmable.cluster.announce(&self.harmable.network).await.unwrap();
        Harm::Done
    }

    async fn back_up(&self) -> Harm {
        for node in self.harmable.cluster.nodes() {
            node.back_up(&self.options.key_prefix).await.unwrap();
        }
        Harm::Done
    }

    async fn put_back(&self) {
        for node in self.harmable.cluster.nodes() {
            node.put_back(&self.options.key_prefix).await.unwrap();
        }
    }

    async fn remove_record(&self, name: &LeaseName) -> Harm {
        let key = format!("{}{name}", self.options.key_prefix);
        for node in self.harmable.cluster.nodes() {
            // Those that do not have its slot refuse.
            node.command(&["DEL", &key]).await.unwrap();
        }
        Harm::Done
    }

    async fn stop(&self) {
        CLUSTERS.lock().unwrap().push(Arc::clone(&self.harmable));
    }
}
