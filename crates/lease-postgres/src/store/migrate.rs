//! Creates and upgrades the table.

use std::time::Duration;

use lease_core::{Clock, ErrorKind, Result, SystemClock};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::{
    PostgresStore,
    error::store_error,
    failure::Access,
    server::{ANSWER_GRACE, within_or_timed_out},
    sql::{Fitness, Table, ddl, index_ddl, unfit},
    sqlstate::sqlstate,
};

const OPERATION: &str = "migrate";

/// The columns of the contract with other services, with their permitted types.
const CONTRACT: [(&str, &[&str]); 5] = [
    ("lease_name", &["text", "character varying"]),
    ("holder_id", &["text", "character varying"]),
    ("version", &["bigint"]),
    ("acquired_at_utc", &["timestamp with time zone"]),
    ("expires_at_utc", &["timestamp with time zone"]),
];

/// The columns that this library adds.
const OWN: [(&str, &[&str]); 7] = [
    ("grant_id", &["uuid"]),
    ("grant_version", &["bigint"]),
    ("grant_ended", &["text"]),
    ("ttl_us", &["bigint"]),
    ("metadata", &["jsonb"]),
    ("metadata_revision", &["bigint"]),
    ("reserved_for", &["text"]),
];

/// How long an upgrade tries to lock the table, and how long it pauses between tries. Each try is short, because all later
/// statements, renewals among them, queue behind a waiting `ALTER`.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long inspecting the table, and changing it, may take: see [`BEGIN`].
const INSPECT_TIMEOUT: Duration = Duration::from_secs(1);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Overrides the defaults of the session.
const BEGIN: &str = "begin isolation level read committed read write; set local lock_timeout = '100ms'; \
                     set local statement_timeout = '60s'";

