//! Maps failures of the driver and the server to errors of leases.

use std::{borrow::Cow, fmt::Display, io};

use lease_core::{Error, ErrorKind};

use crate::{
    STORE,
    failure::{Failure, Sent},
    sqlstate,
};

/// Creates an error of this store, without a source.
pub(crate) fn store_error(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// Maps a failure to an error: the only place that does. `place` names what was used: the table, or the server.
pub(crate) fn classify(operation: &'static str, place: &str, failure: Failure) -> Error {
    let (kind, message) = match &failure.source {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let is_from_replica = sqlstate::is_from_replica(&failure.source);
            let kind = match failure.sent {
                // Whatever the code says, a commit may have come before the end. A full disk for the log ends a session like this.
                Sent::Perhaps if sqlstate::is_end_of_session(&failure.source) => failure.kind_if_broken(),
                _ if is_from_replica => ErrorKind::Unavailable,
                // A parameter of the URL that a pooler refuses: no retry helps.
                Sent::No if code == "08P01" && error.message().contains("startup parameter") => ErrorKind::Invalid,
                _ => sqlstate::kind(&code, &failure),
            };
            let code = if is_from_replica { "25006".into() } else { code };
            (kind, sqlstate::describe(&code, place, error.message()))
        }
        // The driver reports a certificate that is not trusted like this, before anything is sent.
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData && matches!(failure.sent, Sent::No) => {
            (ErrorKind::Invalid, tls_failed(place, error))
        }
        sqlx::Error::Io(error) if failure.sent == Sent::No => {
            (ErrorKind::Unavailable, format!("{place} cannot be reached: {error}"))
        }
        sqlx::Error::Io(error) => (failure.kind_if_broken(), format!("the connection to {place} failed: {error}")),
        sqlx::Error::PoolTimedOut => {
            let message = format!(
                "no connection in time to {place}, and the request was not sent: look for locks that keep sessions busy, or raise \
                 max_connections"
            );
            (ErrorKind::Unavailable, message)
        }
        sqlx::Error::PoolClosed => (ErrorKind::Closed, "the connection pool was closed: open another store".to_owned()),
        sqlx::Error::WorkerCrashed => (failure.kind_if_broken(), format!("the connection to {place} is broken")),
        sqlx::Error::Tls(error) => (ErrorKind::Invalid, tls_failed(place, error)),
        sqlx::Error::Protocol(error) => (
            failure.kind_if_broken(),
            format!("the answer of {place} does not follow the protocol of PostgreSQL: {error}"),
        ),
        // Without the source, which may quote the URL.
        sqlx::Error::Configuration(_) => return invalid_options(operation, place),
        sqlx::Error::InvalidArgument(_) if failure.sent == Sent::No => return invalid_options(operation, place),
        // The session was in a transaction already, as when a pooler mixes up sessions.
        sqlx::Error::BeginFailed => (failure.kind_if_broken(), format!("{place} did not begin a transaction")),
        other => {
            let kind = if failure.sent == Sent::No { ErrorKind::Unavailable } else { ErrorKind::Internal };
            (kind, format!("the answer of {place} cannot be read: {other}"))
        }
    };
    store_error(kind, operation, message).with_source(failure.source)
}

fn invalid_options(operation: &'static str, place: &str) -> Error {
    store_error(ErrorKind::Invalid, operation, format!("the connection options for {place} are invalid: check the URL"))
}

fn tls_failed(place: &str, error: &dyn Display) -> String {
    format!("no TLS connection to {place}: check sslmode, the certificates and the server: {error}")
}

#[cfg(test)]
mod tests {
    use ErrorKind::{Closed, Indeterminate, Internal, Invalid, Unavailable};

    use super::*;
    use crate::failure::Access;

