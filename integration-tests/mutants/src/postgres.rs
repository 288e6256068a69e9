//! Defects of the statements of PostgreSQL.
//!
//! An acquire first reads the state of the lease, and the conflict judges it again. A rule that both enforce takes two defects to break,
//! and has no mutant here: a nonce that grants twice, a reservation for another holder.

use crate::Mutant;

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "an answer to another call is accepted (S25)",
        file: "crates/lease-postgres/src/sql/statement.rs",
        from: "!self.has_call || rows",
        to: "true || rows",
    },
    Mutant {
        what: "a renewal revives an expired lease (S7)",
        file: "crates/lease-postgres/sql/extend.sql",
        from: "    and l.grant_ended is null and l.expires_at_utc > clock_timestamp()",
        to: "    and l.grant_ended is null",
    },
    Mutant {
        what: "a renewal revives a released or broken lease (S7)",
        file: "crates/lease-postgres/sql/extend.sql",
        from: "    and l.grant_ended is null and l.expires_at_utc > clock_timestamp()",
        to: "    and l.expires_at_utc > clock_timestamp()",
    },
    Mutant {
        what: "a renewal shortens (S7)",
        file: "crates/lease-postgres/sql/extend.sql",
        from: "greatest(l.expires_at_utc, clock_timestamp() + excluded.ttl_us::float8 * interval '1 microsecond')",
        to: "clock_timestamp() + excluded.ttl_us::float8 * interval '1 microsecond'",
    },
    Mutant {
        what: "a renewal takes metadata of any revision",
        file: "crates/lease-postgres/sql/extend.sql",
        from: "case when excluded.metadata_revision > coalesce(l.metadata_revision, 0) then excluded.metadata",
        to: "case when excluded.metadata_revision is not null then excluded.metadata",
    },
    Mutant {
        what: "a batch of releases by any holder with the nonce (S11)",
        file: "crates/lease-postgres/sql/release_many.sql",
        from: "where l.holder_id::text = excluded.holder_id::text and l.grant_id",
        to: "where l.grant_id",
    },
    Mutant {
        what: "a batch of releases frees an expired lease (S11)",
        file: "crates/lease-postgres/sql/release_many.sql",
        from: "        and l.grant_ended is null and l.expires_at_utc > clock_timestamp()",
        to: "        and l.grant_ended is null",
    },
    Mutant {
        what: "a release by any nonce of the holder (S11)",
        file: "crates/lease-postgres/sql/release_one.sql",
        from: " and l.grant_id = excluded.grant_id and",
        to: " and",
    },
    Mutant {
        what: "a release does not block the name (S11)",
        file: "crates/lease-postgres/sql/release_one.sql",
        from: "clock_timestamp() + excluded.ttl_us::float8 * interval '1 microsecond',",
        to: "clock_timestamp(),",
    },
    Mutant {
        what: "a break by a token at or below (S22)",
        file: "crates/lease-postgres/sql/break.sql",
        from: "greatest(l.version, 1) = $2::int8",
        to: "greatest(l.version, 1) <= $2::int8",
    },
    Mutant {
        what: "a spent nonce is granted again (S13)",
        file: "crates/lease-postgres/src/sql/row.rs",
        from: "false => Acquired::Spent,",
        to: "false => return None,",
    },
    Mutant {
        what: "a take-over keeps the last token (S9)",
        file: "crates/lease-postgres/sql/take_over.sql",
        from: "    version = greatest(l.version + 1, excluded.version),",
        to: "    version = l.version,",
    },
    Mutant {
        what: "grants and renewals are not written to disk (S1)",
        file: "crates/lease-postgres/sql/settings.sql",
        from: "case pg_catalog.current_setting('synchronous_commit') when 'off' then 'on' else pg_catalog.current_setting('synchronous_commit') end",
        to: "'off'",
    },
    Mutant {
        what: "a renewal is judged before it has waited (S7)",
        file: "crates/lease-postgres/sql/extend.sql",
        from: "and l.expires_at_utc > clock_timestamp()",
        to: "and l.expires_at_utc > statement_timestamp()",
    },
    Mutant {
        what: "a release is judged before it has waited (S11)",
        file: "crates/lease-postgres/sql/release_one.sql",
        from: "and l.expires_at_utc > clock_timestamp()",
        to: "and l.expires_at_utc > statement_timestamp()",
    },
    Mutant {
        what: "a batch of releases is judged before it has waited (S11)",
        file: "crates/lease-postgres/sql/release_many.sql",
        from: "and l.expires_at_utc > clock_timestamp()",
        to: "and l.expires_at_utc > statement_timestamp()",
    },
    Mutant {
        what: "a break is judged before it has waited (S22)",
        file: "crates/lease-postgres/sql/break.sql",
        from: "and l.expires_at_utc > clock_timestamp()",
        to: "and l.expires_at_utc > statement_timestamp()",
    },
    Mutant {
        what: "an insert that has waited keeps its old token (S9)",
        file: "crates/lease-postgres/src/operation/acquire.rs",
        from: "lag > OLD_TOKEN_US",
        to: "lag > i64::MAX - OLD_TOKEN_US",
    },
    Mutant {
        what: "an unknown outcome is reported as not done (S13)",
        file: "crates/lease-postgres/src/failure.rs",
        from: "(Sent::Perhaps, Access::Write) => ErrorKind::Indeterminate,",
        to: "(Sent::Perhaps, Access::Write) => ErrorKind::Unavailable,",
    },
    Mutant {
        what: "more than the ttl remains after a renewal (S1)",
        file: "crates/lease-postgres/src/operation/renew.rs",
        from: ".max(request.ttl).min(longest)",
        to: ".max(request.ttl).max(longest)",
    },
    Mutant {
        what: "more than the ttl remains for a repeated request (S1)",
        file: "crates/lease-postgres/src/sql/row.rs",
        from: "self.remaining.min(request.ttl)",
        to: "self.remaining.max(request.ttl / 100)",
    },
];

/// A deadlock is handled as a lock that is waited for too long, and tried again: the suite for all stores cannot detect it.
pub(crate) const LOCK_ORDER: &[Mutant] = &[
    Mutant {
        what: "a batch of renewals locks in the order of its caller (S12)",
        file: "crates/lease-postgres/sql/renew_many.sql",
        from: "from (select * from request order by lease_name collate \"C\") as r",
        to: "from (select * from request order by position) as r",
    },
    Mutant {
        what: "a batch of releases locks in the order of its caller (S12)",
        file: "crates/lease-postgres/sql/release_many.sql",
        from: "from (select * from request order by lease_name collate \"C\") as r",
        to: "from (select * from request order by position) as r",
    },
    Mutant {
        what: "a batch of acquires locks in the order of its caller (S12)",
        file: "crates/lease-postgres/sql/acquire_many.sql",
        from: "(select lease_name from seen) order by lease_name collate \"C\"",
        to: "(select lease_name from seen) order by position",
    },
];
