//! The conformance suite on a table that other software created: with other types, and not in the order of bytes.

use crate::harness::{Configuration, Table};
use integration_tests::ServerHarness;

/// The columns of the contract, as other software may declare them.
struct ContractTable;

impl Configuration for ContractTable {
    const BEFORE: &'static str = "create table {table} (
        lease_name varchar(1000) primary key,
        holder_id varchar(1000) not null,
        version bigint not null,
        acquired_at_utc timestamptz not null,
        expires_at_utc timestamptz not null
    )";
}

lease_testkit::conformance!(real, ServerHarness::<Table<ContractTable>>::start);
