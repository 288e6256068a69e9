//! The faults of a run and their moments, drawn from a seed.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use integration_tests::Direction;
use lease_testkit::SeededRng;

use crate::record::{Degradation, FROZEN, KILLED, Sabotage};

/// The store under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// PostgreSQL.
    Postgres,
    /// Redis or Valkey.
    Redis,
    /// A Redis Cluster. There are no proxies between its servers and the workers.
    RedisCluster,
    /// etcd.
    Etcd,
    /// A directory. It has neither a network nor a server.
    File,
    /// The API server of Kubernetes.
    Kubernetes,
    /// The fake of Amazon S3.
    ObjectStorage,
    /// Consul.
    Consul,
    /// ZooKeeper.
    ZooKeeper,
}

impl Store {
    /// The stores of a run that names none.
    pub const DEFAULT: [Self; 4] = [Self::Postgres, Self::Redis, Self::RedisCluster, Self::Etcd];

    /// Returns whether its leases are documents, written on condition of their version.
    pub(crate) fn is_document(self) -> bool {
        matches!(self, Self::File | Self::Kubernetes | Self::ObjectStorage | Self::Consul | Self::ZooKeeper)
    }
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// No fault.
    None,
    /// A worker is killed, and started again.
    WorkerKilled,
    /// A worker is stopped for about one and a half ttl.
    WorkerFrozen,
    /// A worker's wall clock jumps back by a day, and forward again.
    WorkerClockJump,
    /// Requests do not arrive.
    RequestsCut,
    /// Answers do not arrive.
    AnswersCut,
    /// Neither requests nor answers arrive.
    NetworkCut,
    /// Answers are lost after the requests were executed.
    AnswersLost,
    /// Connections break in the middle of a request or an answer.
    ConnectionsBroken,
    /// Requests, answers or both arrive late, by up to a ttl.
    Latency,
    /// Answers arrive late, by a small part of a ttl, and then nothing arrives at all.
    LateThenCut,
    /// The bandwidth is small.
    LowBandwidth,
    /// The server is stopped.
    ServerFrozen,
    /// The server is killed, and started again with its data on disk.
    ServerKilled,
    /// The server is killed, and started again without data.
    ServerEmptied,
    /// The server's wall clock jumps, mostly forward, and stays there.
    ServerClockJump,
    /// The leader of a cluster is killed, and started again.
    LeaderKilled,
    /// The leader of a cluster is stopped.
    LeaderFrozen,
    /// The leader of a cluster is cut off from the other members, but not from clients.
    LeaderIsolated,
    /// A slot with a lease is left half-moved to another server of a cluster, and moved in the end.
    SlotHalfMoved,
    /// The replica takes over with all data.
    FailOver,
    /// The replica takes over without the last grants.
    LossyFailOver,
    /// Workers are stopped and networks are cut at the same time.
    FrozenAndCut,
    /// A random sequence of all faults that the store tolerates.
    Everything,
}

/// Faults of different lanes may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Workers,
    Network,
    Servers,
}

impl Fault {
    /// Returns all faults that apply to a store.
    #[must_use]
    pub fn all_of(store: Store) -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|fault| fault.is_for(store)).collect()
    }

    /// Returns the fault that exposes an injected defect.
    #[must_use]
    pub fn that_exposes(sabotage: Sabotage) -> Self {
        match sabotage {
            Sabotage::FencingOff => Self::WorkerFrozen,
            Sabotage::DeadlineFromAnswer => Self::LateThenCut,
            Sabotage::WallClock => Self::WorkerClockJump,
            Sabotage::CounterReset | Sabotage::MixedUpAnswers => Self::WorkerKilled,
        }
    }

    fn is_for(self, store: Store) -> bool {
        match self {
            Self::FrozenAndCut if store == Store::File => false,
            _ if store == Store::File => matches!(self, Self::None | Self::Everything) || self.lane() == Lane::Workers,
            Self::SlotHalfMoved => store == Store::RedisCluster,
            Self::FrozenAndCut if store == Store::RedisCluster => false,
            _ if store == Store::RedisCluster && self.lane() == Lane::Network => false,
            Self::ServerEmptied => store == Store::Redis,
            Self::ServerClockJump => matches!(store, Store::Postgres | Store::Redis | Store::ObjectStorage),
            Self::FailOver | Self::LossyFailOver => matches!(store, Store::Postgres | Store::Redis),
            Self::LeaderKilled | Self::LeaderFrozen | Self::LeaderIsolated => store == Store::Etcd,
            _ => true,
        }
    }

    /// Returns whether the fault needs several servers.
    pub(crate) fn needs_cluster(self, store: Store) -> bool {
        let of_leaders = matches!(self, Self::LeaderKilled | Self::LeaderFrozen | Self::LeaderIsolated);
        of_leaders || (self == Self::Everything && store == Store::Etcd)
    }

    /// Returns whether the fault is one of servers, rather than of workers or their networks.
    pub(crate) fn is_of_servers(self) -> bool {
        self.lane() == Lane::Servers
    }

    pub(crate) fn is_fail_over(self) -> bool {
        matches!(self, Self::FailOver | Self::LossyFailOver)
    }

    /// Returns the documented degradation of a store under this fault.
    pub(crate) fn degradation(self, store: Store) -> Option<Degradation> {
        let overlaps = match self {
            Self::ServerEmptied | Self::ServerClockJump | Self::LossyFailOver => true,
            // Sentinel does not wait for the replica.
            Self::FailOver => store == Store::Redis,
            _ => false,
        };
        overlaps.then_some(Degradation::Overlap)
    }

    /// Returns the faults of which a case consists.
    fn kinds(self, store: Store) -> Vec<Self> {
        match self {
            Self::None => Vec::new(),
            Self::FrozenAndCut => vec![Self::WorkerFrozen, Self::NetworkCut],
            Self::Everything => Self::all_of(store)
                .into_iter()
                .filter(|&fault| !matches!(fault, Self::None | Self::FrozenAndCut | Self::Everything))
                .filter(|fault| !fault.is_fail_over() && fault.degradation(store).is_none())
                // In a cluster, one member at a time.
                .filter(|fault| store != Store::Etcd || !matches!(fault, Self::ServerKilled | Self::ServerFrozen))
                .collect(),
            _ => vec![self],
        }
    }

    fn lane(self) -> Lane {
        match self {
            Self::WorkerKilled | Self::WorkerFrozen | Self::WorkerClockJump | Self::FrozenAndCut => Lane::Workers,
            Self::RequestsCut
            | Self::AnswersCut
            | Self::NetworkCut
            | Self::AnswersLost
            | Self::ConnectionsBroken
            | Self::Latency
            | Self::LateThenCut
            | Self::LowBandwidth => Lane::Network,
            _ => Lane::Servers,
        }
    }

    /// Returns the shortest and the longest duration, in ttls.
    fn length(self) -> (f64, f64) {
        match self {
            Self::WorkerFrozen => (1.4, 1.8),
            Self::WorkerClockJump => (1.5, 2.2),
            Self::WorkerKilled => (0.2, 1.0),
            Self::ServerKilled | Self::ServerEmptied => (0.1, 0.8),
            Self::Latency | Self::LowBandwidth => (1.5, 3.0),
            Self::LateThenCut => (1.8, 2.0),
            Self::LeaderKilled | Self::LeaderFrozen | Self::LeaderIsolated => (0.5, 2.0),
            Self::LossyFailOver => (0.3, 0.6),
            _ => (0.4, 1.8),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format_name(self, f)
    }
}

