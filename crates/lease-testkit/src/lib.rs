//! What proves a lease store: for authors of providers, and for tests of what is built on leases.
//!
//! A provider implements [`LeaseStore`](lease_core::LeaseStore), a dozen atomic operations. Everything else (deadlines,
//! renewal, waiting) is written once in `lease_core`, and rests on what the store promises. This crate proves that it
//! keeps those promises, one named test each, by itself and under the client, with faults done to it in between.
//!
//! # How a provider proves itself
//!
//! Tell the suite how to open a store, and what harm can be done to it, in `tests/conformance.rs`:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use lease_core::{Clock, LeaseName, LeaseStore, TokioClock};
//! use lease_memory::MemoryStore; // your store
//! use lease_testkit::{Harm, Harness};
//!
//! struct MemoryHarness {
//!     clock: TokioClock,
//!     store: MemoryStore,
//! }
//!
//! impl MemoryHarness {
//!     fn new() -> Self {
//!         let clock = TokioClock::new();
//!         Self { clock, store: MemoryStore::with_clock(clock) }
//!     }
//! }
//!
//! #[async_trait]
//! impl Harness for MemoryHarness {
//!     async fn store(&self) -> Arc<dyn LeaseStore> {
//!         Arc::new(self.store.clone())
//!     }
//!
//!     fn clock(&self) -> Arc<dyn Clock> {
//!         Arc::new(self.clock)
//!     }
//!
//!     async fn remove_record(&self, name: &LeaseName) -> Harm {
//!         self.store.remove(name);
//!         Harm::Done
//!     }
//! }
//!
//! lease_testkit::conformance!(paused, MemoryHarness::new);
//! # lease_testkit::run::paused(MemoryHarness::new, lease_testkit::cases::granting::a_free_name_is_granted);
//! ```
//!
//! That is all. `cargo test` now has a test for each of the [`CASES`], named after its promise and the rule that it proves:
//! `s07_a_renewal_never_revives_an_expired_lease`. None is skipped: where a store lacks a capability, the case asserts what
//! is documented instead.
//!
//! A store with a server says `conformance!(real, PostgresHarness::start)`, with an `async fn start`. The cases then run in
//! real time, and its harness must also [`freeze`](Harness::freeze), [`cut`](Harness::cut) and
//! [`restart`](Harness::restart) the server: those faults happen, and a store must be seen to bear them. What the store says of
//! itself must be shown as well: whose grants survive a crash needs a harness that can [`crash`](Harness::crash) the server, and
//! whose tokens survive a loss of data one that can [put a backup back](Harness::back_up). Where other software can lock a
//! record, [`hold`](Harness::hold) shows what happens to those who wait for it, and where answers are told from each other by
//! their order alone, [`mixed_up`](Harness::mixed_up) that none is taken for another one's. Each case gets a
//! harness of its own, in parallel with others, and wants an empty store: give it a schema or a key prefix of its own, and
//! a server or a proxy of its own for what it does to it.
//!
//! [`elections!`](crate::elections!) runs what `lease-election` promises over the same harness.
//!
//! # The parts, for tests of your own
//!
//! * [`ChaosStore`] wraps a store and fails on purpose: delays, lost requests and answers, duplicates, errors; by
//!   schedule or by seed. It can be frozen, cut off, and robbed of its hints.
//! * [`RecordingStore`] wraps a store and remembers its calls: how many, how large, how they ended.
//! * [`SkewedClock`] runs fast or slow, and jumps.
//! * [`History`] collects who believed to hold what, and finds two holders at once and tokens that do not rise.
//! * [`Logged`] keeps what is logged.
//! * [`calls`] are single calls of a store, with the outcome that a test expects.
//! * [`SeededRng`] makes runs reproducible. The simulation in this crate's tests shows how all of them work together.
mod bench;
mod between_neighbours;
pub mod calls;
#[doc(hidden)]
pub mod cases;
mod chaos;
mod conformance;
mod elections;
mod fault;
mod harness;
mod history;
mod logged;
mod operation;
mod recording;
#[doc(hidden)]
pub mod run;
mod seeded_rng;
mod seen;
mod skewed_clock;

pub use bench::Bench;
pub use chaos::{ChaosStore, Hints};
pub use conformance::CASES;
pub use fault::{Fault, Rule};
pub use harness::{AfterWaiting, AtOnce, Harm, Harness, Hold, MakeHarness, MixedUp};
pub use history::{History, OpenTenure, Tenure, Violation};
pub use logged::Logged;
pub use operation::Operation;
pub use recording::{Call, Outcome, Progress, RecordingStore};
pub use seeded_rng::SeededRng;
pub use skewed_clock::SkewedClock;

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
