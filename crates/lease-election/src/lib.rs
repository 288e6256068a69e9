//! Leader election on leases, over any store.
//!
//! A [`Candidate`] campaigns for the leadership of its group. What only the leader may do is a future, which
//! [`Candidate::lead`] runs while it leads, and which has ended before anybody else can win:
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
//!         // Everything that the leader writes carries its term, so that a stale one can be refused.
//!         println!("leading with term {}", term.token());
//!         tokio::select! {
//!             () = dispatch() => {}
//!             // A step-down is near: come to an end within the grace.
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
//! Loops of the form `if candidate.is_leader() { work() }` have a race: the leadership can be lost between the question and
//! the work, and during the work. `lead` does not.
//!
//! * [`Election`] is the group: its leader, its candidates, and its [`changes`](Election::changes) for observers.
//! * [`Candidate`] starts, stops, leads, steps down and hands over; [`Health`] decides whether it is fit to.
//! * [`LeadershipChanges`] is a stream, and [`LeadershipStream`] what can be made of it.
//! * [`ElectionOptions`] and [`CandidateOptions`] are plain data.
//!
//! What is promised, and what not, is said on the first page of [`lease_core`]: at most one candidate says that it leads, given
//! clocks whose rates are about right and a store that keeps its own promises; effects are fenced by the term.

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