    /// Every variant of the driver's error: its kind for a write that may have been sent, and while connecting. `Database` has a
    /// table of its own in `sqlstate.rs`.
    #[test]
    fn every_error_of_the_driver_has_its_kind() {
        type Make = fn() -> sqlx::Error;
        let variants: [(Make, ErrorKind, ErrorKind); 18] = [
            (|| sqlx::Error::Configuration("secret".into()), Invalid, Invalid),
            (|| sqlx::Error::InvalidArgument("secret".to_owned()), Internal, Invalid),
            (|| sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionReset)), Indeterminate, Unavailable),
            (|| sqlx::Error::Tls("no".into()), Invalid, Invalid),
            (|| sqlx::Error::Protocol("nonsense".to_owned()), Indeterminate, Unavailable),
            (|| sqlx::Error::RowNotFound, Internal, Unavailable),
            (|| sqlx::Error::TypeNotFound { type_name: "uuid".to_owned() }, Internal, Unavailable),
            (|| sqlx::Error::ColumnIndexOutOfBounds { index: 1, len: 0 }, Internal, Unavailable),
            (|| sqlx::Error::ColumnNotFound("x".to_owned()), Internal, Unavailable),
            (|| sqlx::Error::ColumnDecode { index: "x".to_owned(), source: "no".into() }, Internal, Unavailable),
            (|| sqlx::Error::Encode("no".into()), Internal, Unavailable),
            (|| sqlx::Error::Decode("no".into()), Internal, Unavailable),
            (|| sqlx::Error::AnyDriverError("no".into()), Internal, Unavailable),
            (|| sqlx::Error::PoolTimedOut, Unavailable, Unavailable),
            (|| sqlx::Error::PoolClosed, Closed, Closed),
            (|| sqlx::Error::WorkerCrashed, Indeterminate, Unavailable),
            (|| sqlx::Error::InvalidSavePointStatement, Internal, Unavailable),
            (|| sqlx::Error::BeginFailed, Indeterminate, Unavailable),
        ];
        for (source, sent, connecting) in variants {
            for (how_far, access, expected) in [
                (Sent::Perhaps, Access::Write, sent),
                (Sent::Perhaps, Access::Read, if sent == Indeterminate { Unavailable } else { sent }),
                (Sent::No, Access::Write, connecting),
            ] {
                let error = classify("acquire", "t", Failure { source: source(), sent: how_far, access });
                assert_eq!(error.kind(), expected, "{how_far:?} {access:?}: {error}");
                let says_secret = format!("{error} {error:?}").contains("secret");
                assert!(!says_secret || how_far == Sent::Perhaps, "{error:?}");
            }
        }
    }

    /// The driver may add variants, without an error of the compiler.
    #[test]
    fn the_table_of_errors_is_for_this_version_of_the_driver() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let Ok(lock) = std::fs::read_to_string(lock) else { return };
        assert!(
            lock.contains("name = \"sqlx-core\"\nversion = \"0.9.0\"\n"),
            "compare `sqlx::Error` with the table above, and update the version here"
        );
    }

    #[test]
    fn a_broken_connection_is_unknown_only_where_a_change_may_have_been_sent() {
        for (sent, access, kind) in [
            (Sent::No, Access::Write, ErrorKind::Unavailable),
            (Sent::Perhaps, Access::Read, ErrorKind::Unavailable),
            (Sent::Perhaps, Access::Write, ErrorKind::Indeterminate),
        ] {
            for source in [
                sqlx::Error::Io(io::Error::from(io::ErrorKind::ConnectionReset)),
                sqlx::Error::Protocol("nonsense".to_owned()),
                sqlx::Error::WorkerCrashed,
            ] {
                assert_eq!(classify("acquire", "t", Failure { source, sent, access }).kind(), kind);
            }
        }
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_no_outage() {
        let source = sqlx::Error::Io(io::Error::from(io::ErrorKind::InvalidData));
        let error = classify("connect", "t", Failure { source, sent: Sent::No, access: Access::Write });
        assert_eq!(error.kind(), Invalid, "{error}");
    }
}
