//! The conformance suite with slow commits, as on a slow disk or with a distant standby: rows are locked meanwhile.

use crate::harness::{Configuration, Table};
use integration_tests::ServerHarness;

/// Each write to the disk waits for ten milliseconds.
struct SlowCommits;

impl Configuration for SlowCommits {
    const SETTINGS: &'static [(&'static str, &'static str)] =
        &[("fsync", "on"), ("commit_delay", "10000"), ("commit_siblings", "0")];
    const COMMITS_SLOWLY: bool = true;
}

lease_testkit::conformance!(real, ServerHarness::<Table<SlowCommits>>::start);
