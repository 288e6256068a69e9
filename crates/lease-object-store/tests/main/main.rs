//! The tests of this crate, against the fake of object storages.

#[path = "../common/mod.rs"]
mod common;
mod suites;
