//! The tests of this crate, against the fake of object storages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;

mod bring_your_own;
mod clock;
mod connecting;
mod failing;
mod foreign_objects;
mod purging;
mod races;
mod requests;
mod suites;
