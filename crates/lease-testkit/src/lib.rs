//! Tests for lease stores: a conformance suite for authors of providers, and tools for tests of what is built on leases.
//!
//! A provider implements [`LeaseStore`](lease_core::LeaseStore), a dozen atomic operations. Everything else (deadlines,
//! renewal, waiting) is written once in `lease_core`, and relies on the guarantees of the store. The suite of this crate
//! tests each guarantee by a test of its own: on the store alone, under the client, and with injected faults.
//!
//! # How to test a provider
//!
//! Implement [`Harness`] in `tests/conformance.rs`. It opens the store and injects faults:
//!
//! ```
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use lease_core::{Clock, LeaseName, LeaseStore, TokioClock};
//! use lease_memory::MemoryStore; // your store
//! use lease_testkit::{Harness, Injection};
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
//!     async fn remove_record(&self, name: &LeaseName) -> Injection {
//!         self.store.remove(name);
//!         Injection::Done
//!     }
//! }
//!
//! lease_testkit::conformance!(paused, MemoryHarness::new);
//! # lease_testkit::run::paused(MemoryHarness::new, lease_testkit::cases::granting::a_free_name_is_granted);
//! ```
//!
//! `cargo test` now runs one test for each of the [`CASES`]. A test is named after the guarantee and the rule that it tests:
//! `s07_a_renewal_never_revives_an_expired_lease`. No case is skipped. Where a store lacks a capability, the case asserts the
//! documented behaviour without it; it passes without assertions only where the harness lacks an optional fault.
//!
//! ## A store with a server
//!
//! Use `conformance!(real, PostgresHarness::start)`, with an `async fn start`. The cases run in real time, in parallel. Each
//! case gets a harness of its own and expects an empty store: give each harness a schema or a key prefix of its own, and a
//! server or a proxy of its own for the faults.
//!
//! | The harness implements | when |
//! |---|---|
//! | [`freeze`](Harness::freeze), [`cut`](Harness::cut), [`restart`](Harness::restart), [`lose_answers`](Harness::lose_answers), [`delay_answers`](Harness::delay_answers) | always: the store must survive these faults |
//! | [`crash`](Harness::crash) | the store declares [`grants_survive_crash`](lease_core::Capabilities::grants_survive_crash) |
//! | [`back_up`](Harness::back_up), [`restore_backup`](Harness::restore_backup) | its tokens [survive a loss of data](lease_core::TokensSurvive::data_loss) |
//! | [`delay_requests`](Harness::delay_requests) | the store declares [`extends_late_renewals`](lease_core::Capabilities::extends_late_renewals) |
//! | [`remove_record`](Harness::remove_record) | its tokens [survive a removal](lease_core::TokensSurvive::removal) |
//! | [`lock_record`](Harness::lock_record) | other software can lock a record: shows what happens to calls that wait for the lock |
//! | [`answer_swap`](Harness::answer_swap) | answers belong to calls by their order alone: shows that a call rejects the answer to another call |
//! | [`set_clock_back`](Harness::set_clock_back) | the server judges expiry by its wall clock |
//!
//! [`elections!`](crate::elections!) runs the suite of `lease-election` over the same harness.
//!
//! # Tools for other tests
//!
//! * [`ChaosStore`] wraps a store and injects faults, by schedule or by seed: delays, lost requests and answers, duplicates,
//!   errors. It can be frozen and cut off, and it can drop or forge hints.
//! * [`RecordingStore`] wraps a store and records its calls: how many, how large, with which outcome.
//! * [`SkewedClock`] runs fast or slow, and jumps.
//! * [`History`] records the tenures that holders observed, and finds two holders at once and tokens that do not rise.
//! * [`LogCapture`] collects log lines.
//! * [`calls`] has single calls of a store, each with the outcome that a test expects.
//! * [`race`] lets many want a name at the same moment, by several stores.
//! * [`SeededRng`] makes runs reproducible. The simulation in the tests of this crate uses all of these tools together.
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
mod log_capture;
mod operation;
mod race;
mod recorded_events;
mod recording;
#[doc(hidden)]
pub mod run;
mod seeded_rng;
mod skewed_clock;

pub use bench::Bench;
pub use chaos::{ChaosStore, Hints};
pub use conformance::CASES;
pub use fault::{Fault, Rule};
pub use harness::{AnswerSwap, Harness, Injection, MakeHarness, RecordLock, ReturnsFuture, ReturnsHarness};
pub use history::{History, OpenTenure, Tenure, Violation};
pub use log_capture::LogCapture;
pub use operation::Operation;
pub use race::race;
pub use recording::{Call, Outcome, Progress, RecordingStore};
pub use seeded_rng::SeededRng;
pub use skewed_clock::SkewedClock;

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
