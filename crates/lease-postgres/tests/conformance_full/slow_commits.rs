//! The conformance suite where a commit takes its time, as on a slow disk or with a standby far away: rows are locked meanwhile.

use crate::harness::{Configuration, Table};
use integration_tests::ServerHarness;

/// Whatever is written to the disk waits for ten milliseconds before that, whoever else is at work.
struct SlowCommits;

impl Configuration for SlowCommits {
    const SETTINGS: &'static [(&'static str, &'static str)] =
        &[("fsync", "on"), ("commit_delay", "10000"), ("commit_siblings", "0")];
    const COMMITS_SLOWLY: bool = true;
}

lease_testkit::conformance!(real, ServerHarness::<Table<SlowCommits>>::start);
