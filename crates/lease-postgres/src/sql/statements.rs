//! The statements of a store: the texts of `sql/`, with the name of the table.

use super::{statement::Statement, table::Table, template};
use crate::batch::LockWait;

/// How long a statement waits for a row that another transaction has locked. It then fails as a whole, with nothing done.
const LOCK_TIMEOUT: &str = "50ms";

/// The same, for a statement of one request that no other request waits for.
const LOCK_TIMEOUT_ALONE: &str = "1s";

/// Returns how long a statement of one request waits for a locked row.
pub(crate) fn lock_timeout(wait: LockWait) -> &'static str {
    match wait {
        LockWait::Long => LOCK_TIMEOUT_ALONE,
        LockWait::Short => LOCK_TIMEOUT,
    }
}

/// The statements of one store.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) acquire_one: Statement,
    pub(crate) acquire_many: Statement,
    pub(crate) raise: Statement,
    pub(crate) read_state: Statement,
    pub(crate) list: Statement,
    pub(crate) renew_one: Statement,
    pub(crate) renew_many: Statement,
    pub(crate) release_one: Statement,
    pub(crate) release_many: Statement,
    pub(crate) break_lease: Statement,
    pub(crate) break_foreign: Statement,
    pub(crate) locked: Statement,
    pub(crate) fence: Statement,
    pub(crate) purge: Statement,
    pub(crate) notify: Statement,
    pub(crate) fitness: Statement,
}

