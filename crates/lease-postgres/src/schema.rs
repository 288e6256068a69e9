//! The table: its name, its text, and its creation.

use std::time::Duration;

use lease_core::{Clock, ErrorKind, Result, SystemClock};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

use crate::{
    PostgresStore,
    connections::{ANSWER, Access, answer_within, sqlstate},
    error::{self, here},
    statements,
};

const MIGRATE: &str = "migrate";

/// The longest name that PostgreSQL keeps; it cuts longer ones silently.
const LONGEST_IDENTIFIER: usize = 63;

/// What other services know of the table, with the types that it may have.
const CONTRACT: [(&str, &[&str]); 5] = [
    ("lease_name", &["text", "character varying"]),
    ("holder_id", &["text", "character varying"]),
    ("version", &["bigint"]),
    ("acquired_at_utc", &["timestamp with time zone"]),
    ("expires_at_utc", &["timestamp with time zone"]),
];

/// What this library adds.
const OWN: [(&str, &[&str]); 7] = [
    ("grant_id", &["uuid"]),
    ("grant_version", &["bigint"]),
    ("grant_ended", &["text"]),
    ("ttl_us", &["bigint"]),
    ("metadata", &["jsonb"]),
    ("metadata_revision", &["bigint"]),
    ("reserved_for", &["text"]),
];

/// How long an upgrade waits for the table, and how long at a time: whoever comes after a waiting `ALTER` waits behind it, renewals
/// as well.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// How long looking at the table, and changing it, may take: see `BEGIN`.
const LOOKING: Duration = Duration::from_secs(1);
const CHANGING: Duration = Duration::from_secs(60);

/// Whatever the defaults of the session are.
const BEGIN: &str = "begin isolation level read committed read write; set local lock_timeout = '100ms'; \
                     set local statement_timeout = '60s'";

impl PostgresStore {
    /// Creates the table, or adds what this library needs to one that has the contract's columns. Nothing is changed where nothing
    /// is missing, and nobody is waited for. Several replicas may do it at the same time. It does not create the schema.
    ///
    /// An upgrade waits for 5 s until nobody uses the table, for 100 ms at a time, so that leases are renewed meanwhile. It may then
    /// take a minute, which is enough but for the index of a [fence](crate::PostgresStoreOptions::fences) on a table of very many rows:
    /// create that by hand with the text of [`PostgresStore::ddl`].
    ///
    /// # Errors
    ///
    /// `Invalid`: there is no such schema, or a table of that name that is not a table of leases. `Denied`: the user has no
    /// right to create or alter it. `Unavailable`: there is no answer, or somebody keeps the table locked, or upgrades it at this
    /// moment; the error says who. `Indeterminate`: there was no answer in the middle of it; repeat it.
    ///
    /// # Cancel safety
    ///
    /// Done or not done, never half; the connection is closed.
    pub async fn migrate(&self) -> Result<()> {
        let (inner, table) = (&self.0, self.0.table());
        let begin = async || inner.connections().begin().await.map_err(|failure| inner.error(MIGRATE, failure));
        let mut call = begin().await?;
        match answer_within(LOOKING + ANSWER, judged(call.connection(), table)).await {
            Ok(judged) => {
                call.finish();
                if judged? == Missing::Nothing {
                    return Ok(());
                }
            }
            Err(source) => return Err(inner.error(MIGRATE, call.failed(source, Access::Read).await)),
        }
        let clock = SystemClock;
        let deadline = clock.now() + PATIENCE;
        loop {
            let mut call = begin().await?;
            let source = match answer_within(CHANGING + ANSWER, migrate_on(call.connection(), table)).await {
                Ok(answer) => {
                    call.finish();
                    return answer;
                }
                Err(source) => source,
            };
            if sqlstate(&source).as_deref() != Some("55P03") {
                return Err(inner.error(MIGRATE, call.failed(source, Access::Write).await));
            }
            if clock.now() < deadline {
                call.finish();
                clock.sleep_until(clock.now() + PAUSE).await;
                continue;
            }
            let blockers = sqlx::query_scalar::<_, Option<String>>(include_str!("../sql/blockers.sql"))
                .persistent(false)
                .bind(table.quoted())
                .fetch_one(call.connection());
            let blockers = answer_within(LOOKING + ANSWER, blockers).await.ok().flatten();
            call.failed(sqlx::Error::RowNotFound, Access::Read).await;
            let blockers = blockers.unwrap_or_else(|| "another transaction".to_owned());
            let message = format!("the table {} is kept locked by {blockers}", table.quoted());
            return Err(here(ErrorKind::Unavailable, MIGRATE, message).with_source(source));
        }
    }

    /// The text that [`PostgresStore::migrate`] runs: for people who manage schemas themselves. It can be run again.
    #[must_use]
    pub fn ddl(&self) -> String {
        self.0.table().ddl()
    }
}