impl fmt::Display for Fault {
    /// Formats the fault as in the record: `worker frozen`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format_name(self, f)
    }
}

fn format_name(value: &impl ValueEnum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    value.to_possible_value().map_or(Ok(()), |value| f.write_str(&value.get_name().replace('-', " ")))
}

impl Fault {
    /// Returns the name of the fault in the record.
    pub(crate) fn name_in_record(self) -> String {
        match self {
            Self::WorkerFrozen | Self::ServerFrozen | Self::LeaderFrozen => FROZEN.to_owned(),
            Self::WorkerKilled | Self::ServerKilled | Self::LeaderKilled => KILLED.to_owned(),
            _ => self.to_string(),
        }
    }
}

/// One fault at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    /// Counted from the beginning of all faults.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    /// The worker, or the next one that holds a lease at the moment; `None` for all workers.
    pub(crate) worker: Option<usize>,
    /// From 0, mild, to 1.
    pub(crate) severity: f64,
    pub(crate) direction: Direction,
}

/// Returns the faults of a run, lane by lane. They are the same for the same arguments.
pub(crate) fn draw(
    store: Store,
    fault: Fault,
    seed: u64,
    time: Duration,
    ttl: Duration,
    workers: usize,
) -> Vec<Vec<Strike>> {
    let kinds = fault.kinds(store);
    [Lane::Workers, Lane::Network, Lane::Servers]
        .into_iter()
        .map(|lane| {
            let kinds: Vec<Fault> = kinds.iter().copied().filter(|kind| kind.lane() == lane).collect();
            let rng = SeededRng::new(seed ^ ((lane as u64 + 1) << 32));
            if kinds.is_empty() { Vec::new() } else { draw_lane(rng, &kinds, time, ttl, workers) }
        })
        .collect()
}

fn draw_lane(mut rng: SeededRng, kinds: &[Fault], time: Duration, ttl: Duration, workers: usize) -> Vec<Strike> {
    let mut strikes = Vec::new();
    let mut at = rng.between(ttl / 10, ttl / 2);
    while at < time {
        let fault = *rng.pick(kinds);
        let (shortest, longest) = fault.length();
        let lasts = rng.between(ttl.mul_f64(shortest), ttl.mul_f64(longest));
        let one = usize::try_from(rng.below(workers as u64)).unwrap_or(0);
        // Most faults hit one worker, so that the others can take over.
        let is_for_one = fault.lane() == Lane::Workers || fault == Fault::LateThenCut || !rng.chance(0.25);
        let worker = is_for_one.then_some(one);
        let severity = rng.below(1_001) as f64 / 1_000.0;
        let direction = *rng.pick(&[Direction::Requests, Direction::Answers, Direction::Both]);
        strikes.push(Strike { fault, at, lasts, worker, severity, direction });
        if fault.is_fail_over() {
            break;
        }
        at += lasts + rng.between(ttl / 10, ttl / 2);
    }
    strikes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(1);

    #[test]
    fn the_same_seed_draws_the_same_faults() {
        let draw = |seed| draw(Store::Redis, Fault::Everything, seed, TTL * 20, TTL, 4);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|lane| !lane.is_empty()));
    }

    #[test]
    fn faults_of_a_lane_do_not_overlap() {
        for lane in draw(Store::Etcd, Fault::Everything, 1, TTL * 50, TTL, 4) {
            for pair in lane.windows(2) {
                assert!(pair[0].at + pair[0].lasts < pair[1].at, "{pair:?}");
            }
        }
    }

    #[test]
    fn everything_has_only_faults_that_the_store_tolerates() {
        for store in [Store::Postgres, Store::Redis, Store::Etcd] {
            let kinds = Fault::Everything.kinds(store);
            assert!(kinds.len() >= 10, "{kinds:?}");
            assert!(kinds.iter().all(|kind| kind.degradation(store).is_none() && !kind.is_fail_over()));
        }
    }
}
