//! The table: its creation, its upgrade, and the errors for a table that cannot be used.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lease_core::{Acquired, Break, Clock, ErrorKind, LeaseStore, Released, SystemClock};
use lease_postgres::{PostgresStore, PostgresStoreOptions};

use crate::common::{acquire, granted, is_held, name, pool, request, sql, unique, value};

const CONTRACT: &str = "create table {table} (
    lease_name text primary key, holder_id text not null, version bigint not null,
    acquired_at_utc timestamptz not null, expires_at_utc timestamptz not null)";

async fn unmigrated() -> PostgresStore {
    PostgresStoreOptions::new().with_table(unique("leases")).with_pool(&pool().await).unwrap()
}

#[tokio::test]
async fn several_replicas_may_migrate_at_the_same_time_and_again() {
    for contract_only in [false, true] {
        let store = unmigrated().await;
        if contract_only {
            sql(&store, CONTRACT).await;
        }
        let others = futures::future::join_all((0..8).map(|_| crate::common::another(&store))).await;
        for outcome in futures::future::join_all(others.iter().map(PostgresStore::migrate)).await {
            outcome.unwrap();
        }
        store.migrate().await.unwrap();
        granted(&store, &request("job", "a")).await;
    }
}

#[tokio::test]
async fn a_contract_table_is_upgraded_with_its_rows_in_force() {
    let store = unmigrated().await;
    sql(&store, CONTRACT).await;
    sql(
        &store,
        "insert into {table} values ('held', 'other', 7, now(), now() + interval '1 hour'), ('free', 'other', 8, now(), now())",
    )
    .await;
    store.migrate().await.unwrap();
    assert!(is_held(&store, &request("held", "a")).await);
    let record = store.inspect(&name("held")).await.unwrap().unwrap();
    assert_eq!((record.holder.as_str(), record.token.get(), record.ttl.as_secs()), ("other", 7, 3600));
    granted(&store, &request("free", "a")).await;
}

#[tokio::test]
async fn a_complete_table_is_not_touched() {
    let store = crate::common::store().await;
    // An ALTER would wait for this transaction, and all others for the ALTER.
    let mut reader = crate::common::pool().await.begin().await.unwrap();
    let look = format!("select from {}", crate::common::table_of(&store));
    sqlx::raw_sql(sqlx::AssertSqlSafe(look)).execute(&mut *reader).await.unwrap();
    store.migrate().await.unwrap();
    reader.rollback().await.unwrap();
}

/// A replica that was cut off in the middle of its upgrade keeps the lock of upgrades until its session ends. A replica that has
/// nothing to upgrade does not wait for it; one that has returns an error that names the session.
#[tokio::test]
async fn a_replica_that_is_cut_off_in_its_upgrade_delays_only_other_upgrades() {
    let store = crate::common::store().await;
    let behind = unmigrated().await;
    let mut cut_off = pool().await.begin().await.unwrap();
    for table in [crate::common::table_of(&store), crate::common::table_of(&behind)] {
        sqlx::query("select pg_advisory_xact_lock(hashtextextended('lease-postgres migrate ' || $1, 0))")
            .bind(table)
            .execute(&mut *cut_off)
            .await
            .unwrap();
    }
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *cut_off).await.unwrap();
    let began = SystemClock.now();
    store.migrate().await.unwrap();
    assert!(SystemClock.now().saturating_since(began) < Duration::from_secs(3));

    let error = behind.migrate().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains(&format!("pid {pid} ")), "{error}");
    cut_off.rollback().await.unwrap();
    behind.migrate().await.unwrap();
}