/// What is to be done, by a look that waits for nobody.
async fn judged(connection: &mut PgConnection, table: &Table) -> Result<Result<Missing>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let found = table.look(&mut transaction).await?;
    transaction.rollback().await?;
    Ok(table.judge(&found))
}

async fn migrate_on(connection: &mut PgConnection, table: &Table) -> Result<Result<()>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    // One replica after the other; it ends with the transaction, so poolers can carry it.
    sqlx::query(
        "select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('lease-postgres migrate ' || $1::text, 0::int8))",
    )
    .persistent(false)
    .bind(table.quoted())
    .execute(&mut *transaction)
    .await?;
    let answer = match table.judge(&table.look(&mut transaction).await?) {
        Ok(Missing::Nothing) => Ok(()),
        Ok(missing) => {
            // The columns need the table for themselves, the index only keeps writers out.
            let text = if missing == Missing::Index { table.index_ddl() } else { table.ddl() };
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await?;
            match table.judge(&table.look(&mut transaction).await?) {
                Ok(Missing::Nothing) => Ok(()),
                Ok(_) => Err(table.unfit(MIGRATE, format!("another table has an index {}", table.channel()))),
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

/// What there is of a table.
#[derive(Default)]
struct Found {
    fitness: Option<Fitness>,
    /// With their types. None: there is no table.
    columns: Vec<(String, String)>,
    has_key: bool,
    has_immediate_key: bool,
    has_fence: bool,
}

/// What a table is, by `sql/fitness.sql`, whatever its columns are.
#[derive(Debug, Clone)]
pub(crate) struct Fitness {
    kind: String,
    is_permanent: bool,
    /// Columns of the contract that may be empty.
    nullable: Option<String>,
    folds_names: bool,
}

impl Fitness {
    pub(crate) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            kind: row.try_get("kind")?,
            is_permanent: row.try_get("is_permanent")?,
            nullable: row.try_get("nullable")?,
            folds_names: row.try_get("folds_names")?,
        })
    }

    /// Why the rules cannot be kept on it.
    fn fault(&self) -> Option<String> {
        let kind = match self.kind.as_str() {
            "r" => None,
            "v" | "m" => Some("a view"),
            "p" => Some("a partitioned table, whose parts have keys of their own"),
            "f" => Some("a foreign table"),
            _ => Some("no table"),
        };
        if let Some(kind) = kind {
            return Some(format!("it is {kind}"));
        }
        if !self.is_permanent {
            return Some(
                "it is unlogged or temporary, and would be empty after a crash: alter table … set logged".to_owned(),
            );
        }
        if let Some(columns) = &self.nullable {
            return Some(format!("{columns} may be null: alter table … alter column … set not null"));
        }
        let folds = "the collation of lease_name takes names that differ for the same: give it collate \"C\"";
        self.folds_names.then(|| folds.to_owned())
    }
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Index,
    Something,
}

/// Where the leases are kept.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    schema: String,
    name: String,
    quoted: String,
    /// Whether it is to have the index by which a fence holds.
    has_fences: bool,
}

impl Table {
    pub(crate) fn new(schema: &str, name: &str) -> Result<Self> {
        let quoted = format!("{}.{}", quote("schema", schema)?, quote("table", name)?);
        Ok(Self { schema: schema.to_owned(), name: name.to_owned(), quoted, has_fences: false })
    }

    pub(crate) fn with_fences(self, has_fences: bool) -> Self {
        Self { has_fences, ..self }
    }

    /// As it stands in a statement: every part quoted.
    pub(crate) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// The advisory lock that whoever listens to its channel shares.
    pub(crate) fn listeners(&self) -> i64 {
        // The same bits, with a sign.
        self.hash().cast_signed()
    }

    /// The channel of its notifications: the same for every version of this library, and within the 63 bytes that LISTEN
    /// would cut it to. Tables that share one by accident hint to each other, which harms nobody (S20).
    pub(crate) fn channel(&self) -> String {
        format!("lease_postgres_{:016x}", self.hash())
    }