impl Statements {
    pub(crate) fn new(table: &Table) -> Self {
        let build_with = |source: &str, lock_timeout: &str| {
            Statement::new(&template::expand(source, lock_timeout), |text| template::name_table(text, table))
        };
        let usual = format!("'{LOCK_TIMEOUT}'");
        let build = |source: &str| build_with(source, &usual);
        Self {
            acquire_one: build(include_str!("../../sql/acquire_one.sql")),
            acquire_many: build(include_str!("../../sql/acquire_many.sql")),
            raise: build_with(include_str!("../../sql/raise.sql"), "$4::text"),
            read_state: build(include_str!("../../sql/read_state.sql")),
            list: build(include_str!("../../sql/list.sql")),
            renew_one: build_with(include_str!("../../sql/renew_one.sql"), "$7::text"),
            renew_many: build(include_str!("../../sql/renew_many.sql")),
            release_one: build(include_str!("../../sql/release_one.sql")),
            release_many: build(include_str!("../../sql/release_many.sql")),
            break_lease: build(include_str!("../../sql/break.sql")),
            break_foreign: build(include_str!("../../sql/break_foreign.sql")),
            locked: build(include_str!("../../sql/locked.sql")),
            fence: build(include_str!("../../sql/fence.sql")),
            purge: build(include_str!("../../sql/purge.sql")),
            notify: build(include_str!("../../sql/notify.sql")),
            fitness: build(include_str!("../../sql/fitness.sql")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::ddl;

    #[test]
    fn no_placeholder_and_no_comment_is_left() {
        let table = Table::new("public", "app_runtime_leases").unwrap().with_fences(true);
        let all = format!("{:?} {}", Statements::new(&table), ddl(&table));
        for placeholder in [
            "{table}",
            "{state}",
            "{take_over}",
            "{settings}",
            "{extend",
            "{us of",
            "{channel}",
            "{listener_lock}",
            "{has_listeners}",
            "{lock_timeout}",
            "--",
        ] {
            assert!(!all.contains(placeholder), "{placeholder} in {all}");
        }
    }

    /// Creates, in `public`, every operator that pg_catalog lacks for a pair of types, and functions that it has for other types
    /// only. Other users have no right to call them, so the server refuses a statement that contains one, even if that part is
    /// never reached.
    const HOSTILE: &str = r#"
        do $$
        declare
            types regtype[] := '{int2,int4,int8,float4,float8,numeric,text,varchar,name,"char",interval,timestamptz,timestamp,uuid,oid,bool}';
            op text; l regtype; r regtype;
        begin
            foreach l in array types loop foreach r in array types loop
                execute format($f$create function public.boom(%s, %s) returns bool language plpgsql as 'begin raise exception $e$hostile$e$; end'$f$, l, r);
                foreach op in array array['=','<>','<','>','<=','>=','+','-','*','/','||','~'] loop
                    if not exists (select from pg_operator o where o.oprnamespace = 'pg_catalog'::regnamespace
                            and o.oprname = op and o.oprleft = l and o.oprright = r) then
                        execute format('create operator public.%s (leftarg = %s, rightarg = %s, function = public.boom)', op, l, r);
                    end if;
                end loop;
            end loop; end loop;
        end $$;
        create function public.unnest(text[]) returns setof text language plpgsql as 'begin raise exception $e$hostile$e$; end';
        create function public.date_part(varchar, timestamptz) returns float8 language plpgsql as 'begin raise exception $e$hostile$e$; end';
        create function public.date_part(varchar, interval) returns float8 language plpgsql as 'begin raise exception $e$hostile$e$; end';
        create function public.set_config(varchar, text, bool) returns text language plpgsql as 'begin raise exception $e$hostile$e$; end';
        create function public.set_config(text, varchar, bool) returns text language plpgsql as 'begin raise exception $e$hostile$e$; end';
        create function public.current_setting(varchar) returns text language plpgsql as 'begin raise exception $e$hostile$e$; end';
        create function public.pg_notify(text, varchar) returns void language plpgsql as 'begin raise exception $e$hostile$e$; end';
        revoke execute on all functions in schema public from public;
    "#;

    /// In a session with the default search path, and on a table that other software created.
    #[tokio::test]
    async fn no_operator_and_no_function_of_other_users_is_used() {
        use sqlx::{AssertSqlSafe, Connection, PgConnection};

        use crate::sql::Value;

        let server = integration_tests::Postgres::shared().await;
        let database = format!("hostile_{}", lease_core::GrantId::random());
        let mut admin = PgConnection::connect(server.url()).await.unwrap();
        let (role, create) = (format!("user_{database}"), format!("create database {database}"));
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await.unwrap();
        let url = server.url_for(&database);
        let mut admin = PgConnection::connect(&url).await.unwrap();
        let table = Table::new("public", "leases").unwrap().with_fences(true);
        let contract =
            "create table public.leases (lease_name varchar collate \"C\" primary key, holder_id varchar not null,
             version bigint not null, acquired_at_utc timestamptz not null, expires_at_utc timestamptz not null)";
        let rights = format!("create role {role} login; grant all on public.leases to {role}");
        for text in [contract, &ddl(&table), &rights, HOSTILE] {
            sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut admin).await.unwrap();
        }
        let user = url.replace("postgres://postgres@", &format!("postgres://{role}@"));
        let mut session = PgConnection::connect(&user).await.unwrap();
        // Proves that such a use would fail.
        let error = sqlx::raw_sql("select 1.5::float8 * 2").execute(&mut session).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");

        let statements = Statements::new(&table);
        let id = uuid::Uuid::from_u128(7);
        let texts = |text: &'static str| -> Value<'static> { [text].into_iter().collect() };
        let numbers = || -> Value<'static> { [1_000_000_i64].into_iter().collect() };
        let ids = || -> Value<'static> { [id].into_iter().collect() };
        let (name, holder, long) = (|| Value::from("a"), || Value::from("h"), || Value::from(9_000_000_i64));
        let all: [(&str, &Statement, Vec<Value<'static>>); 16] = [
            ("acquire_one", &statements.acquire_one, vec![name(), holder(), id.into(), long(), None::<&str>.into()]),
            ("acquire_many", &statements.acquire_many, vec![texts("b"), texts("h"), ids(), numbers(), texts("{}")]),
            ("raise", &statements.raise, vec![texts("a"), texts("h"), ids(), "1s".into()]),
            ("read_state", &statements.read_state, vec![name()]),
            ("list", &statements.list, vec!["".into(), "z".into(), "0".into(), 5_i64.into()]),
            (
                "renew_one",
                &statements.renew_one,
                vec![name(), holder(), id.into(), long(), 1_i64.into(), "{}".into(), "1s".into()],
            ),
            (
                "renew_many",
                &statements.renew_many,
                vec![texts("a"), texts("h"), ids(), numbers(), numbers(), texts("{}")],
            ),
            ("locked", &statements.locked, vec![texts("a")]),
            ("fence", &statements.fence, vec![name(), 1_i64.into()]),
            (
                "release_one",
                &statements.release_one,
                vec![name(), holder(), id.into(), 1_i64.into(), "x".into(), "1s".into()],
            ),
            ("release_many", &statements.release_many, vec![texts("b"), texts("h"), ids(), numbers(), texts("x")]),
            ("break", &statements.break_lease, vec![name(), 1_i64.into(), true.into()]),
            ("break_foreign", &statements.break_foreign, vec![name(), 1_i64.into(), true.into()]),
            ("purge", &statements.purge, vec!["".into(), 1_i64.into(), 5_i64.into()]),
            ("notify", &statements.notify, vec!["channel".into(), texts("a")]),
            ("fitness", &statements.fitness, vec!["public".into(), "leases".into()]),
        ];
        for (name, statement, values) in all {
            let outcome = statement.query(&values, 0).fetch_all(&mut session).await;
            outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
