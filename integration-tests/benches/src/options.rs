//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::servers::StoreKind;

/// Measures this library side by side with the drivers alone and with other libraries, on the same servers in the same run.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// Only these stores.
    #[arg(long, value_delimiter = ',', default_value = "memory,postgres,redis,etcd")]
    pub(crate) store: Vec<StoreKind>,
    /// Only these cells.
    #[arg(long, value_delimiter = ',', default_value = "acquire,hand-over,take-over,waiters,contention,renewal,local")]
    pub(crate) cell: Vec<Cell>,
    /// Acquire: the numbers of tasks.
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    pub(crate) tasks: Vec<usize>,
    /// Only these contenders, by their names in the tables.
    #[arg(long, value_delimiter = ',')]
    pub(crate) contender: Vec<String>,
    /// Acquire: the number of turns of each contender. On a machine with varying speed, medians of five turns vary by a fifth
    /// between runs.
    #[arg(long, default_value_t = 11)]
    pub(crate) repetitions: usize,
    /// Acquire: the length of a turn, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    turn_ms: u64,
    /// Hand-over: the number of hand-overs.
    #[arg(long, default_value_t = 200)]
    pub(crate) rounds: usize,
    /// Renewal: the seconds for which the leases are held.
    #[arg(long, default_value_t = 20)]
    pub(crate) hold_seconds: u64,
    /// Renewal: the number of leases; by default 10 000, 1 000 where each is a request of its own, and 100 000 in memory.
    #[arg(long)]
    pub(crate) leases: Option<usize>,
    /// Renewal: the ttl of the leases, in seconds.
    #[arg(long, default_value_t = 10)]
    pub(crate) ttl_seconds: u64,
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cell {
    /// Pairs of acquire and release.
    Acquire,
    /// From a release to a waiter of another client.
    HandOver,
    /// From an expiry to a waiter.
    TakeOver,
    /// A thousand waiters in a process.
    Waiters,
    /// Eight processes for one name.
    Contention,
    /// Thousands of leases, held.
    Renewal,
    /// `is_held()` and `remaining()`.
    Local,
}

impl Options {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.turn_ms)
    }

    pub(crate) fn wants(&self, contender: &str) -> bool {
        self.contender.is_empty() || self.contender.iter().any(|name| name == contender)
    }
}
