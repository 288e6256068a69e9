//! What a failure of the driver or the server means to the caller.

use std::{borrow::Cow, io};

use lease_core::{Error, ErrorKind};

use crate::{
    STORE,
    connections::{Access, Failure, Sent, is_end_of_session, is_of_replica},
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
                _ if is_of_replica(&failure.source) => ErrorKind::Unavailable,
                // A parameter of the URL that a pooler does not carry: no retry helps.
                Sent::No if code == "08P01" && error.message().contains("startup parameter") => ErrorKind::Invalid,
                _ => kind_of_sqlstate(&code, &failure),
            };
            let code = if is_of_replica(&failure.source) { "25006".into() } else { code };
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
        // What was begun was no transaction, as a pooler that mixes up sessions may have it.
        sqlx::Error::BeginFailed => (unless_sent(&failure), format!("{place} did not begin a transaction")),
        sqlx::Error::InvalidArgument(_) if failure.sent == Sent::No => {
            return here(ErrorKind::Invalid, operation, format!("the connection options for {place} cannot be used"));
        }
        other => {
            let kind = if failure.sent == Sent::No { ErrorKind::Unavailable } else { ErrorKind::Internal };
            (kind, format!("the answer of {place} could not be used: {other}"))
        }
    };
    here(kind, operation, message).with_source(failure.source)
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

/// By its code, and where that is none that needs a word of its own, by its class.
fn kind_of_sqlstate(code: &str, failure: &Failure) -> ErrorKind {
    match failure.sent {
        Sent::No => kind_while_connecting(code),
        Sent::Perhaps => kind_of_refusal(code, unless_sent(failure)),
    }
}

