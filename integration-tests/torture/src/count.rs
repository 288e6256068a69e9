//! Counts of what must return to its baseline (C6).

use std::{net::SocketAddr, time::Duration};

use lease_core::{Clock, SystemClock};
use tokio::runtime::Handle;

use crate::{log::Log, pause, record::Event};

/// The resources of the system that a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnCounts {
    tasks: u64,
    descriptors: u64,
}

impl OwnCounts {
    /// Returns the current counts of this process.
    pub(crate) fn now() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self { tasks: Handle::current().metrics().num_alive_tasks() as u64, descriptors: descriptors as u64 }
    }

    /// Waits until this process uses at most these counts, at most for five seconds, and returns its counts.
    pub(crate) async fn restored(self) -> Self {
        let deadline = SystemClock.now() + Duration::from_secs(5);
        loop {
            let counts = Self::now();
            let is_restored = counts.tasks <= self.tasks && counts.descriptors <= self.descriptors;
            if is_restored || SystemClock.now() >= deadline {
                return counts;
            }
            pause(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn log(self, log: &Log, of: &str) {
        for (what, count) in [("tasks", self.tasks), ("descriptors", self.descriptors)] {
            log.write(Event::Counted { what: what.to_owned(), of: of.to_owned(), count });
        }
    }
}

/// Returns the number of connections to this address of this host.
pub(crate) fn connections_to(server: SocketAddr) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{:04X}", server.port());
    // Number, local address, remote address, state; 01 is an established connection.
    let is_connected = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
    };
    table.lines().filter(is_connected).count() as u64
}
