//! A client with a runtime of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

#[test]
fn l10_a_client_with_a_runtime_of_its_own_keeps_its_leases_though_the_application_blocks() {
    integration_tests::a_blocked_application_keeps_its_leases(common::store, Duration::from_secs(2));
}
