//! The servers under test.

use std::{fmt::Debug, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use async_trait::async_trait;
use integration_tests::{
    Cluster, Consul, Etcd, EtcdCluster, Kind, KubeApiserver, ObjectStorage, Postgres, PostgresPair, Proxy, Redis,
    RedisCluster, RedisSentinel, Reply, WallClock, ZooKeeper, http_request,
};
use lease_core::{Clock, SystemClock};
use tempfile::TempDir;

use crate::{
    case::LEASES,
    fault::{Fault, Store},
    open::{BUCKET, on_kubernetes, on_object_storage},
    pause,
};

/// One server, or several that belong together.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Server {
    Postgres(Postgres),
    PostgresPair(PostgresPair),
    Redis(Redis),
    RedisSentinel(Box<RedisSentinel>),
    RedisCluster(RedisCluster),
    Etcd(Etcd),
    EtcdCluster(EtcdCluster),
    Directory(TempDir),
    /// With the file of the authority that its clients trust.
    Kubernetes(KubeApiserver, PathBuf),
    ObjectStorage(ObjectStorage),
    Consul(Consul),
    ZooKeeper(ZooKeeper),
}

/// A server that is alone, of any kind.
#[async_trait]
trait Single: Debug + Send + Sync {
    fn address(&self) -> Result<SocketAddr>;
    fn url(&self) -> &str;
    fn url_through(&self, proxy: &Proxy) -> String;
    async fn harm(&self, fault: Fault) -> Result<()>;
    async fn heal(&self, fault: Fault) -> Result<()>;
}

#[async_trait]
impl<K: Kind> Single for integration_tests::Server<K> {
    fn address(&self) -> Result<SocketAddr> {
        Ok(self.address()?)
    }

    fn url(&self) -> &str {
        self.url()
    }

    fn url_through(&self, proxy: &Proxy) -> String {
        self.url_through(proxy)
    }

    async fn harm(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::ServerFrozen => self.freeze().await?,
            Fault::ServerKilled | Fault::ServerEmptied => self.kill().await?,
            _ => bail!("{fault} does not apply to {self:?}"),
        }
        Ok(())
    }

    async fn heal(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::ServerFrozen => self.thaw().await?,
            _ => self.start_again().await?,
        }
        Ok(())
    }
}

impl Server {
    /// Starts the servers that a fault needs.
    pub(crate) async fn start(store: Store, fault: Fault, clock: Option<&WallClock>) -> Result<Self> {
        let durable: &[_] = if fault == Fault::ServerEmptied { &[] } else { &[("appendonly", "yes")] };
        Ok(match store {
            Store::Postgres if fault.is_fail_over() => Self::PostgresPair(PostgresPair::start().await?),
            Store::Postgres => Self::Postgres(match clock {
                Some(clock) => Postgres::start_with_clock(&[], clock).await?,
                None => Postgres::start_local(&[]).await?,
            }),
            Store::Redis if fault.is_fail_over() => Self::RedisSentinel(RedisSentinel::start().await?.into()),
            Store::Redis => Self::Redis(match clock {
                Some(clock) => Redis::start_with_clock(durable, clock).await?,
                None => Redis::start_local(durable).await?,
            }),
            Store::RedisCluster => {
                Self::RedisCluster(RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await?)
            }
            Store::Etcd if fault.needs_cluster(store) => Self::EtcdCluster(EtcdCluster::try_start().await?),
            Store::Etcd => Self::Etcd(Etcd::start_local(&[]).await?),
            Store::File => Self::Directory(match std::env::var_os("LEASE_TEST_DATA") {
                Some(data) => tempfile::tempdir_in(data)?,
                None => tempfile::tempdir()?,
            }),
            Store::Kubernetes => {
                Self::Kubernetes(KubeApiserver::start_local(&[]).await?, KubeApiserver::authority().await?)
            }
            Store::ObjectStorage => Self::ObjectStorage(ObjectStorage::start_local(&[]).await?),
            Store::Consul => Self::Consul(Consul::start_local(&[]).await?),
            Store::ZooKeeper => Self::ZooKeeper(ZooKeeper::start_local(&[]).await?),
        })
    }

    /// Makes what the store needs.
    pub(crate) async fn prepare(&self) -> Result<()> {
        match self {
            Self::Kubernetes(..) => {}
            Self::ObjectStorage(server) => {
                http_request(server.url(), "PUT", &format!("/{BUCKET}"), &[], "").await?;
            }
            _ => lease_url::open(&self.url()).await?.admin.migrate().await?,
        }
        Ok(())
    }

