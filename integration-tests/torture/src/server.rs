//! The servers under test.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};
use integration_tests::{
    Etcd, EtcdCluster, Postgres, PostgresPair, Proxy, Redis, RedisCluster, RedisSentinel, Reply, WallClock,
};
use lease_core::{Clock, SystemClock};

use crate::{
    case::LEASES,
    fault::{Fault, Store},
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
        })
    }

    /// Returns the addresses in front of which a proxy can be put.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>> {
        Ok(match self {
            Self::Postgres(server) => vec![server.address()?],
            Self::PostgresPair(servers) => vec![servers.address()],
            Self::Redis(server) => vec![server.address()?],
            // It has proxies of its own.
            Self::RedisSentinel(_) => Vec::new(),
            // Its servers announce their addresses.
            Self::RedisCluster(_) => Vec::new(),
            Self::Etcd(server) => vec![server.address()?],
            Self::EtcdCluster(members) => members.addresses()?,
        })
    }

    /// Returns the URL of the store through the proxies of a worker, one for each address.
    pub(crate) fn url_through(&self, proxies: &[Proxy], worker: usize, fault: Fault) -> String {
        match (self, proxies) {
            (Self::Postgres(server), [proxy]) => server.url_through(proxy),
            (Self::PostgresPair(_), [proxy]) => format!("postgres://postgres@{}/postgres", proxy.address()),
            (Self::Redis(server), [proxy]) => server.url_through(proxy),
            // Every second worker is on the primary's side of the cut.
            (Self::RedisSentinel(servers), _) if fault == Fault::LossyFailOver && worker % 2 == 1 => {
                servers.primary().url().to_owned()
            }
            (Self::Etcd(_) | Self::EtcdCluster(_), proxies) => {
                let mut addresses: Vec<_> = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
                addresses.rotate_left(worker % proxies.len().max(1));
                format!("etcd://{}", addresses.join(","))
            }
            _ => self.url(),
        }
    }

    /// Returns the URL of the store, without proxies.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url().to_owned(),
            Self::PostgresPair(servers) => servers.url(),
            Self::Redis(server) => server.url().to_owned(),
            Self::RedisSentinel(servers) => servers.url(),
            Self::RedisCluster(servers) => servers.url(),
            Self::Etcd(server) => server.url().replacen("http:", "etcd:", 1),
            Self::EtcdCluster(members) => format!("etcd://{}", members.urls().join(",").replace("http://", "")),
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
            (Fault::ServerFrozen, Self::Postgres(server)) => server.freeze().await?,
            (Fault::ServerFrozen, Self::Redis(server)) => server.freeze().await?,
            (Fault::ServerFrozen, Self::Etcd(server)) => server.freeze().await?,
            (Fault::ServerKilled, Self::Postgres(server)) => server.kill().await?,
            (Fault::ServerKilled | Fault::ServerEmptied, Self::Redis(server)) => server.kill().await?,
            (Fault::ServerKilled, Self::Etcd(server)) => server.kill().await?,
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
        match (fault, self) {
            (Fault::ServerFrozen, Self::RedisCluster(servers)) => servers.nodes()[member].thaw().await?,
            (Fault::SlotHalfMoved, Self::RedisCluster(servers)) => {
                servers.move_slot(slot, member, (member + 1) % 3).await?;
            }
            (_, Self::RedisCluster(servers)) => servers.nodes()[member].start_again().await?,
            (Fault::ServerFrozen, Self::Postgres(server)) => server.thaw().await?,
            (Fault::ServerFrozen, Self::Redis(server)) => server.thaw().await?,
            (Fault::ServerFrozen, Self::Etcd(server)) => server.thaw().await?,
            (_, Self::Postgres(server)) => server.start_again().await?,
            (_, Self::Redis(server)) => server.start_again().await?,
            (_, Self::Etcd(server)) => server.start_again().await?,
            (Fault::LeaderKilled, Self::EtcdCluster(members)) => members.member(member).start_again().await?,
            (Fault::LeaderFrozen, Self::EtcdCluster(members)) => members.member(member).thaw().await?,
            (_, Self::EtcdCluster(members)) => members.heal(),
            (_, Self::RedisSentinel(servers)) => servers.heal(),
            // The old primary does not come back.
            (_, Self::PostgresPair(_)) => {}
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
