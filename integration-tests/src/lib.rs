//! Real servers for the tests of this workspace, and the faults that are done to them. Unix only.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use integration_tests::{Direction, Postgres, Proxy};
//!
//! let shared = Postgres::shared().await; // one per test process; do it no harm
//! println!("{}", shared.url());
//!
//! let postgres = Postgres::start().await; // one of your own
//! postgres.freeze().await?;
//! postgres.thaw().await?;
//! postgres.restart().await?;
//!
//! let proxy = Proxy::start(postgres.address()?).await?; // a network that can be harmed
//! let url = postgres.url_through(&proxy);
//! proxy.black_hole(Direction::Both);
//! proxy.heal();
//! # Ok(()) }
//! ```
//!
//! A server is found in this order:
//!
//! 1. the URL in `LEASE_TEST_POSTGRES_URL`, `LEASE_TEST_REDIS_URL` or `LEASE_TEST_ETCD_URL`: a server that you run; the harness does
//!    not harm it;
//! 2. a binary of this machine, in `PATH` or where Debian puts it, started on a free port in a temporary directory. It ends
//!    with the test process, also when that is killed with SIGKILL;
//!    `LEASE_TEST_REDIS_SERVER=valkey-server` has Valkey started where Redis would be;
//! 3. a container, if an engine such as Docker answers.
//!
//! Where there is none, the test fails and says what to install: no test is skipped in silence.
//! The way through a container has a test of its own, for machines with an engine:
//! `cargo test -p integration-tests --features containers --test containers`.
//! `LEASE_TEST_REQUIRE=postgres,redis,etcd` lists what an environment promises to have; a test of this package holds it to that.

mod account;
mod blocked;
mod certificates;
mod container;
mod deadline;
mod environment;
mod error;
mod etcd;
mod exchange;
mod harness;
mod keeper;
mod local_server;
mod patience;
mod pool;
mod ports;
mod postgres;
mod processes;
mod proxy;
mod redis;
mod server;
mod wall_clock;

pub use blocked::a_blocked_application_keeps_its_leases;
pub use certificates::Certificates;
pub use environment::required_servers_are_there;
pub use error::ServerError;
pub use etcd::{Etcd, EtcdCluster, EtcdKind};
pub use exchange::{Exchange, Frame, Framing};
pub use harness::{Provider, ServerHarness};
pub use patience::{eventually, fails_within, is_hinted_within, pass, within};
pub use postgres::{Postgres, PostgresKind, PostgresPair};
pub use proxy::{Direction, Proxy};
pub use redis::{Redis, RedisCluster, RedisKind, RedisSentinel, Reply};
pub use server::Server;
pub use wall_clock::WallClock;
