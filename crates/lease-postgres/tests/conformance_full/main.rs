//! The conformance suite over stores in other configurations. `./integration-tests/run --full` runs it.

#[path = "../harness/mod.rs"]
mod harness;

mod contract_table;
mod slow_commits;
mod unnotified;
mod unprepared;
mod with_pool;
