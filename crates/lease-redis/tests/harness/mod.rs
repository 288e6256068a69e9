//! Redis on the test bench.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use integration_tests::{Proxy, Redis};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_redis::RedisStoreOptions;
use lease_testkit::{Harm, Harness};

/// Servers that no case has at the moment. A case does harm to its server, so it has one to itself; those that passed leave
/// theirs to the next.
static SERVERS: Mutex<Vec<Arc<Redis>>> = Mutex::new(Vec::new());

/// A server, a network in front of it, and a prefix of its own.
pub(crate) struct RedisHarness {
    server: Arc<Redis>,
    network: Proxy,
    options: RedisStoreOptions,
}

impl RedisHarness {
    pub(crate) async fn start() -> Self {
        let idle = SERVERS.lock().unwrap().pop();
        let server = match idle {
            Some(server) => server,
            None => {
                let durable = [("appendonly", "yes")];
                // One that can be harmed, also where the environment names another.
                Arc::new(match Redis::start_local(&durable).await {
                    Ok(server) => server,
                    Err(_) => Redis::try_start(&durable).await.unwrap(),
                })
            }
        };
        let network = Proxy::start(server.address().unwrap()).await.unwrap();
        let options = RedisStoreOptions::new().with_key_prefix(format!("{}:", GrantId::random()));
        Self { server, network, options }
    }
}

#[async_trait]
impl Harness for RedisHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        Arc::new(self.options.connect(&self.server.url_through(&self.network)).await.unwrap())
    }

    /// A request has a sixth of it: on a busy machine that shares two cores with its servers, that takes some time.
    fn ttl(&self) -> Duration {
        Duration::from_millis(1500)
    }

    async fn freeze(&self) -> Harm {
        self.server.freeze().await.unwrap();
        Harm::Done
    }

    async fn thaw(&self) {
        self.server.thaw().await.unwrap();
    }

    async fn cut(&self) -> Harm {
        self.network.refuse_connections();
        self.network.reset_connections();
        Harm::Done
    }

    async fn heal(&self) {
        self.network.heal();
    }

    async fn restart(&self) -> Harm {
        self.server.restart().await.unwrap();
        Harm::Done
    }

    async fn remove_record(&self, name: &LeaseName) -> Harm {
        let key = format!("{}{name}", self.options.key_prefix);
        self.server.command(&["DEL", &key]).await.unwrap();
        Harm::Done
    }

    async fn stop(&self) {
        SERVERS.lock().unwrap().push(Arc::clone(&self.server));
    }
}