    /// Sets the clock of the server to the right time plus this many nanoseconds.
    pub(crate) async fn shift_clock(&self, clock: Option<&WallClock>, nanoseconds: i64) -> Result<()> {
        match (self, clock) {
            (Self::ObjectStorage(server), _) => server.shift_clock(nanoseconds / 1_000).await?,
            (_, Some(clock)) => clock.shift(nanoseconds)?,
            (_, None) => {}
        }
        Ok(())
    }

    fn single(&self) -> Option<&dyn Single> {
        match self {
            Self::Postgres(server) => Some(server),
            Self::Redis(server) => Some(server),
            Self::Etcd(server) => Some(server),
            Self::Kubernetes(server, _) => Some(server),
            Self::ObjectStorage(server) => Some(server),
            Self::Consul(server) => Some(server),
            Self::ZooKeeper(server) => Some(server),
            _ => None,
        }
    }

    /// Returns the addresses in front of which a proxy can be put.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        if let Some(server) = self.single() {
            return Ok(vec![server.address()?]);
        }
        Ok(match self {
            Self::PostgresPair(servers) => vec![servers.address()],
            Self::EtcdCluster(members) => members.addresses()?,
            // Sentinel has proxies of its own, the servers of a cluster announce their addresses, and a directory has none.
            _ => Vec::new(),
        })
    }

    /// Returns the URL of the store through the proxies of a worker, one for each address.
    pub(crate) fn url_through(&self, proxies: &[Proxy], worker: usize, fault: Fault) -> String {
        match (self, proxies) {
            (Self::PostgresPair(_), [proxy]) => format!("postgres://postgres@{}/postgres", proxy.address()),
            // Every second worker is on the primary's side of the cut.
            (Self::RedisSentinel(servers), _) if fault == Fault::LossyFailOver && worker % 2 == 1 => {
                servers.primary().url().to_owned()
            }
            (Self::EtcdCluster(_), proxies) => {
                let mut addresses: Vec<_> = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
                addresses.rotate_left(worker % proxies.len().max(1));
                format!("etcd://{}", addresses.join(","))
            }
            (_, [proxy]) => {
                self.single().map_or_else(|| self.url(), |server| self.as_store(&server.url_through(proxy)))
            }
            _ => self.url(),
        }
    }

    /// Returns the URL of the store, without proxies.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::PostgresPair(servers) => servers.url(),
            Self::RedisSentinel(servers) => servers.url(),
            Self::RedisCluster(servers) => servers.url(),
            Self::EtcdCluster(members) => format!("etcd://{}", members.urls().join(",").replace("http://", "")),
            Self::Directory(directory) => format!("file://{}", directory.path().display()),
            _ => self.single().map_or_else(String::new, |server| self.as_store(server.url())),
        }
    }

    /// Returns the URL of the store on the server with this URL.
    fn as_store(&self, server: &str) -> String {
        match self {
            Self::Etcd(_) => server.replacen("http:", "etcd:", 1),
            Self::Consul(_) => server.replacen("http:", "consul:", 1),
            Self::Kubernetes(_, authority) => on_kubernetes(server, authority),
            Self::ObjectStorage(_) => on_object_storage(server),
            _ => server.to_owned(),
        }
    }

    /// Returns the number of etcd leases, to which grants are attached, or `None` for other servers.
    pub(crate) async fn count_buckets(&self) -> Result<Option<u64>> {
        match self {
            Self::Etcd(server) => Ok(Some(server.count_leases().await? as u64)),
            _ => Ok(None),
        }
    }

    /// Stops the replication to the replica.
    pub(crate) fn hold_back_data(&self) {
        match self {
            Self::PostgresPair(servers) => servers.hold_back_data(),
            Self::RedisSentinel(servers) => servers.hold_back_data(),
            _ => {}
        }
    }

    /// Begins a fault; in a cluster, of the leader or of the server that has a lease.
    pub(crate) async fn harm(&self, fault: Fault, severity: f64) -> Result<Harmed> {
        if let Some(server) = self.single() {
            server.harm(fault).await?;
            return Ok(Harmed { member: 0, slot: 0 });
        }
        match (fault, self) {
            (_, Self::RedisCluster(servers)) => {
                let name = LEASES[(severity * LEASES.len() as f64) as usize % LEASES.len()];
                let key = format!("app-runtime-leases:{name}");
                let (member, slot) = (owner_of(servers, &key).await?, servers.slot_of(&key).await?);
                match fault {
                    Fault::ServerFrozen => servers.nodes()[member].freeze().await?,
                    Fault::ServerKilled => servers.nodes()[member].kill().await?,
                    Fault::SlotHalfMoved => servers.half_move(slot, member, (member + 1) % 3, &[&key]).await?,
                    _ => bail!("{fault} does not apply to a cluster"),
                }
                return Ok(Harmed { member, slot });
            }
            (Fault::FailOver, Self::PostgresPair(servers)) => servers.fail_over().await?,
            (Fault::LossyFailOver, Self::PostgresPair(servers)) => servers.lose_primary().await?,
            (Fault::FailOver, Self::RedisSentinel(servers)) => servers.fail_over().await?,
            (Fault::LossyFailOver, Self::RedisSentinel(servers)) => servers.cut_primary().await?,
            (_, Self::EtcdCluster(members)) => {
                let leader = leader_of(members).await?;
                match fault {
                    Fault::LeaderKilled => members.member(leader).kill().await?,
                    Fault::LeaderFrozen => members.member(leader).freeze().await?,
                    Fault::LeaderIsolated => members.cut_off(leader).await?,
                    _ => bail!("{fault} does not apply to a cluster"),
                }
                return Ok(Harmed { member: leader, slot: 0 });
            }
            _ => bail!("{fault} does not apply to {self:?}"),
        }
        Ok(Harmed { member: 0, slot: 0 })
    }

    /// Ends a fault.
    pub(crate) async fn heal(&self, fault: Fault, Harmed { member, slot }: Harmed) -> Result<()> {
        if let Some(server) = self.single() {
            return server.heal(fault).await;
        }
        match (fault, self) {
            (Fault::ServerFrozen, Self::RedisCluster(servers)) => servers.nodes()[member].thaw().await?,
            (Fault::SlotHalfMoved, Self::RedisCluster(servers)) => {
                servers.move_slot(slot, member, (member + 1) % 3).await?;
            }
            (_, Self::RedisCluster(servers)) => servers.nodes()[member].start_again().await?,
            (Fault::LeaderKilled, Self::EtcdCluster(members)) => members.member(member).start_again().await?,
            (Fault::LeaderFrozen, Self::EtcdCluster(members)) => members.member(member).thaw().await?,
            (_, Self::EtcdCluster(members)) => members.heal(),
            (_, Self::RedisSentinel(servers)) => servers.heal(),
            // The old primary does not come back.
            (_, Self::PostgresPair(_)) => {}
            _ => bail!("{fault} does not apply to {self:?}"),
        }
        Ok(())
    }
}

