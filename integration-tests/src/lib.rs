//! Real servers for the tests of this workspace, with fault injection. Unix only.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use integration_tests::{Direction, Postgres, Proxy};
//!
//! let shared = Postgres::shared().await; // one per test process; inject no faults
//! println!("{}", shared.url());
//!
//! let postgres = Postgres::start().await; // one of your own
//! postgres.freeze().await?;
//! postgres.thaw().await?;
//! postgres.restart().await?;
//!
//! let proxy = Proxy::start(postgres.address()?).await?; // a network with faults
//! let url = postgres.url_through(&proxy);
//! proxy.black_hole(Direction::Both);
//! proxy.heal();
//! # Ok(()) }
//! ```
//!
//! A server is found in this order:
//!
//! 1. The URL in `LEASE_TEST_POSTGRES_URL`, `LEASE_TEST_REDIS_URL`, `LEASE_TEST_ETCD_URL`, and so on: a server that you run.
//!    No faults are injected into it.
//! 2. A program on this machine, in `PATH`, where Debian installs it, or where `integration-tests/run --with` does
//!    (`~/.cache/lease-tests`), started on a free port in a temporary directory. It ends with the test process, even if that is
//!    killed with SIGKILL. `LEASE_TEST_REDIS_SERVER=valkey-server` starts Valkey in place of Redis.
//! 3. A container, if an engine such as Docker answers.
//!
//! If there is none, the test fails and says what to install. No test is skipped silently. Containers have a test of their
//! own, for machines with an engine: `cargo test -p integration-tests --features containers --test containers`.
//! `LEASE_TEST_REQUIRE=postgres,redis,etcd` lists the servers that an environment must have, and a test of this package
//! checks it.

mod account;
mod answer_swapper;
mod azurite;
mod blocked;
mod certificates;
mod cluster;
mod consul;
mod container;
mod contest;
mod cosmos;
mod deadline;
mod environment;
mod error;
mod etcd;
mod harness;
mod hints;
mod http;
mod http_proxy;
mod installed;
mod keeper;
mod kubernetes;
mod local_server;
mod node;
mod object_storage;
mod pool;
mod ports;
mod postgres;
mod processes;
mod proxy;
mod readme;
mod redis;
mod secrets;
mod server;
mod settings;
mod waiting;
mod wall_clock;
mod zookeeper;

pub use answer_swapper::{AnswerSwapper, Frame, Framing};
pub use azurite::{Azurite, AzuriteKind};
pub use blocked::a_blocked_application_keeps_its_leases;
pub use certificates::Certificates;
pub use cluster::Cluster;
pub use consul::{Consul, ConsulCluster, ConsulKind};
pub use contest::Contest;
pub use cosmos::{Cosmos, CosmosKind};
pub use environment::required_servers_are_there;
pub use error::ServerError;
pub use etcd::{Etcd, EtcdCluster, EtcdKind};
pub use harness::{Provider, ServerHarness};
pub use hints::{every_kind_of_release_is_hinted, subscribed};
pub use http::http_request;
pub use http_proxy::{HttpProxy, SeenRequest, StubAnswer};
pub use kubernetes::{KubeApiserver, KubernetesKind, KubernetesUser};
pub use object_storage::{ObjectStorage, ObjectStorageKind, serve_object_storage};
pub use postgres::{Postgres, PostgresKind, PostgresPair};
pub use proxy::{Direction, Proxy};
pub use readme::the_readme_states;
pub use redis::{Redis, RedisCluster, RedisKind, RedisSentinel, Reply};
pub use secrets::assert_no_secret;
pub use server::{Kind, Server};
pub use waiting::{eventually, fails_within, is_hinted_within, pass, within};
pub use wall_clock::WallClock;
pub use zookeeper::{ZooKeeper, ZooKeeperCluster, ZooKeeperKind};