#[tokio::test]
async fn an_upgrade_that_waits_delays_no_lease_and_names_the_session_that_it_waits_for() {
    let store = unmigrated().await;
    sql(&store, CONTRACT).await;
    let application = unique("reporting");
    let reporting = sqlx::PgPool::connect(&crate::common::url_of(&application).await).await.unwrap();
    let mut reader = reporting.begin().await.unwrap();
    let look = format!("select from {}", crate::common::table_of(&store));
    sqlx::raw_sql(sqlx::AssertSqlSafe(look.clone())).execute(&mut *reader).await.unwrap();
    let clock = SystemClock;
    let is_done = AtomicBool::new(false);
    let migrate = async {
        let outcome = store.migrate().await;
        is_done.store(true, Ordering::SeqCst);
        outcome
    };
    let others = async {
        let (pool, mut longest) = (pool().await, Duration::ZERO);
        while !is_done.load(Ordering::SeqCst) {
            let began = clock.now();
            sqlx::raw_sql(sqlx::AssertSqlSafe(look.clone())).execute(&pool).await.unwrap();
            longest = longest.max(clock.now().saturating_since(began));
            crate::common::pass(Duration::from_millis(5)).await;
        }
        longest
    };
    let (outcome, longest) = tokio::join!(migrate, others);
    let error = outcome.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains(&application), "{error}");
    assert!(longest < Duration::from_millis(600), "others waited for {longest:?}");
    // It succeeds as soon as the table is free.
    let end = async {
        crate::common::pass(Duration::from_millis(300)).await;
        reader.rollback().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(store.migrate(), end);
    outcome.unwrap();
}

/// The previous release had all columns, but no index: the index is created without blocking readers.
#[tokio::test]
async fn a_table_of_the_previous_release_gets_its_index_without_blocking_readers() {
    let store = crate::common::fenced_store().await;
    let index = store.notification_channel();
    sql(&store, &format!("drop index public.{index}")).await;
    let mut reader = pool().await.begin().await.unwrap();
    let look = format!("select from {}", crate::common::table_of(&store));
    sqlx::raw_sql(sqlx::AssertSqlSafe(look)).execute(&mut *reader).await.unwrap();
    store.migrate().await.unwrap();
    reader.rollback().await.unwrap();
    let made: i64 = value(&store, &format!("select count(*) from pg_indexes where indexname = '{index}'")).await;
    assert_eq!(made, 1);
    // Another relation with its name is not taken for it.
    sql(&store, &format!("drop index public.{index}; create table public.{index} ()")).await;
    let error = store.migrate().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(&index), "{error}");
}

#[tokio::test]
async fn the_printed_text_creates_the_same_table_and_can_be_run_again() {
    let (by_hand, by_call) = (unmigrated().await, crate::common::store().await);
    for _ in 0..2 {
        sqlx::raw_sql(sqlx::AssertSqlSafe(by_hand.ddl())).execute(&pool().await).await.unwrap();
    }
    let columns =
        "select string_agg(attname || ' ' || format_type(atttypid, null) || ' ' || attnotnull, ', ' order by attnum)
         || (select reloptions::text from pg_class where oid = attrelid)
         from pg_attribute where attrelid = '{table}'::regclass and attnum > 0 group by attrelid";
    let by_hand_columns: String = value(&by_hand, columns).await;
    assert_eq!(by_hand_columns, value::<String>(&by_call, columns).await);
    assert!(
        by_hand_columns.contains("expires_at_utc timestamp with time zone true")
            && by_hand_columns.contains("fillfactor=50")
    );
    assert_eq!(by_hand.ddl(), crate::common::options_of(&by_hand).ddl().unwrap());
    granted(&by_hand, &request("job", "a")).await;
}