const LONGEST_ELECTION: Duration = Duration::from_secs(10);

/// Waits until a member leads, and returns it: there may be an election after the previous fault.
async fn leader_of(members: &EtcdCluster) -> Result<usize> {
    let deadline = SystemClock.now() + LONGEST_ELECTION;
    loop {
        match members.leader().await {
            Err(_) if SystemClock.now() < deadline => pause(Duration::from_millis(50)).await,
            leader => return Ok(leader?),
        }
    }
}

/// Waits until all servers of a cluster serve, and returns the one that has the slot of a key: a server that was started again
/// needs a moment.
async fn owner_of(servers: &RedisCluster, key: &str) -> Result<usize> {
    let deadline = SystemClock.now() + LONGEST_ELECTION;
    loop {
        let (mut owners, mut all_serve) = (Vec::new(), true);
        for (at, node) in servers.nodes().iter().enumerate() {
            match node.command(&["TTL", key]).await? {
                Reply::Error(error) if error.starts_with("MOVED") => {}
                Reply::Error(error) if error.starts_with("CLUSTERDOWN") => all_serve = false,
                _ => owners.push(at),
            }
        }
        match owners[..] {
            [owner] if all_serve => return Ok(owner),
            _ if SystemClock.now() < deadline => pause(Duration::from_millis(50)).await,
            _ => bail!("not exactly one server has {key}: {owners:?}"),
        }
    }
}

/// The member and the slot of a cluster that have a fault.
#[derive(Debug)]
pub(crate) struct Harmed {
    member: usize,
    slot: u16,
}