    fn hash(&self) -> u64 {
        // FNV-1a
        let bytes = self.quoted.bytes();
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// What its catalogue entry is looked for by.
    pub(crate) fn key(&self) -> [&str; 2] {
        [&self.schema, &self.name]
    }

    /// Refuses what cannot keep the rules, rather than answering from it.
    pub(crate) fn check(&self, operation: &'static str, fitness: &Fitness) -> Result<()> {
        fitness.fault().map_or(Ok(()), |why| Err(self.unfit(operation, why)))
    }

    pub(crate) fn ddl(&self) -> String {
        let mut ddl = statements::text(include_str!("../sql/ddl.sql"), self);
        if self.has_fences {
            ddl.push('\n');
            ddl.push_str(&self.index_ddl());
        }
        ddl
    }

    fn index_ddl(&self) -> String {
        statements::text(include_str!("../sql/index.sql"), self)
    }

    async fn look(&self, connection: &mut PgConnection) -> Result<Found, sqlx::Error> {
        let about = |text: &'static str| sqlx::query(text).persistent(false).bind(&self.schema).bind(&self.name);
        let fitness = about(include_str!("../sql/fitness.sql")).fetch_optional(&mut *connection).await?;
        let mut found = Found { fitness: fitness.as_ref().map(Fitness::read).transpose()?, ..Found::default() };
        for row in about(include_str!("../sql/columns.sql")).fetch_all(&mut *connection).await? {
            found.columns.push((row.try_get("name")?, row.try_get("type")?));
        }
        let indexes = about(include_str!("../sql/indexes.sql")).fetch_one(&mut *connection).await?;
        found.has_key = indexes.try_get("has_key")?;
        found.has_immediate_key = indexes.try_get("has_immediate_key")?;
        found.has_fence = indexes.try_get("has_fence")?;
        Ok(found)
    }

    /// What a table needs.
    fn judge(&self, found: &Found) -> Result<Missing> {
        if found.columns.is_empty() {
            return Ok(Missing::Something);
        }
        let type_of =
            |column: &str| found.columns.iter().find(|(name, _)| name == column).map(|(_, kind)| kind.as_str());
        let absent: Vec<_> =
            CONTRACT.iter().map(|(column, _)| *column).filter(|column| type_of(column).is_none()).collect();
        if !absent.is_empty() {
            return Err(self.unfit(MIGRATE, format!("it lacks {}", absent.join(", "))));
        }
        for (column, types) in CONTRACT.iter().chain(&OWN) {
            if let Some(kind) = type_of(column).filter(|kind| !types.contains(kind)) {
                return Err(self.unfit(MIGRATE, format!("its column {column} is {kind} and must be {}", types[0])));
            }
        }
        if let Some(fitness) = &found.fitness {
            self.check(MIGRATE, fitness)?;
        }
        if !found.has_key {
            return Err(self.unfit(MIGRATE, "it has no primary key on lease_name alone: add one".to_owned()));
        }
        if !found.has_immediate_key {
            return Err(self.unfit(MIGRATE, "its primary key is deferrable: make one that is not".to_owned()));
        }
        let is_complete = OWN.iter().all(|(column, _)| type_of(column).is_some());
        Ok(match (is_complete, found.has_fence || !self.has_fences) {
            (true, true) => Missing::Nothing,
            (true, false) => Missing::Index,
            (false, _) => Missing::Something,
        })
    }

    fn unfit(&self, operation: &'static str, why: String) -> lease_core::Error {
        here(
            ErrorKind::Invalid,
            operation,
            format!(
                "the table {} is not a table of leases: {why}. Use another table, or correct this one",
                self.quoted
            ),
        )
    }
}

fn quote(what: &str, name: &str) -> Result<String> {
    if name.is_empty() || name.len() > LONGEST_IDENTIFIER || name.contains('\0') {
        let message = format!(
            "the name of the {what} must have 1 to {LONGEST_IDENTIFIER} bytes and no NUL, this one has {} bytes",
            name.len()
        );
        return Err(error::here(ErrorKind::Invalid, "configure", message));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_names_and_refuses_what_the_server_would_cut() {
        let table = Table::new("\"; drop table x; --", "a b").unwrap();
        assert_eq!(table.quoted(), r#""""; drop table x; --"."a b""#);
        for name in [String::new(), "x".repeat(64), "a\0b".to_owned()] {
            assert_eq!(Table::new("public", &name).unwrap_err().kind(), ErrorKind::Invalid);
            assert_eq!(Table::new(&name, "leases").unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn channels_are_short_stable_and_one_a_table() {
        let table = Table::new(&"s".repeat(63), &"t".repeat(63)).unwrap();
        assert!(table.channel().len() <= LONGEST_IDENTIFIER);
        assert_ne!(table.channel(), Table::new("public", "t").unwrap().channel());
        let usual = Table::new("public", "app_runtime_leases").unwrap();
        assert_eq!(usual.channel(), "lease_postgres_25e5da7675d1c712");
    }

    #[test]
    fn says_what_is_wrong_with_a_table() {
        let table = Table::new("public", "t").unwrap().with_fences(true);
        let mut found = Found { has_key: true, has_immediate_key: true, ..Found::default() };
        assert_eq!(table.judge(&Found::default()).unwrap(), Missing::Something);
        let columns = |columns: &[(&str, &[&str])]| -> Vec<_> {
            columns.iter().map(|(name, types)| ((*name).to_owned(), types[0].to_owned())).collect()
        };
        found.columns = columns(&CONTRACT);
        assert_eq!(table.judge(&found).unwrap(), Missing::Something);
        found.columns.extend(columns(&OWN));
        assert_eq!(table.judge(&found).unwrap(), Missing::Index);
        assert_eq!(table.clone().with_fences(false).judge(&found).unwrap(), Missing::Nothing);
        found.has_fence = true;
        assert_eq!(table.judge(&found).unwrap(), Missing::Nothing);
        let refused = |found: &Found| table.judge(found).err().unwrap().to_string();
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
