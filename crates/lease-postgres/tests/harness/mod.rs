//! PostgreSQL on the test bench.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use integration_tests::{Postgres, Proxy};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_postgres::PostgresStoreOptions;
use lease_testkit::{Harm, Harness};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Servers that no case has at the moment. A case does harm to its server, so it has one to itself; those that passed leave
/// theirs to the next.
static SERVERS: Mutex<Vec<Arc<Postgres>>> = Mutex::new(Vec::new());

/// A server, a network in front of it, and a table of its own.
pub(crate) struct PostgresHarness {
    server: Arc<Postgres>,
    network: Proxy,
    options: PostgresStoreOptions,
}

impl PostgresHarness {
    pub(crate) async fn start() -> Self {
        let idle = SERVERS.lock().unwrap().pop();
        let server = match idle {
            Some(server) => server,
            // One that can be harmed, also where the environment names another.
            None => Arc::new(match Postgres::start_local(&[]).await {
                Ok(server) => server,
                Err(_) => Postgres::start().await,
            }),
        };
        let network = Proxy::start(server.address().unwrap()).await.unwrap();
        let options = PostgresStoreOptions::new().with_table(format!("leases_{}", GrantId::random()));
        options.connect(server.url()).await.unwrap().migrate().await.unwrap();
        Self { server, network, options }
    }
}

#[async_trait]
impl Harness for PostgresHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        Arc::new(self.options.connect(&self.server.url_through(&self.network)).await.unwrap())
    }

    /// A request has a sixth of it: on a busy machine that shares two cores with its servers, that takes some time.
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
        let mut connection = PgConnection::connect(self.server.url()).await.unwrap();
        let delete = format!("delete from {} where lease_name = $1", self.options.table);
        sqlx::query(AssertSqlSafe(delete)).bind(name.as_str()).execute(&mut connection).await.unwrap();
        Harm::Done
    }

    async fn stop(&self) {
        SERVERS.lock().unwrap().push(Arc::clone(&self.server));
    }
}