impl PostgresStore {
    /// Creates the table, or adds the columns of this library to a table that has those of the contract. If nothing is missing,
    /// nothing is changed and no lock is waited for. Several replicas may call it at the same time. It does not create the
    /// schema.
    ///
    /// An upgrade needs a moment in which no transaction uses the table. It tries for 5 s, each time for 100 ms, so that leases
    /// are renewed meanwhile. The upgrade itself may take a minute. That is enough, except for the index for
    /// [fences](crate::PostgresStoreOptions::fences) on a table of very many rows: create that by hand with the text of
    /// [`PostgresStore::ddl`].
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Invalid`] if the schema does not exist, or if the table exists but cannot be used for leases.
    /// * [`ErrorKind::Denied`] if the user has no right to create or alter the table.
    /// * [`ErrorKind::Unavailable`] if the server does not answer, or if other sessions have locked the table or are upgrading
    ///   it; the error names them.
    /// * [`ErrorKind::Indeterminate`] if the connection was lost during the upgrade; the call may be repeated.
    ///
    /// # Cancel safety
    ///
    /// The upgrade is one transaction, done completely or not at all. If the future is dropped, the connection is closed.
    pub async fn migrate(&self) -> Result<()> {
        let (shared, table) = (&self.0, self.0.table());
        let begin = async || shared.connections().begin().await.map_err(|failure| shared.error(OPERATION, failure));
        let mut call = begin().await?;
        match within_or_timed_out(INSPECT_TIMEOUT + ANSWER_GRACE, inspect(call.connection(), table)).await {
            Ok(missing) => {
                call.finish();
                if missing? == Missing::Nothing {
                    return Ok(());
                }
            }
            Err(source) => return Err(shared.error(OPERATION, call.fail(source, Access::Read).await)),
        }
        let clock = SystemClock;
        let deadline = clock.now() + LOCK_DEADLINE;
        loop {
            let mut call = begin().await?;
            let upgrade = upgrade(call.connection(), table);
            let source = match within_or_timed_out(CHANGE_TIMEOUT + ANSWER_GRACE, upgrade).await {
                Ok(answer) => {
                    call.finish();
                    return answer;
                }
                Err(source) => source,
            };
            if sqlstate(&source).as_deref() != Some("55P03") {
                return Err(shared.error(OPERATION, call.fail(source, Access::Write).await));
            }
            if clock.now() < deadline {
                call.finish();
                clock.sleep_until(clock.now() + RETRY_PAUSE).await;
                continue;
            }
            let blockers = sqlx::query_scalar::<_, Option<String>>(include_str!("../../sql/blockers.sql"))
                .persistent(false)
                .bind(table.quoted())
                .fetch_one(call.connection());
            let blockers = within_or_timed_out(INSPECT_TIMEOUT + ANSWER_GRACE, blockers).await.ok().flatten();
            call.fail(sqlx::Error::RowNotFound, Access::Read).await;
            let blockers = blockers.unwrap_or_else(|| "another transaction".to_owned());
            let message = format!(
                "the table {} is locked by {blockers}: end that, or call migrate() again later",
                table.quoted()
            );
            return Err(store_error(ErrorKind::Unavailable, OPERATION, message).with_source(source));
        }
    }

    /// Returns the SQL that [`PostgresStore::migrate`] runs, for people who manage schemas themselves. It can be run again.
    #[must_use]
    pub fn ddl(&self) -> String {
        ddl(self.0.table())
    }
}

/// Returns what is missing, without waiting for locks.
async fn inspect(connection: &mut PgConnection, table: &Table) -> Result<Result<Missing>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let found = Found::read(&mut transaction, table).await?;
    transaction.rollback().await?;
    Ok(found.missing(table))
}

async fn upgrade(connection: &mut PgConnection, table: &Table) -> Result<Result<()>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    // One replica at a time. The lock ends with the transaction, so poolers carry it.
    sqlx::query(
        "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('lease-postgres migrate ' || $1::text, 0::int8))",
    )
    .persistent(false)
    .bind(table.quoted())
    .execute(&mut *transaction)
    .await?;
    let answer = match Found::read(&mut transaction, table).await?.missing(table) {
        Ok(Missing::Nothing) => Ok(()),
        Ok(missing) => {
            // The columns lock the whole table, the index only writers.
            let text = if missing == Missing::Index { index_ddl(table) } else { ddl(table) };
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await?;
            match Found::read(&mut transaction, table).await?.missing(table) {
                Ok(Missing::Nothing) => Ok(()),
                Ok(_) => {
                    Err(unfit(OPERATION, table, &format!("another table has an index of the name {}", table.channel())))
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(()) => transaction.commit().await?,
        Err(_) => transaction.rollback().await?,
    }
    Ok(answer)
}

/// The part of the table that an upgrade has to add.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Index,
    /// The table, or columns of it.
    Columns,
}

/// The state of the table in the catalogue.
#[derive(Default)]
struct Found {
    fitness: Option<Fitness>,
    /// With their types. Empty if there is no table.
    columns: Vec<(String, String)>,
    has_key: bool,
    has_immediate_key: bool,
    has_fence: bool,
}

impl Found {
    async fn read(connection: &mut PgConnection, table: &Table) -> Result<Self, sqlx::Error> {
        let [schema, name] = table.schema_and_name();
        let about = |text: &'static str| sqlx::query(text).persistent(false).bind(schema).bind(name);
        let fitness = about(include_str!("../../sql/fitness.sql")).fetch_optional(&mut *connection).await?;
        let mut found = Self { fitness: fitness.as_ref().map(Fitness::read).transpose()?, ..Self::default() };
        for row in about(include_str!("../../sql/columns.sql")).fetch_all(&mut *connection).await? {
            found.columns.push((row.try_get("name")?, row.try_get("type")?));
        }
        let indexes = about(include_str!("../../sql/indexes.sql")).fetch_one(&mut *connection).await?;
        found.has_key = indexes.try_get("has_key")?;
        found.has_immediate_key = indexes.try_get("has_immediate_key")?;
        found.has_fence = indexes.try_get("has_fence")?;
        Ok(found)
    }

    /// Returns what is missing, or an error if the table cannot be upgraded.
    fn missing(&self, table: &Table) -> Result<Missing> {
        if self.columns.is_empty() {
            return Ok(Missing::Columns);
        }
        let unfit = |defect: &str| Err(unfit(OPERATION, table, defect));
        let type_of =
            |column: &str| self.columns.iter().find(|(name, _)| name == column).map(|(_, kind)| kind.as_str());
        let absent: Vec<_> =
            CONTRACT.iter().map(|(column, _)| *column).filter(|column| type_of(column).is_none()).collect();
        if !absent.is_empty() {
            return unfit(&format!("it lacks {}", absent.join(", ")));
        }
        for (column, types) in CONTRACT.iter().chain(&OWN) {
            if let Some(kind) = type_of(column).filter(|kind| !types.contains(kind)) {
                return unfit(&format!("its column {column} is {kind} and must be {}", types[0]));
            }
        }
        if let Some(fitness) = &self.fitness {
            fitness.check(OPERATION, table)?;
        }
        if !self.has_key {
            return unfit("it has no primary key on lease_name alone: add one");
        }
        if !self.has_immediate_key {
            return unfit("its primary key is deferrable: make one that is not");
        }
        let is_complete = OWN.iter().all(|(column, _)| type_of(column).is_some());
        Ok(match (is_complete, self.has_fence || !table.has_fences()) {
            (true, true) => Missing::Nothing,
            (true, false) => Missing::Index,
            (false, _) => Missing::Columns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_table() {
        let table = Table::new("public", "t").unwrap().with_fences(true);
        let mut found = Found { has_key: true, has_immediate_key: true, ..Found::default() };
        assert_eq!(Found::default().missing(&table).unwrap(), Missing::Columns);
        let columns = |columns: &[(&str, &[&str])]| -> Vec<_> {
            columns.iter().map(|(name, types)| ((*name).to_owned(), types[0].to_owned())).collect()
        };
        found.columns = columns(&CONTRACT);
        assert_eq!(found.missing(&table).unwrap(), Missing::Columns);
        found.columns.extend(columns(&OWN));
        assert_eq!(found.missing(&table).unwrap(), Missing::Index);
        assert_eq!(found.missing(&table.clone().with_fences(false)).unwrap(), Missing::Nothing);
        found.has_fence = true;
        assert_eq!(found.missing(&table).unwrap(), Missing::Nothing);
        let refused = |found: &Found| found.missing(&table).err().unwrap().to_string();
        found.has_immediate_key = false;
        assert!(refused(&found).contains("deferrable"), "{}", refused(&found));
        found.has_key = false;
        assert!(refused(&found).contains("no primary key"), "{}", refused(&found));
        found.columns[2].1 = "integer".to_owned();
        assert!(refused(&found).contains("version is integer and must be bigint"), "{}", refused(&found));
        found.columns.remove(0);
        assert!(refused(&found).contains("lacks lease_name"), "{}", refused(&found));
    }
}
