//! The current faults of the network.

use std::time::Duration;

use super::Direction;

/// The current faults of the network. Each connection watches them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) requests: Path,
    pub(super) answers: Path,
    /// The number of resets of all connections. Each connection remembers the number at its beginning.
    pub(super) resets: u64,
    /// The number of healings.
    pub(super) heals: u64,
    /// The number of cuts, which tells one cut from the next.
    pub(super) cuts_set: u64,
}

/// The faults of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Path {
    pub(super) delay: Duration,
    /// The most bytes per second.
    pub(super) bandwidth: Option<u32>,
    pub(super) passage: Passage,
    /// The number of the cut, and the bytes that pass before it.
    pub(super) cut: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Passage {
    #[default]
    Pass,
    Hold,
    Discard,
}

impl Faults {
    /// One of the two directions.
    pub(super) fn path(&self, direction: Direction) -> Path {
        if direction == Direction::Requests { self.requests } else { self.answers }
    }

    pub(super) fn change(&mut self, direction: Direction, change: impl Fn(&mut Path)) {
        if direction != Direction::Answers {
            change(&mut self.requests);
        }
        if direction != Direction::Requests {
            change(&mut self.answers);
        }
    }
}
