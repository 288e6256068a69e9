//! The format of the record: one directory for each case, with `case.json` and one `*.jsonl` file for each process.
//!
//! Each process appends to a file of its own, one line for each entry, with one `write` for each line: the entries of a killed
//! process stay, and no process waits for another. Moments are nanoseconds of the host's clock
//! ([`SystemClock`](lease_core::SystemClock)), which is the same for all processes.

use serde::{Deserialize, Serialize};

/// The case: `case.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The kind of store: `postgres`, `redis`, `etcd`, …
    pub store: String,
    /// The fault, as in the table of the report: `worker frozen`.
    pub fault: String,
    /// The documented degradation of the store under this fault, if any.
    pub degradation: Option<Degradation>,
    /// The seed from which the faults were drawn.
    pub seed: u64,
    /// The ttl of the workers' leases, in nanoseconds.
    pub ttl: u64,
    /// The time after healing within which each name must be granted again, in nanoseconds (C5).
    pub recovery: u64,
    /// The longest time of a leader's election after a fault, in nanoseconds; 0 if the store has no leader.
    #[serde(default)]
    pub election: u64,
    /// The injected defect of a negative control, which must be caught (C8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sabotage: Option<Sabotage>,
}

/// A documented effect of a fault that no client can prevent. All other effects are violations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// Tenures of two workers may overlap; tokens still order them.
    Overlap,
}

/// A defect that is injected on purpose: a checker that does not find it proves nothing (C8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// The resource accepts every write, with any token.
    FencingOff,
    /// Workers count their deadline from the answer rather than from the request.
    DeadlineFromAnswer,
    /// Workers count their deadline on a wall clock, which jumps.
    WallClock,
    /// The store forgets the last token of a name.
    CounterReset,
    /// Every attempt gets the answer to the previous one.
    MixedUpAnswers,
}

/// One line of a `*.jsonl` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The moment of the event.
    pub at: u64,
    /// The process that recorded it: `worker-3`, `resource`, `nemesis`, `controller`. A worker that was killed and started again
    /// has another name: `worker-3.1`.
    pub by: String,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// The fault of a worker that was stopped and is continued when the fault ends.
pub const FROZEN: &str = "frozen";

/// The fault of a worker that is killed. It begins when the worker is dead; it may have no end.
pub const KILLED: &str = "killed";

/// The prefix of a target that is the network between a worker and the store.
pub const NETWORK_OF: &str = "network of ";

/// An event.
#[allow(missing_docs, reason = "the names of the fields are clear; moments and spans are in nanoseconds")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A worker begins an attempt for a lease. Attempts are numbered by worker.
    Asked { name: String, attempt: u64 },
    /// The lease was granted. `at` is when the answer was received; `until` is the local deadline.
    Granted { name: String, attempt: u64, token: u64, until: u64 },
    /// The lease was not granted: another holder has it, or the store refused.
    NotGranted { name: String, attempt: u64 },
    /// The outcome of the attempt is unknown (C7).
    Unknown { name: String, attempt: u64 },
    /// The local deadline has moved.
    Renewed { name: String, token: u64, until: u64 },
    /// The loss was signalled, with its reason. `deadline` is the last local deadline.
    Lost { name: String, token: u64, reason: String, deadline: u64 },
    /// The worker calls release: its tenure ends here.
    Releasing { name: String, token: u64 },
    /// The outcome of the release: `released`, `not_held`, or an error.
    Released { name: String, token: u64, outcome: String },
    /// The resource accepted a worker's write.
    Accepted { name: String, token: u64, writer: String },
    /// The resource refused a stale write; it has seen `largest`.
    Refused { name: String, token: u64, writer: String, largest: u64 },
    /// A fault begins. `target` is a process (`worker-2`, `worker-3.1`), or `server`, or the network of a worker, which begins
    /// with [`NETWORK_OF`]. The checker interprets [`FROZEN`] and [`KILLED`] of a worker; other faults are only shown.
    FaultBegan { fault: String, target: String },
    /// A fault has ended.
    FaultEnded { fault: String, target: String },
    /// All faults have ended: the time of the recovery counts from here (C5).
    Healed,
    /// A count of something that must return to its baseline (C6): `tasks`, `descriptors`, `connections`, `leases`, and
    /// the gauges of a worker's metrics. The first count is the baseline, the last one is compared with it. A process that was
    /// killed has only the first.
    Counted { what: String, of: String, count: u64 },
    /// The number of requests that a worker has sent to the store so far.
    Requests { count: u64 },
}
