//! How the store's connections are made.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

/// What a session of ours is set to. What the role, the database or the server says otherwise does not count.
///
/// * The bounds: of the wait for a single row, and of the statement as a whole (L7).
/// * Every look-up is by primary key. Plans that were made when the table was small would read all of it for each name after it
///   has grown, until the next ANALYZE.
/// * What the policies of a table hide is an error, never a name that nobody holds (S19).
/// * Whoever may create operators or functions in a schema of the usual search path would run them as the lease's user.
const SETTINGS: [(&str, &str); 9] = [
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

/// Whether a session is set to that: a pooler may have ignored it.
const ARE_APPLIED: &str =
    "select current_setting('enable_seqscan') = 'off' and current_setting('search_path') = 'pg_catalog'
    and current_setting('default_transaction_isolation') = 'read committed' as are_applied";

/// `set local …` for each, in a transaction whose kind its beginning says.
pub(crate) fn local_settings() -> String {
    let settings = SETTINGS.iter().filter(|(name, _)| !name.starts_with("default_"));
    settings.map(|(name, value)| format!("set local {name} = '{value}'; ")).collect()
}

/// Makes connections of the store's own.
pub(crate) struct Connector {
    /// With our settings.
    direct: PgConnectOptions,
    plain: PgConnectOptions,
    is_behind_pooler: AtomicBool,
}

impl Connector {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        // Statements may carry the values of a lease, which are none of the log's business. Nothing is read as a float.
        let plain = options.disable_statement_logging().extra_float_digits(None);
        let plain = match plain.get_application_name() {
            Some(_) => plain,
            None => plain.application_name("lease-postgres"),
        };
        Self { direct: plain.clone().options(SETTINGS), plain, is_behind_pooler: AtomicBool::new(false) }
    }

    /// Whether the server is reached through a pooler that does not carry a session's settings: it would neither carry prepared
    /// statements nor LISTEN, and each call has to bring along all that it needs.
    pub(crate) fn is_behind_pooler(&self) -> bool {
        self.is_behind_pooler.load(Ordering::SeqCst)
    }

    pub(crate) fn found_pooler(&self) {
        if !self.is_behind_pooler.swap(true, Ordering::SeqCst) {
            tracing::info!("there is a pooler before {}: each call is one message, and waiters poll", self.place());
        }
    }

    /// As is to be connected with.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        if self.is_behind_pooler() { &self.plain } else { &self.direct }
    }

    pub(crate) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        if self.is_behind_pooler() {
            return PgConnection::connect_with(&self.plain).await;
        }
        match PgConnection::connect_with(&self.direct).await {
            Ok(mut connection) => {
                if !are_settings_applied(&mut connection).await? {
                    self.found_pooler();
                }
                Ok(connection)
            }
            Err(error) if is_refused_setting(&error) => {
                let connection = PgConnection::connect_with(&self.plain).await?;
                self.found_pooler();
                Ok(connection)
            }
            Err(error) => Err(error),
        }
    }

    /// What is connected to, in words.
    pub(crate) fn place(&self) -> String {
        match self.plain.get_socket() {
            Some(socket) => format!("the server at {}", socket.display()),
            None if self.plain.get_host().contains(':') => {
                format!("the server at [{}]:{}", self.plain.get_host(), self.plain.get_port())
            }
            None => format!("the server at {}:{}", self.plain.get_host(), self.plain.get_port()),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they have the password.
        f.debug_struct("Connector").field("is_behind_pooler", &self.is_behind_pooler()).finish_non_exhaustive()
    }
}

/// What a pooler says to a parameter of the session that it cannot carry.
pub(crate) fn is_refused_setting(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "08P01")
}

pub(crate) async fn are_settings_applied<'c>(
    connection: impl sqlx::Executor<'c, Database = sqlx::Postgres>,
) -> Result<bool, sqlx::Error> {
    sqlx::Row::try_get(&sqlx::raw_sql(ARE_APPLIED).fetch_one(connection).await?, "are_applied")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::parse;

    #[test]
    fn our_settings_come_after_those_of_the_url() {
        let theirs = parse("postgres://app@db/app?options=-c%20lock_timeout%3D0").unwrap();
        let ours = Connector::new(theirs);
        let options = ours.options().get_options().unwrap();
        assert!(options.starts_with("-c lock_timeout=0 ") && options.contains("-c lock_timeout=50ms"), "{options}");
        assert!(options.contains(r"default_transaction_isolation=read\ committed"), "{options}");
        ours.found_pooler();
        assert_eq!(ours.options().get_options(), Some("-c lock_timeout=0"));
        let secret = Connector::new(parse("postgres://app:s3cr3t@db/app").unwrap());
        assert!(!format!("{secret:?}").contains("s3cr3t"));
    }
}