#[tokio::test]
async fn a_missing_table_is_named_with_its_remedy() {
    let store = unmigrated().await;
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    let message = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{message}");
    assert!(
        message.contains(&crate::common::table_of(&store))
            && message.contains("migrate()")
            && message.contains("ddl()"),
        "{message}"
    );
    for error in [
        store.inspect(&name("job")).await.unwrap_err(),
        store.list("", None, 5).await.unwrap_err(),
        store.purge(Duration::from_secs(3600)).await.unwrap_err(),
        store.acquire(&[request("a", "a"), request("b", "a")]).await.swap_remove(1).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("migrate()"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_schema_is_not_created() {
    let store = PostgresStoreOptions::new().with_schema(unique("none")).with_pool(&pool().await).unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("needs the schema to exist"), "{error}");
}

#[tokio::test]
async fn missing_columns_are_named_with_their_remedy() {
    let store = unmigrated().await;
    sql(&store, CONTRACT).await;
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("migrate() adds"), "{error}");

    let store = unmigrated().await;
    sql(&store, "create table {table} (lease_name text primary key, owner text, version bigint not null)").await;
    for error in [store.migrate().await.unwrap_err(), acquire(&store, &request("job", "a")).await.unwrap_err()] {
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("holder_id"), "{error}");
    }

    let store = unmigrated().await;
    sql(&store, &CONTRACT.replace("expires_at_utc timestamptz", "expires_at_utc timestamp")).await;
    let error = store.migrate().await.unwrap_err();
    assert!(error.to_string().contains("expires_at_utc is timestamp without time zone and must be"), "{error}");

    let store = unmigrated().await;
    sql(&store, &CONTRACT.replace("text primary key", "text")).await;
    for error in [store.migrate().await.unwrap_err(), {
        sqlx::raw_sql(sqlx::AssertSqlSafe(store.ddl())).execute(&pool().await).await.unwrap();
        acquire(&store, &request("job", "a")).await.unwrap_err()
    }] {
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("no primary key"), "{error}");
    }

    let store = unmigrated().await;
    sql(&store, &CONTRACT.replace("text primary key", "text primary key deferrable")).await;
    let error = store.migrate().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("deferrable"), "{error}");
}

#[tokio::test]
async fn any_name_of_a_schema_or_table_is_only_a_name() {
    let pool = pool().await;
    let evil = unique("\"; drop table x; --\n{table}{notify} %s 'é");
    let quoted = format!("\"{}\"", evil.replace('"', "\"\""));
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create schema {quoted}"))).execute(&pool).await.unwrap();
    let options = PostgresStoreOptions::new().with_schema(&evil).with_table("a \"b\" $1 --");
    let store = options.with_pool(&pool).unwrap();
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let request = request("job", "a");
    granted(&store, &request).await;
    assert!(is_held(&store, &crate::common::request("job", "b")).await);
    let schema: String = sqlx::query_scalar(
        "select schemaname::text from pg_tables where tablename = 'a \"b\" $1 --' and schemaname = $1",
    )
    .bind(&evil)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(schema, evil);
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop schema {quoted} cascade"))).execute(&pool).await.unwrap();

    for options in [PostgresStoreOptions::new().with_table(""), PostgresStoreOptions::new().with_schema("s".repeat(64))]
    {
        let error = options.with_pool(&pool).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("1 to 63 bytes"), "{error}");
    }
}

#[tokio::test]
async fn constraints_of_other_software_are_named() {
    let store = crate::common::store().await;
    sql(&store, "alter table {table} add column team text not null").await;
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("team"), "{error}");
}

/// `migrate` and the first use refuse a table on which two holders could have a name, or which hides its rows (S19, S21).
#[tokio::test]
async fn a_table_that_cannot_keep_the_rules_is_refused_with_a_reason() {
    const COLUMNS: &str = "lease_name text {names} primary key, holder_id text not null, version bigint not null,
        acquired_at_utc timestamptz not null, expires_at_utc timestamptz not null, grant_id uuid, grant_version bigint, grant_ended text,
        ttl_us bigint, metadata jsonb, metadata_revision bigint, reserved_for text";
    const FOLDING: &str = r#"collate "folding""#;
    const COLLATION: &str =
        "create collation if not exists folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    sqlx::raw_sql(COLLATION).execute(&pool().await).await.unwrap();
    for (text, names, message) in [
        ("create table {base} ({columns}); create view {table} as select * from {base}", "", "a view"),
        ("create table {table} ({columns}) partition by hash (lease_name)", "", "partitioned"),
        ("create unlogged table {table} ({columns})", "", "set logged"),
        (
            "create table {table} ({columns}); alter table {table} alter column holder_id drop not null,
                alter column expires_at_utc drop not null",
            "",
            "holder_id, expires_at_utc may be null",
        ),
        ("create table {table} ({columns})", FOLDING, "collation"),
    ] {
        let store = unmigrated().await;
        let base = format!("{}_base\"", crate::common::table_of(&store).trim_end_matches('"'));
        let columns = COLUMNS.replace("{names}", names);
        sql(&store, &text.replace("{columns}", &columns).replace("{base}", &base)).await;
        for prepared in [true, false] {
            let other =
                crate::common::options_of(&store).with_prepared_statements(prepared).with_pool(&pool().await).unwrap();
            let two = [request("Job", "a"), request("job", "a")];
            let both = other.acquire(&two).await;
            let errors =
                [other.migrate().await.unwrap_err(), both[0].clone().unwrap_err(), both[1].clone().unwrap_err()];
            for error in errors {
                assert!(
                    error.kind() == ErrorKind::Invalid && error.to_string().contains(message),
                    "{message}: {error}"
                );
            }
        }
    }
}

