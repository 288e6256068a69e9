//! Opens connections of the store's own.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::pool::Connect;
use crate::sql::{SETTINGS, are_settings_applied, is_refused_setting};

/// Opens connections to one server, and records whether there is a pooler before it.
pub(crate) struct Connector {
    /// With the settings of a session.
    direct: PgConnectOptions,
    plain: PgConnectOptions,
    is_behind_pooler: AtomicBool,
}

impl Connector {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        // Statements may contain the values of a lease, which do not belong in the log. No result is read as a float.
        let plain = options.disable_statement_logging().extra_float_digits(None);
        let plain = match plain.get_application_name() {
            Some(_) => plain,
            None => plain.application_name("lease-postgres"),
        };
        Self { direct: plain.clone().options(SETTINGS), plain, is_behind_pooler: AtomicBool::new(false) }
    }

    /// Returns whether there is a pooler that does not carry the settings of a session. It carries neither prepared statements nor
    /// `LISTEN`, and each call has to bring its own settings.
    pub(crate) fn is_behind_pooler(&self) -> bool {
        self.is_behind_pooler.load(Ordering::SeqCst)
    }

    /// Records that there is a pooler.
    pub(crate) fn found_pooler(&self) {
        if !self.is_behind_pooler.swap(true, Ordering::SeqCst) {
            tracing::info!(
                "there is a pooler before {}: each call is one message, notifications are off, and waiters poll",
                self.server()
            );
        }
    }

    /// Returns the options for the next connection.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        if self.is_behind_pooler() { &self.plain } else { &self.direct }
    }

    /// Returns a description of the server for messages.
    pub(crate) fn server(&self) -> String {
        match self.plain.get_socket() {
            Some(socket) => format!("the server at {}", socket.display()),
            None if self.plain.get_host().contains(':') => {
                format!("the server at [{}]:{}", self.plain.get_host(), self.plain.get_port())
            }
            None => format!("the server at {}:{}", self.plain.get_host(), self.plain.get_port()),
        }
    }
}

impl Connect for Connector {
    type Connection = PgConnection;

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
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
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the options, which contain the password.
        f.debug_struct("Connector").field("is_behind_pooler", &self.is_behind_pooler()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::url::parse, *};

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
