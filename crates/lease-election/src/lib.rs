//! Leader election on leases, over any store.
//!
//! A [`Candidate`] campaigns for the leadership of its group. The work that only the leader may do is a future.
//! [`Candidate::lead`] runs it while the candidate leads, and the work has ended before another candidate can win:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use lease_core::LeaseClient;
//! use lease_election::{CandidateOptions, Election, ElectionOptions};
//! use lease_memory::MemoryStore;
//!
//! let client = LeaseClient::new(MemoryStore::new());
//! let election = Election::new(client, "dispatcher", ElectionOptions::default())?;
//! let candidate = election.candidate(CandidateOptions::new())?;
//!
//! let stop = candidate.clone();
//! candidate
//!     .lead(async |term| {
//!         // The leader sends its term with every write, so that a stale write can be refused.
//!         println!("leading with term {}", term.token());
//!         tokio::select! {
//!             () = dispatch() => {}
//!             // The candidate is about to step down: the work must end within the grace.
//!             () = term.draining() => {}
//!         }
//! #       tokio::spawn({ let stop = stop.clone(); async move { stop.stop().await } });
//!     })
//!     .await;
//! # drop(stop);
//! # Ok::<(), lease_core::Error>(())
//! # }).unwrap();
//! # async fn dispatch() {}
//! ```
//!
//! A loop of the form `if candidate.is_leader() { work() }` has a race: the leadership can be lost between the check and the
//! work, and during the work. `lead` has no such race.
//!
//! * [`Election`] is the group: its leader, its candidates, and its [`changes`](Election::changes) for observers.
//! * [`Candidate`] starts, stops, leads, steps down and hands over. Its [`Health`] decides whether it is fit to lead.
//! * [`LeadershipChanges`] is the stream of changes, and [`LeadershipStream`] has adapters for it.
//! * [`ElectionOptions`] and [`CandidateOptions`] are plain data.
//! * The observers of the client receive each term as [`LeaseEvent::Election`](lease_core::LeaseEvent::Election): leads, draining,
//!   ended.
//!
//! At most one candidate of a group leads at any time, if clocks run at about the right rate and the store keeps its promises.
//! Effects elsewhere must be fenced by the term. The page of [`lease_core`] says what is promised, and what is not.

mod campaign;
mod candidate;
mod changes;
mod election;
mod group;
mod health;
mod leader;
mod offers;
mod options;
mod pause;
mod registration;
mod report;
mod state;
mod term;

pub use candidate::Candidate;
pub use changes::{LeadershipChanges, LeadershipStream};
pub use election::Election;
pub use health::{Health, HealthCheck};
pub use leader::{ChangeKind, Leader, LeadershipChange};
pub use options::{CandidateOptions, ElectionOptions, InvalidElection};
pub use registration::CandidateInfo;
pub use term::Term;

// The code of the README is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
