//! etcd on the test bench.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use etcd_client::Client;
use integration_tests::{Etcd, Proxy};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_etcd::EtcdStoreOptions;
use lease_testkit::{Harm, Harness};

/// Servers that no case has at the moment. A case does harm to its server, so it has one to itself; those that passed leave
/// theirs to the next.
static SERVERS: Mutex<Vec<Arc<Etcd>>> = Mutex::new(Vec::new());

/// A server, a network in front of it, and a key prefix of its own.
pub(crate) struct EtcdHarness {
    server: Arc<Etcd>,
    network: Proxy,
    options: EtcdStoreOptions,
}

impl EtcdHarness {
    pub(crate) async fn start() -> Self {
        let idle = SERVERS.lock().unwrap().pop();
        let server = match idle {
            Some(server) => server,
            // One that can be harmed, also where the environment names another.
            None => Arc::new(match Etcd::start_local(&[]).await {
                Ok(server) => server,
                Err(_) => Etcd::start().await,
            }),
        };
        let network = Proxy::start(server.address().unwrap()).await.unwrap();
        let options = EtcdStoreOptions::new().with_key_prefix(format!("leases-{}/", GrantId::random()));
        Self { server, network, options }
    }
}

#[async_trait]
impl Harness for EtcdHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        Arc::new(self.options.connect([self.server.url_through(&self.network)]).await.unwrap())
    }

    /// The server's minimum.
    fn ttl(&self) -> Duration {
        Duration::from_secs(2)
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
        let mut client = Client::connect([self.server.url()], None).await.unwrap();
        client.delete(format!("{}{name}", self.options.key_prefix), None).await.unwrap();
        Harm::Done
    }

    async fn stop(&self) {
        SERVERS.lock().unwrap().push(Arc::clone(&self.server));
    }
}
