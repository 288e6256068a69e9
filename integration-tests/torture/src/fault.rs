//! What can be done to a run, and when it is done: drawn from a seed.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use integration_tests::Direction;
use lease_testkit::SeededRng;

use crate::record::{Degradation, FROZEN, KILLED, Sabotage};

/// The store that is tortured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// PostgreSQL.
    Postgres,
    /// Redis or Valkey.
    Redis,
    /// A Redis Cluster. Its servers have nothing between them and the workers.
    RedisCluster,
    /// etcd.
    Etcd,
}

/// What is done to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Nothing.
    None,
    /// A worker is killed, and started again.
    WorkerKilled,
    /// A worker stands still for about one and a half ttl.
    WorkerFrozen,
    /// A worker's wall clock jumps back by a day, and forward again.
    WorkerClockJump,
    /// Requests do not arrive.
    RequestsCut,
    /// Answers do not arrive.
    AnswersCut,
    /// Nothing arrives.
    NetworkCut,
    /// Answers are lost: what was asked is done, and nobody hears of it.
    AnswersLost,
    /// Connections break in the middle of a request or an answer.
    ConnectionsBroken,
    /// All arrives late, by up to a ttl.
    Latency,
    /// Answers arrive late, by a small part of a ttl, and then nothing arrives at all.
    LateThenCut,
    /// Little arrives in a second.
    LowBandwidth,
    /// The server stands still.
    ServerFrozen,
    /// The server is killed, and started again with what it has on disk.
    ServerKilled,
    /// The server is killed, and started again with nothing.
    ServerEmptied,
    /// The server's wall clock jumps, mostly forward, and stays there.
    ServerClockJump,
    /// The leader of a cluster is killed, and started again.
    LeaderKilled,
    /// The leader of a cluster stands still.
    LeaderFrozen,
    /// The leader of a cluster is cut off from the other members, but not from clients.
    LeaderIsolated,
    /// A slot with a lease is left half-moved to another server of a cluster, and moved in the end.
    SlotHalfMoved,
    /// The replica takes over, and has everything.
    FailOver,
    /// The replica takes over, and lacks the last grants.
    LossyFailOver,
    /// Workers stand still, and networks are cut, at once.
    FrozenAndCut,
    /// Everything that a store can bear, by chance.
    Everything,
}

/// Faults of different lanes may be under way together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Workers,
    Network,
    Servers,
}

impl Fault {
    /// What can be done to a store.
    #[must_use]
    pub fn all_of(store: Store) -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|fault| fault.is_for(store)).collect()
    }

    /// Under which a bug shows.
    #[must_use]
    pub fn that_shows(sabotage: Sabotage) -> Self {
        match sabotage {
            Sabotage::FencingOff => Self::WorkerFrozen,
            Sabotage::DeadlineFromAnswer => Self::LateThenCut,
            Sabotage::WallClock => Self::WorkerClockJump,
            Sabotage::CounterReset | Sabotage::MixedUpAnswers => Self::WorkerKilled,
        }
    }

    fn is_for(self, store: Store) -> bool {
        match self {
            Self::SlotHalfMoved => store == Store::RedisCluster,
            Self::FrozenAndCut if store == Store::RedisCluster => false,
            _ if store == Store::RedisCluster && self.lane() == Lane::Network => false,
            Self::ServerEmptied => store == Store::Redis,
            Self::ServerClockJump | Self::FailOver | Self::LossyFailOver => {
                matches!(store, Store::Postgres | Store::Redis)
            }
            Self::LeaderKilled | Self::LeaderFrozen | Self::LeaderIsolated => store == Store::Etcd,
            _ => true,
        }
    }

    /// Whether it takes several servers.
    pub(crate) fn needs_cluster(self, store: Store) -> bool {
        let of_leaders = matches!(self, Self::LeaderKilled | Self::LeaderFrozen | Self::LeaderIsolated);
        of_leaders || (self == Self::Everything && store == Store::Etcd)
    }

    /// Whether it is done to servers, rather than to workers or their networks.
    pub(crate) fn is_of_servers(self) -> bool {
        self.lane() == Lane::Servers
    }

    pub(crate) fn is_fail_over(self) -> bool {
        matches!(self, Self::FailOver | Self::LossyFailOver)
    }

    /// What a store cannot prevent under it, as its documentation says.
    pub(crate) fn degradation(self, store: Store) -> Option<Degradation> {
        let overlaps = match self {
            Self::ServerEmptied | Self::ServerClockJump | Self::LossyFailOver => true,
            // Sentinel does not wait for the replica.
            Self::FailOver => store == Store::Redis,
            _ => false,
        };
        overlaps.then_some(Degradation::Overlap)
    }

    /// The faults that a case consists of.
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

    /// For how long it lasts, in ttls: at least and at most.
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
        words(self, f)
    }
}

impl fmt::Display for Fault {
    /// In words, as in the record: `worker frozen`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words(self, f)
    }
}

fn words(value: &impl ValueEnum, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    value.to_possible_value().map_or(Ok(()), |value| f.write_str(&value.get_name().replace('-', " ")))
}

impl Fault {
    /// The word for what is done to a target, as the record has it.
    pub(crate) fn word(self) -> String {
        match self {
            Self::WorkerFrozen | Self::ServerFrozen | Self::LeaderFrozen => FROZEN.to_owned(),
            Self::WorkerKilled | Self::ServerKilled | Self::LeaderKilled => KILLED.to_owned(),
            _ => self.to_string(),
        }
    }
}

/// One fault, to be done once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    /// After the beginning of all faults.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    /// Which worker, or the next one that holds a lease at the moment; nothing is everybody.
    pub(crate) worker: Option<usize>,
    /// From 0, mild, to 1.
    pub(crate) severity: f64,
    pub(crate) direction: Direction,
}

/// What is to be done in a run of so long, lane by lane: the same for the same arguments.
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
        // Mostly one worker has trouble, so that the others can take over.
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
    fn a_seed_says_what_is_done() {
        let draw = |seed| draw(Store::Redis, Fault::Everything, seed, TTL * 20, TTL, 4);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|lane| !lane.is_empty()));
    }

    #[test]
    fn faults_of_a_lane_do_not_meet() {
        for lane in draw(Store::Etcd, Fault::Everything, 1, TTL * 50, TTL, 4) {
            for pair in lane.windows(2) {
                assert!(pair[0].at + pair[0].lasts < pair[1].at, "{pair:?}");
            }
        }
    }

    #[test]
    fn everything_is_what_a_store_can_bear() {
        for store in [Store::Postgres, Store::Redis, Store::Etcd] {
            let kinds = Fault::Everything.kinds(store);
            assert!(kinds.len() >= 10, "{kinds:?}");
            assert!(kinds.iter().all(|kind| kind.degradation(store).is_none() && !kind.is_fail_over()));
        }
    }
}
