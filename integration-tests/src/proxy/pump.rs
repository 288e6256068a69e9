//! One direction of one connection.

use std::{collections::VecDeque, future::pending, time::Duration};

use lease_core::{Clock, Moment, SystemClock};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::watch,
};

use super::{
    Direction,
    faults::{Faults, Passage, Path},
};

/// The most bytes that one direction of a connection holds. More stay with their sender.
const CAPACITY: usize = 256 * 1024;
const CHUNK: usize = 16 * 1024;

/// The number of pieces per second with a limited bandwidth.
const PIECES_PER_SECOND: usize = 50;

/// The reason why a direction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The sender has closed it, and the receiver has observed this.
    OfStream,
    /// The cut has come: the allowed bytes have passed.
    ByCut,
    /// One side has ended without closing, or the stream has a gap.
    ByReset,
}

/// Passes bytes until the end, with the faults of the network.
pub(super) async fn run(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut faults: watch::Receiver<Faults>,
) -> Ended {
    let mut pump = Pump::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let current = *faults.borrow_and_update();
        let path = current.path(direction);
        if pump.adapt(path, current.heals) {
            return Ended::ByReset;
        }
        if pump.left_before_cut == Some(0) {
            return Ended::ByCut;
        }
        let passes = path.passage == Passage::Pass;
        if passes && pump.due().is_some_and(|due| due <= SystemClock.now()) {
            let written = match pump.pop(path.bandwidth) {
                Queued::Bytes(bytes) => to.write_all(&bytes).await,
                Queued::End => match to.shutdown().await {
                    Ok(()) => return Ended::OfStream,
                    error => error,
                },
                Queued::Reset => return Ended::ByReset,
            };
            if written.is_err() {
                return Ended::ByReset;
            }
            continue;
        }
        let queued = tokio::select! {
            changed = faults.changed() => match changed {
                Ok(()) => continue,
                // The proxy was dropped.
                Err(_) => return Ended::ByReset,
            },
            () = sleep_until(pump.due().filter(|_| passes)) => continue,
            read = from.read(&mut buffer), if path.passage != Passage::Hold && pump.has_room() => match read {
                Ok(0) => Queued::End,
                Ok(length) => Queued::Bytes(buffer[..length].to_vec()),
                Err(_) => Queued::Reset,
            },
        };
        // A fault that was set before these bytes were sent applies to them, even if this task has not observed it yet.
        pump.push(queued, faults.borrow().path(direction));
    }
}

async fn sleep_until(due: Option<Moment>) {
    match due {
        Some(due) => SystemClock.sleep_until(due).await,
        None => pending().await,
    }
}

/// The bytes in flight, and the progress of the faults.
#[derive(Debug, Default)]
struct Pump {
    under_way: VecDeque<(Moment, Queued)>,
    bytes_under_way: usize,
    at_end: bool,
    /// Bytes of this stream were lost, so it cannot continue after healing.
    has_gap: bool,
    /// With a limited bandwidth: when the bytes so far have passed.
    busy_until: Option<Moment>,
    heals: Option<u64>,
    cut: Option<u64>,
    left_before_cut: Option<u64>,
}

/// What the sender did. Data and the end of the stream have the same delay.
#[derive(Debug)]
enum Queued {
    Bytes(Vec<u8>),
    End,
    Reset,
}

impl Pump {
    /// Applies changed faults. Returns whether the connection must be reset.
    fn adapt(&mut self, path: Path, heals: u64) -> bool {
        if self.heals.replace(heals).is_some_and(|before| before != heals) {
            // Delayed bytes need not wait any longer.
            let now = SystemClock.now();
            self.under_way.iter_mut().for_each(|(due, _)| *due = now.min(*due));
            self.busy_until = None;
        }
        if self.cut != path.cut.map(|(cut, _)| cut) {
            self.cut = path.cut.map(|(cut, _)| cut);
            self.left_before_cut = path.cut.map(|(_, bytes)| bytes);
        }
        self.has_gap && path.passage != Passage::Discard
    }

    fn has_room(&self) -> bool {
        !self.at_end && self.bytes_under_way + CHUNK <= CAPACITY
    }

    fn due(&self) -> Option<Moment> {
        self.under_way.front().map(|&(due, _)| self.busy_until.map_or(due, |busy_until| busy_until.max(due)))
    }

    fn push(&mut self, queued: Queued, path: Path) {
        self.at_end = !matches!(queued, Queued::Bytes(_));
        if path.passage == Passage::Discard {
            self.has_gap = true;
            return;
        }
        if let Queued::Bytes(bytes) = &queued {
            self.bytes_under_way += bytes.len();
        }
        // The order is kept: a piece with a shorter delay does not overtake its predecessor.
        self.under_way.push_back((SystemClock.now() + path.delay, queued));
    }

    /// Returns the next piece: at a cut, as much as may still pass; with a limited bandwidth, as much as may pass at once.
    fn pop(&mut self, bandwidth: Option<u32>) -> Queued {
        let (due, mut bytes) = match self.under_way.pop_front() {
            Some((due, Queued::Bytes(bytes))) => (due, bytes),
            Some((_, end)) => return end,
            None => return Queued::Bytes(Vec::new()),
        };
        if let Some(bandwidth) = bandwidth {
            let at_once = usize::try_from(bandwidth).unwrap_or(usize::MAX).div_ceil(PIECES_PER_SECOND);
            if bytes.len() > at_once {
                self.under_way.push_front((due, Queued::Bytes(bytes.split_off(at_once))));
            }
            let time = Duration::from_secs(1).mul_f64(bytes.len() as f64 / f64::from(bandwidth));
            self.busy_until = Some(SystemClock.now() + time);
        }
        self.bytes_under_way -= bytes.len();
        if let Some(left) = &mut self.left_before_cut {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes.len() as u64;
        }
        Queued::Bytes(bytes)
    }
}
