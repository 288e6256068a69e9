//! The conformance suite without notifications: waiters poll.

use crate::harness::{Configuration, Table};
use integration_tests::ServerHarness;
use lease_postgres::PostgresStoreOptions;

/// Without `LISTEN` and `NOTIFY`.
struct Unnotified;

impl Configuration for Unnotified {
    fn options(options: PostgresStoreOptions) -> PostgresStoreOptions {
        options.with_notifications(false)
    }
}

lease_testkit::conformance!(real, ServerHarness::<Table<Unnotified>>::start);