/// Nothing was sent, so it is worth another try, unless the server says that it is about who asks, or for what.
fn kind_while_connecting(code: &str) -> ErrorKind {
    match (code, class_of(code)) {
        ("42501", _) | (_, "0L" | "0P" | "28") => ErrorKind::Denied,
        (_, "0A") => ErrorKind::Unsupported,
        // no such database, or a parameter of the session
        (_, "22" | "3D" | "3F" | "42") => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

/// Every call is one transaction, so an error that the server reports means that nothing was done, except where the server
/// reports the end of the connection: a commit may have come before it.
fn kind_of_refusal(code: &str, broken: ErrorKind) -> ErrorKind {
    match (code, class_of(code)) {
        // a limit of the time, and starting up: surely not done
        ("57014" | "57P03", _) => ErrorKind::Unavailable,
        // shut down, crashed, the database is gone or the session idle
        (_, "57") => broken,
        // connection exceptions; poolers use them for any trouble of theirs
        (_, "08") => broken,
        // password, authorization, rights
        ("42501", _) | (_, "0L" | "0P" | "28") => ErrorKind::Denied,
        // a replica, after a fail-over: it may be promoted, or the name of the server may move
        ("25006", _) => ErrorKind::Unavailable,
        // inside of a transaction that is none of ours, or was ended by a limit of the server: nobody knows what becomes of it
        (_, "0B" | "25" | "3B") => broken,
        // the transaction was rolled back, as with a deadlock, unless the server says that it does not know
        ("40003", _) => broken,
        (_, "40" | "72") => ErrorKind::Unavailable,
        // out of resources, among them a full queue of notifications; in use or being upgraded; files, and what they configure
        ("54000", _) | (_, "53" | "55" | "58" | "F0") => ErrorKind::Unavailable,
        (_, "0A") => ErrorKind::Unsupported,
        // a text of this library that the server does not understand; an error that is none, or has no code
        ("42601" | "42P02", _) | (_, "" | "00" | "01" | "02" | "03" | "XX") => ErrorKind::Internal,
        // the table or its columns are not what they should be; the data does not fit: somebody else's constraint or trigger, which
        // may have codes of its own; the session that the statement was prepared on is another one
        _ => ErrorKind::Invalid,
    }
}

/// The first two characters, which a server that knows more codes than this library uses as this one does.
pub(crate) fn class_of(code: &str) -> &str {
    code.get(..2).unwrap_or("")
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

    use ErrorKind::{Closed, Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};

    /// What each code of PostgreSQL 15 means to a write that may have been sent, and while connecting.
    const SQLSTATES: &[(ErrorKind, ErrorKind, &str)] = &[
        // no errors, which never come as ones; the server itself is at a loss
        (Internal, Unavailable, "00000 01000 0100C 01008 01003 01007 01006 01004 01P01 02000 02001 03000 XX000 XX001 XX002"),
        // the connection
        (Indeterminate, Unavailable, "08000 08003 08006 08001 08004 08007 08P01"),
        // a trigger, a function or a policy of other software
        (Invalid, Unavailable, "09000 0Z000 0Z002 20000 21000 27000 2D000 2F000 2F005 2F002 2F003 2F004 38000 38001 38002 38003 38004"),
        (Invalid, Unavailable, "39000 39001 39004 39P01 39P02 39P03 44000 P0000 P0001 P0002 P0003 P0004"),
        (Invalid, Unavailable, "HV000 HV005 HV002 HV010 HV021 HV024 HV007 HV008 HV004 HV006 HV091 HV00B HV00C HV00D HV090 HV00A HV009 HV014
            HV001 HV00P HV00J HV00K HV00Q HV00R HV00L HV00M HV00N 0F000 0F001 2B000 2BP01"),
        (Unsupported, Unsupported, "0A000"),
        // who asks
        (Denied, Denied, "0L000 0LP01 0P000 28000 28P01 42501"),
        // the data, or a parameter of the session
        (Invalid, Invalid, "22000 2202E 22021 22008 22012 22005 2200B 22022 22015 2201E 22014 22016 2201F 2201G 22018 22007 22019 2200D 22025
            22P06 22010 22023 22013 2201B 2201W 2201X 2202H 2202G 22009 2200C 2200G 22004 22002 22003 2200H 22026 22001 22011 22027
            22024 2200F 22P01 22P02 22P03 22P04 22P05 2200L 2200M 2200N 2200S 2200T 22030 22031 22032 22033 22034 22035 22036 22037
            22038 22039 2203A 2203B 2203C 2203D 2203E 2203F 2203G"),
        (Invalid, Unavailable, "23000 23001 23502 23503 23505 23514 23P01"),
        // a transaction or a session that is none of ours
        (Indeterminate, Unavailable, "0B000 25000 25001 25002 25008 25003 25004 25005 25007 25P01 25P02 25P03 3B000 3B001"),
        (Invalid, Unavailable, "24000 26000 34000"),
        // a replica
        (Unavailable, Unavailable, "25006"),
        // rolled back, or not known whether
        (Unavailable, Unavailable, "40000 40002 40001 40P01 72000"),
        (Indeterminate, Unavailable, "40003"),
        // the database, the schema, the table
        (Invalid, Invalid, "3D000 3F000 42000 42846 42803 42P20 42P19 42830 42602 42622 42939 42804 42P18 42P21 42P22 42809 428C9 42703 42883
            42P01 42704 42701 42P03 42P04 42723 42P05 42P06 42P07 42712 42710 42702 42725 42P08 42P09 42P10 42611 42P11 42P12 42P13
            42P14 42P15 42P16 42P17"),
        // a text of ours
        (Internal, Invalid, "42601 42P02"),
        // what passes: no room, in use, cancelled, starting up
        (Unavailable, Unavailable, "53000 53100 53200 53300 53400 54000 55000 55006 55P02 55P03 55P04 57014 57P03 58000 58030 58P01 58P02
            F0000 F0001"),
        // limits that stay
        (Invalid, Unavailable, "54001 54011 54023"),
        // the end of the session
        (Indeterminate, Unavailable, "57000 57P01 57P02 57P04 57P05"),
    ];

    fn sqlstates() -> impl Iterator<Item = (ErrorKind, ErrorKind, &'static str)> {
        SQLSTATES
            .iter()
            .flat_map(|(sent, connecting, codes)| codes.split_whitespace().map(|code| (*sent, *connecting, code)))
    }

    fn kind(code: &str, sent: Sent, access: Access) -> ErrorKind {
        kind_of_sqlstate(code, &Failure { source: sqlx::Error::RowNotFound, sent, access })
    }

    #[test]
    fn every_sqlstate_has_its_kind() {
        for (sent, connecting, code) in sqlstates() {
            assert_eq!(kind(code, Sent::Perhaps, Access::Write), sent, "{code} to a write");
            assert_eq!(kind(code, Sent::No, Access::Write), connecting, "{code} while connecting");
            // A look changes nothing, so that nothing is unknown.
            let read = if sent == Indeterminate { Unavailable } else { sent };
            assert_eq!(kind(code, Sent::Perhaps, Access::Read), read, "{code} to a look");
        }
    }

    #[test]
    fn a_code_that_is_not_known_is_classified_by_its_class() {
        for (code, sent, connecting) in [
            ("08ABC", Indeterminate, Unavailable),
            // from version 17 on
            ("25P04", Indeterminate, Unavailable),
            ("53999", Unavailable, Unavailable),
            ("57P09", Indeterminate, Unavailable),
            ("28ABC", Denied, Denied),
            ("22ABC", Invalid, Invalid),
            // that of a trigger
            ("AB123", Invalid, Unavailable),
            ("", Internal, Unavailable),
            ("?", Internal, Unavailable),
        ] {
            assert_eq!(kind(code, Sent::Perhaps, Access::Write), sent, "{code}");
            assert_eq!(kind(code, Sent::No, Access::Write), connecting, "{code} while connecting");
        }
    }

    /// Where servers are installed, their own lists.
    #[test]
    fn the_table_has_every_code_of_the_servers_at_hand() {
        let known: std::collections::HashSet<_> = sqlstates().map(|(.., code)| code).collect();
        assert_eq!(
            (known.len(), sqlstates().count()),
            (NUMBER_OF_SQLSTATES, NUMBER_OF_SQLSTATES),
            "a code stands there twice"
        );
        let versions = std::fs::read_dir("/usr/share/postgresql").into_iter().flatten().flatten();
        for list in versions.filter_map(|version| std::fs::read_to_string(version.path().join("errcodes.txt")).ok()) {
            let codes = list.lines().filter(|line| !line.starts_with('#') && !line.starts_with("Section"));
            let missing: Vec<_> =
                codes.filter_map(|line| line.split_whitespace().next()).filter(|code| !known.contains(code)).collect();
            // Newer versions have a few more, which go by their class.
            assert!(missing.iter().all(|code| *code == "25P04"), "{missing:?} are not in the table");
        }
    }

    const NUMBER_OF_SQLSTATES: usize = 260;

    /// Every variant of the driver's error: what it means to a write that may have been sent, and while connecting. `Database` has the
    /// table above.
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

    /// The driver's list may grow, and the compiler does not say so.
    #[test]
    fn the_errors_of_the_driver_were_looked_through_for_this_version_of_it() {
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let Ok(lock) = std::fs::read_to_string(lock) else { return };
        assert!(
            lock.contains("name = \"sqlx-core\"\nversion = \"0.9.0\"\n"),
            "compare `sqlx::Error` with the table above, and write the version here"
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
