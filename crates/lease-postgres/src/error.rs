//! What a failure of the driver or the server means to the caller.

use std::{borrow::Cow, io};

use lease_core::{Error, ErrorKind};
use sqlx::{error::DatabaseError, postgres::PgDatabaseError};

use crate::{
    STORE,
    connections::{Access, Failure, Sent, is_end_of_session},
};

/// An error of this store without a cause.
pub(crate) fn here(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// The one table from failures to errors. `place` says what was used: the table, or the server.
pub(crate) fn classify(operation: &'static str, place: &str, failure: Failure) -> Error {
    let (kind, message) = match &failure.source {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let kind = match failure.sent {
                // Whatever the code says: a commit may have come before the end. No room for the log is told like this.
                Sent::Perhaps if is_end_of_session(&failure.source) => unless_sent(&failure),
                _ if is_about_recovery(error.as_ref()) => ErrorKind::Unavailable,
                _ => kind_of_sqlstate(&code, unless_sent(&failure)),
            };
            (kind, in_words(&code, place, error.message()))
        }
        // A certificate that is not trusted comes as one of these, before anything is sent.
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData && matches!(failure.sent, Sent::No) => {
            (ErrorKind::Invalid, no_tls(place, error))
        }
        sqlx::Error::Io(error) => (unless_sent(&failure), format!("{place} cannot be reached: {error}")),
        sqlx::Error::PoolTimedOut => {
            (ErrorKind::Unavailable, format!("{place} cannot be reached: there was no connection in time"))
        }
        sqlx::Error::PoolClosed => (ErrorKind::Closed, "the connection pool has been closed".to_owned()),
        sqlx::Error::WorkerCrashed => (unless_sent(&failure), format!("the connection to {place} is broken")),
        sqlx::Error::Tls(error) => (ErrorKind::Invalid, no_tls(place, error)),
        sqlx::Error::Protocol(error) => {
            (unless_sent(&failure), format!("{place} did not answer as PostgreSQL does: {error}"))
        }
        // Not repeated: it may quote the URL.
        sqlx::Error::Configuration(_) => {
            return here(ErrorKind::Invalid, operation, format!("the connection options for {place} cannot be used"));
        }
        other => (ErrorKind::Internal, format!("the answer of {place} could not be used: {other}")),
    };
    here(kind, operation, message).with_source(failure.source)
}

/// A transaction that wants to write on a replica is refused with the code of what the server cannot do at all.
fn is_about_recovery(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "0A000")
        && error
            .try_downcast_ref::<PgDatabaseError>()
            .and_then(PgDatabaseError::routine)
            .is_some_and(|routine| routine.contains("read_only"))
}

fn no_tls(place: &str, error: &dyn std::fmt::Display) -> String {
    format!("TLS with {place} could not be agreed on: check sslmode, the certificates and the server: {error}")
}

/// What a broken connection means: not done, unless a change may have reached the server.
fn unless_sent(failure: &Failure) -> ErrorKind {
    match (failure.sent, failure.access) {
        (Sent::Perhaps, Access::Write) => ErrorKind::Indeterminate,
        _ => ErrorKind::Unavailable,
    }
}

