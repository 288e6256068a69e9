//! The table: its name, its text, and its creation.

use lease_core::{ErrorKind, Result};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::{
    PostgresStore,
    connections::Access,
    error::{self, here},
    statements,
};

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

impl PostgresStore {
    /// Creates the table, or adds this library's columns to one that has the contract's. Nothing is changed where nothing is
    /// missing. Several replicas may do it at the same time. It does not create the schema.
    ///
    /// # Errors
    ///
    /// `Invalid`: there is no such schema, or a table of that name that is not a table of leases. `Denied`: the user has no
    /// right to create or alter it. `Unavailable`: there is no answer, or somebody keeps the table locked.
    ///
    /// # Cancel safety
    ///
    /// Done or not done, never half; the connection is closed.
    pub async fn migrate(&self) -> Result<()> {
        const OPERATION: &str = "migrate";
        let table = self.0.table();
        let mut call = self.0.connections().begin().await.map_err(|failure| self.0.error(OPERATION, failure))?;
        let outcome = migrate_on(call.connection(), table, self.0.columns_statement()).await;
        match outcome {
            Ok(answer) => {
                call.finish();
                answer
            }
            Err(source) => Err(self.0.error(OPERATION, call.failed(source, Access::Write).await)),
        }
    }

    /// The text that [`PostgresStore::migrate`] runs: for people who manage schemas themselves. It can be run again.
    #[must_use]
    pub fn ddl(&self) -> String {
        self.0.table().ddl()
    }
}

async fn migrate_on(
    connection: &mut sqlx::PgConnection,
    table: &Table,
    columns: sqlx::SqlStr,
) -> Result<Result<()>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // One replica after the other; it ends with the transaction, so poolers can carry it.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('lease-postgres migrate ' || $1, 0))")
        .persistent(false)
        .bind(&table.quoted)
        .execute(&mut *transaction)
        .await?;
    let rows = sqlx::query(columns)
        .persistent(false)
        .bind(&table.schema)
        .bind(&table.name)
        .fetch_all(&mut *transaction)
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        found.push((row.try_get::<String, _>("name")?, row.try_get::<String, _>("type")?));
    }
    let answer = match table.judge(&found) {
        Ok(Missing::Nothing) => Ok(()),
        Ok(Missing::Something) => {
            // An ALTER that waits for a long transaction would hold up everybody behind it.
            sqlx::raw_sql("set local lock_timeout = '5s'").execute(&mut *transaction).await?;
            sqlx::raw_sql(AssertSqlSafe(table.ddl())).execute(&mut *transaction).await?;
            Ok(())
        }
        Err(error) => Err(error),
    };
    transaction.commit().await?;
    Ok(answer)
}

/// Whether there is anything to do.
enum Missing {
    Nothing,
    Something,
}

/// Where the leases are kept.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    schema: String,
    name: String,
    quoted: String,
}

impl Table {
    pub(crate) fn new(schema: &str, name: &str) -> Result<Self> {
        let quoted = format!("{}.{}", quote("schema", schema)?, quote("table", name)?);
        Ok(Self { schema: schema.to_owned(), name: name.to_owned(), quoted })
    }

    /// As it stands in a statement: every part quoted.
    pub(crate) fn quoted(&self) -> &str {
        &self.quoted
    }

    /// The channel of its notifications: the same for every version of this library, and within the 63 bytes that LISTEN
    /// would cut it to. Tables that share one by accident hint to each other, which harms nobody (S20).
    pub(crate) fn channel(&self) -> String {
        // FNV-1a
        let hash = self
            .quoted
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        format!("lease_postgres_{hash:016x}")
    }

    pub(crate) fn ddl(&self) -> String {
        statements::text(include_str!("../sql/ddl.sql"), self, "")
    }

    /// What a table with these columns needs.
    fn judge(&self, found: &[(String, String)]) -> Result<Missing> {
        if found.is_empty() {
            return Ok(Missing::Something);
        }
        let type_of = |column: &str| found.iter().find(|(name, _)| name == column).map(|(_, kind)| kind.as_str());
        let absent: Vec<_> =
            CONTRACT.iter().map(|(column, _)| *column).filter(|column| type_of(column).is_none()).collect();
        if !absent.is_empty() {
            return Err(self.unfit(format!("it lacks {}", absent.join(", "))));
        }
        for (column, types) in CONTRACT.iter().chain(&OWN) {
            if let Some(kind) = type_of(column).filter(|kind| !types.contains(kind)) {
                return Err(self.unfit(format!("its column {column} is {kind} and must be {}", types[0])));
            }
        }
        let complete = OWN.iter().all(|(column, _)| type_of(column).is_some());
        Ok(if complete { Missing::Nothing } else { Missing::Something })
    }

    fn unfit(&self, why: String) -> lease_core::Error {
        here(
            ErrorKind::Invalid,
            "migrate",
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
        let table = Table::new("public", "t").unwrap();
        let columns = |found: &[(&str, &str)]| -> Vec<(String, String)> {
            found.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
        };
        let mut found: Vec<_> = CONTRACT.iter().map(|(name, types)| (*name, types[0])).collect();
        assert!(matches!(table.judge(&columns(&[])), Ok(Missing::Something)));
        assert!(matches!(table.judge(&columns(&found)), Ok(Missing::Something)));
        found.extend(OWN.iter().map(|(name, types)| (*name, types[0])));
        assert!(matches!(table.judge(&columns(&found)), Ok(Missing::Nothing)));
        found[2].1 = "integer";
        let error = table.judge(&columns(&found)).err().unwrap().to_string();
        assert!(error.contains("version is integer and must be bigint"), "{error}");
        let error = table.judge(&columns(&found[1..])).err().unwrap().to_string();
        assert!(error.contains("lacks lease_name"), "{error}");
    }
}