/// A table is checked at its first use. What is altered after it grants nothing, ends nothing of others, and costs no other row.
#[tokio::test]
async fn s19_a_collation_that_is_altered_later_does_not_answer_for_another_name() {
    let store = crate::common::store().await;
    let grant = granted(&store, &request("job", "a")).await;
    let text = "create collation if not exists folding_later (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        alter table {table} alter column lease_name type text collate folding_later";
    sql(&store, text).await;
    let error = store.inspect(&name("Job")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("collation"), "{error}");
    for how in [Break::AfterExpiry, Break::Now] {
        assert_eq!(store.break_lease(&name("Job"), grant.token, how).await.unwrap(), Released::NotHeld);
    }
    sql(&store, "update {table} set grant_version = null").await;
    assert_eq!(store.break_lease(&name("Job"), grant.token, Break::Now).await.unwrap(), Released::NotHeld);
    assert!(matches!(acquire(&store, &request("Job", "b")).await, Ok(Acquired::Held { .. })));
    assert_eq!(store.inspect(&name("job")).await.unwrap().unwrap().holder.as_str(), "a");
}

#[tokio::test]
async fn l7_a_row_without_a_holder_costs_no_other_row() {
    let store = crate::common::store().await;
    granted(&store, &request("job-1", "a")).await;
    sql(&store, "alter table {table} alter column holder_id drop not null; update {table} set holder_id = null").await;
    let requests: Vec<_> = (0..3).map(|at| request(&format!("job-{at}"), "b")).collect();
    for (at, answer) in store.acquire(&requests).await.into_iter().enumerate() {
        match answer {
            Ok(Acquired::Granted(_)) => assert_ne!(at, 1),
            Ok(Acquired::Held { by: Some(by), .. }) => {
                assert!(at == 1 && by.holder.as_str().is_empty(), "{at}: {by:?}")
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    assert!(matches!(acquire(&store, &requests[1]).await, Ok(Acquired::Held { .. })));
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 3);
}

/// A name whose row a policy hides is not free.
#[tokio::test]
async fn s19_rows_that_a_policy_hides_are_an_error() {
    let store = crate::common::store().await;
    granted(&store, &request("job", "a")).await;
    let role = unique("hidden");
    let table = crate::common::table_of(&store);
    let text = format!(
        "create role {role} login; grant all on {table} to {role}; alter table {table} enable row level security;
         create policy none on {table} using (false)"
    );
    sql(&store, &text).await;
    let url = crate::common::url().await.replace("postgres://postgres@", &format!("postgres://{role}@"));
    for prepared in [true, false] {
        let other = crate::common::options_of(&store).with_prepared_statements(prepared).connect(&url).await.unwrap();
        let claim = crate::common::claim(
            &request("job", "b"),
            lease_core::Grant::new(lease_core::FencingToken::new(1).unwrap(), crate::common::TTL),
        );
        for error in [
            other.inspect(&name("job")).await.unwrap_err(),
            other.list("", None, 10).await.unwrap_err(),
            acquire(&other, &request("job", "b")).await.unwrap_err(),
            crate::common::renew(&other, &crate::common::renewal(&claim, crate::common::TTL)).await.unwrap_err(),
        ] {
            assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("row-level security"), "{error}");
        }
    }
}
