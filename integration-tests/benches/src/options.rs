//! What is run.

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
    #[arg(long, value_delimiter = ',', default_value = "acquire")]
    pub(crate) cell: Vec<Cell>,
    /// Acquire: with so many tasks.
    #[arg(long, value_delimiter = ',', default_value = "1,32,256")]
    pub(crate) tasks: Vec<usize>,
    /// Only these contenders, by their names in the tables.
    #[arg(long, value_delimiter = ',')]
    pub(crate) contender: Vec<String>,
    /// Acquire: how often each contender has its turn.
    #[arg(long, default_value_t = 5)]
    pub(crate) repetitions: usize,
    /// Acquire: how long a turn takes, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    turn_ms: u64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cell {
    Acquire,
}

impl Options {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.turn_ms)
    }

    pub(crate) fn wants(&self, contender: &str) -> bool {
        self.contender.is_empty() || self.contender.iter().any(|name| name == contender)
    }
}