/// Every call is one transaction, so an error that the server reports means that nothing was done, except where the server
/// reports the end of the connection: a commit may have come before it.
fn kind_of_sqlstate(code: &str, broken: ErrorKind) -> ErrorKind {
    match code {
        // shut down, crashed, the database is gone or the session idle; but starting up (57P03) is surely not done
        "57P01" | "57P02" | "57P04" | "57P05" => broken,
        "57P03" => ErrorKind::Unavailable,
        // connection exceptions; poolers use them for any trouble of theirs
        _ if code.starts_with("08") => broken,
        // password, authorization, rights
        "42501" => ErrorKind::Denied,
        _ if code.starts_with("28") => ErrorKind::Denied,
        // a replica, after a fail-over: it may be promoted, or the name of the server may move
        "25006" => ErrorKind::Unavailable,
        // inside of a transaction that is none of ours, or was ended by a limit of the server: nobody knows what becomes of it
        _ if code.starts_with("25") => broken,
        // serialization, deadlock, lock not available, canceled, out of resources, trouble with files
        "40001" | "40P01" | "55P03" | "57014" => ErrorKind::Unavailable,
        // other states of things that pass: in use, being upgraded
        _ if code.starts_with("53") || code.starts_with("55") || code.starts_with("58") => ErrorKind::Unavailable,
        // the session that the statement was prepared on is another one; the plan is older than the table
        "26000" | "42P05" | "34000" => ErrorKind::Invalid,
        "0A000" => ErrorKind::Unsupported,
        // no such database or schema
        "3D000" | "3F000" => ErrorKind::Invalid,
        // the table or its columns are not what they should be
        "42P01" | "42703" | "42P10" | "42804" | "42883" | "42809" => ErrorKind::Invalid,
        // the data does not fit: somebody else's constraint, a number at its end
        _ if code.starts_with("22") || code.starts_with("23") => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

fn in_words(code: &str, place: &str, message: &str) -> String {
    match code {
        "42P01" | "3F000" => format!(
            "{place} does not exist: create it with PostgresStore::migrate(), which needs the schema to exist, or by hand \
             with the text that PostgresStore::ddl() gives ({message}, SQLSTATE {code})"
        ),
        "42703" => format!(
            "{place} lacks a column: PostgresStore::migrate() adds the ones of this library, and lease_name, holder_id, \
             version, acquired_at_utc and expires_at_utc must be there ({message}, SQLSTATE {code})"
        ),
        "42P10" => format!("{place} has no primary key on lease_name alone: add one ({message}, SQLSTATE {code})"),
        "26000" | "42P05" | "34000" => format!(
            "{place} is behind a pooler that does not keep prepared statements: set prepared_statements to false \
             ({message}, SQLSTATE {code})"
        ),
        "55P03" => format!("a row or {place} is locked by another transaction ({message}, SQLSTATE {code})"),
        "57014" => format!(
            "{place}: the statement was cancelled, because rows are locked by others for too long, or by an operator ({message}, \
             SQLSTATE {code})"
        ),
        "22003" => format!(
            "{place}: a number is at its end; if it is the version of a row, other software wrote it there: set it lower by hand, and reset \
             whatever refuses older tokens of that name ({message}, SQLSTATE {code})"
        ),
        "25006" => format!("{place} is on a replica or read-only ({message}, SQLSTATE {code})"),
        _ => format!("{place}: {message} (SQLSTATE {code})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_has_its_kind() {
        use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};
        for (codes, kind) in [
            (&["28P01", "28000", "42501"][..], Denied),
            (&["3D000", "3F000", "42P01", "42703", "42P10", "42804", "22003", "23502", "26000", "42P05"], Invalid),
            (&["57P03", "53300", "53200", "53100", "25006", "40001", "40P01", "55P03", "57014", "58030"], Unavailable),
            (&["57P01", "57P02", "08006", "08P01", "25P02", "25P03", "25P04", "25001"], Indeterminate),
            (&["0A000"], Unsupported),
            (&["42601", "XX000", ""], Internal),
        ] {
            for code in codes {
                assert_eq!(kind_of_sqlstate(code, Indeterminate), kind, "{code}");
            }
        }
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
    fn everything_else_has_its_kind_and_no_secret() {
        let failure = |source| Failure { source, sent: Sent::No, access: Access::Write };
        for (source, kind) in [
            (sqlx::Error::PoolTimedOut, ErrorKind::Unavailable),
            (sqlx::Error::PoolClosed, ErrorKind::Closed),
            (sqlx::Error::Tls("no".into()), ErrorKind::Invalid),
            (sqlx::Error::Io(io::Error::from(io::ErrorKind::InvalidData)), ErrorKind::Invalid),
            (sqlx::Error::Configuration("secret".into()), ErrorKind::Invalid),
            (sqlx::Error::RowNotFound, ErrorKind::Internal),
        ] {
            let error = classify("acquire", "t", failure(source));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
