//! The settings of a session, on which all statements rely.

use sqlx::{Executor, Postgres, Row as _};

/// The settings of each session of this library. They override those of the role, the database, the server and the URL.
///
/// * The bounds limit the wait for a single row, and the statement as a whole (L7).
/// * Every access is by primary key. A plan that was made while the table was small would read all of it for each name after it
///   has grown, until the next `ANALYZE`.
/// * Rows that the policies of a table hide are an error, never free names (S19).
/// * Operators and functions that others created in a schema of the usual search path would run with the rights of this user.
pub(crate) const SETTINGS: [(&str, &str); 9] = [
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("lock_timeout", "50ms"),
    ("statement_timeout", "1s"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("search_path", "pg_catalog"),
    ("row_security", "off"),
    ("timezone", "UTC"),
];

/// Whether a session has the settings: a pooler may have ignored them.
const ARE_APPLIED: &str =
    "select current_setting('enable_seqscan') = 'off' and current_setting('search_path') = 'pg_catalog'
    and current_setting('default_transaction_isolation') = 'read committed' as are_applied";

/// Returns `set local …` for each setting, except those that the beginning of the transaction states.
pub(super) fn local_settings() -> String {
    let settings = SETTINGS.iter().filter(|(name, _)| !name.starts_with("default_"));
    settings.map(|(name, value)| format!("set local {name} = '{value}'; ")).collect()
}

/// Returns whether the session has the settings.
pub(crate) async fn are_settings_applied<'c>(
    connection: impl Executor<'c, Database = Postgres>,
) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql(ARE_APPLIED).fetch_one(connection).await?.try_get("are_applied")
}

/// Returns whether the server, or a pooler, refused a setting of the session.
pub(crate) fn is_refused_setting(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "08P01")
}
