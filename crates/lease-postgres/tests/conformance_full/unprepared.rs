//! The conformance suite without prepared statements: each call is one message with a whole transaction in it.

use crate::harness::{Configuration, Table};
use integration_tests::ServerHarness;
use lease_postgres::PostgresStoreOptions;

/// As behind a pooler in transaction mode.
struct Unprepared;

impl Configuration for Unprepared {
    fn options(options: PostgresStoreOptions) -> PostgresStoreOptions {
        options.with_prepared_statements(false)
    }
}

lease_testkit::conformance!(real, ServerHarness::<Table<Unprepared>>::start);
