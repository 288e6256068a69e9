//! What is wrong with the network at the moment.

use std::time::Duration;

use super::Direction;

/// What is wrong with the network at the moment. Every connection watches it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    pub(super) requests: Path,
    pub(super) answers: Path,
    /// How often all connections were reset; each connection remembers what it was at its beginning.
    pub(super) resets: u64,
    /// How often all was healed.
    pub(super) heals: u64,
    /// How often a cut was set, to tell one from the next.
    pub(super) cuts_set: u64,
}

/// What is wrong with one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Path {
    pub(super) delay: Duration,
    /// How many bytes pass in a second at most.
    pub(super) bandwidth: Option<u32>,
    pub(super) passage: Passage,
    /// Which cut this is, and after how many bytes.
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
