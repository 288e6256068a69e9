//! What is written down during a run: one directory per case, in it `case.json` and one `*.jsonl` file per process.
//!
//! Each process appends to a file of its own, one line per entry, one `write` per line: what a process wrote before it
//! was killed stays, and nobody waits for anybody. Moments are nanoseconds of the host's clock
//! ([`SystemClock`](lease_core::SystemClock)), which is the same for all processes.

use serde::{Deserialize, Serialize};

/// What was tried: `case.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The kind of store: `postgres`, `redis`, `etcd`, …
    pub store: String,
    /// What is done to it, in a few words, as in the report's table: `worker frozen`.
    pub fault: String,
    /// What the store itself cannot prevent under this fault, if it is anything: the documented degradation.
    pub degradation: Option<Degradation>,
    /// The seed from which the faults were drawn.
    pub seed: u64,
    /// The ttl that the workers ask for, in nanoseconds.
    pub ttl: u64,
    /// Within which time after healing somebody must have been granted each name again, in nanoseconds (C5).
    pub recovery: u64,
    /// How long the election of a leader may take after a fault, in nanoseconds: no time, if the store has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub election: u64,
    /// What is broken on purpose, if anything is: a negative control, which must be caught (C8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sabotage: Option<Sabotage>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(nanoseconds: &u64) -> bool {
    *nanoseconds == 0
}

/// What a store may do under a fault that no client can prevent; everything else stays forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// Two may believe to hold a name at once; tokens still order them.
    Overlap,
}

/// A defect that is put in on purpose: a checker that does not see it proves nothing (C8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// The resource takes every write, whatever its token.
    FencingOff,
    /// Workers count their deadline from the answer rather than from the request.
    DeadlineFromAnswer,
    /// Workers count their deadline on a wall clock, which jumps.
    WallClock,
    /// The store forgets the last token of a name.
    CounterReset,
    /// Every try for a name is told the answer to the one before it.
    MixedUpAnswers,
}

/// One line of a `*.jsonl` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it happened.
    pub at: u64,
    /// Who saw it: `worker-3`, `resource`, `nemesis`, `controller`. A worker that was killed and started again is
    /// another one: `worker-3.1`.
    pub by: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The fault of a worker that was stopped and is continued when the fault ends.
pub const FROZEN: &str = "frozen";

/// The fault of a worker that is killed. It begins when the worker is dead; it may have no end.
pub const KILLED: &str = "killed";

/// What is before the name of a worker in a target that is the network between it and the store.
pub const NETWORK_OF: &str = "network of ";

/// What happened.
#[allow(missing_docs, reason = "the fields say by their names what they are; moments and spans are in nanoseconds")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A worker asks for a lease. Attempts are numbered by worker.
    Asked { name: String, attempt: u64 },
    /// It has it. `at` is when the answer was received; it may believe so until `until` (the local deadline).
    Granted { name: String, attempt: u64, token: u64, until: u64 },
    /// It does not have it: somebody else does, or the store said no.
    NotGranted { name: String, attempt: u64 },
    /// Nobody knows whether it was granted (C7).
    Unknown { name: String, attempt: u64 },
    /// The local deadline has moved.
    Renewed { name: String, token: u64, until: u64 },
    /// The loss was signalled, and why. `deadline` is the local deadline that counted.
    Lost { name: String, token: u64, reason: String, deadline: u64 },
    /// The worker calls release: from here on it believes no more.
    Releasing { name: String, token: u64 },
    /// What came of it: `released`, `not_held`, or an error.
    Released { name: String, token: u64, outcome: String },
    /// The resource took a worker's write.
    Accepted { name: String, token: u64, writer: String },
    /// The resource refused a stale write; it has seen `largest`.
    Refused { name: String, token: u64, writer: String, largest: u64 },
    /// A fault begins. `target` is a process (`worker-2`, `worker-3.1`), or `server`, or the network of a
    /// worker, which begins with [`NETWORK_OF`]. The checker knows
    /// what [`FROZEN`] and [`KILLED`] mean for a worker; all other faults are words for the reader.
    FaultBegan { fault: String, target: String },
    /// It has ended.
    FaultEnded { fault: String, target: String },
    /// All faults have ended: from here on the recovery counts (C5).
    Healed,
    /// A count of something that must return to its baseline (C6): `tasks`, `descriptors`, `connections`, `leases`. The
    /// first one of a thing is its baseline, the last one what is left. A process that was killed leaves only the first.
    Counted { what: String, of: String, count: u64 },
    /// Requests that a worker sent to the store so far.
    Requests { count: u64 },
}
