//! SQLSTATE codes: what an error of the server means.

use lease_core::ErrorKind;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::failure::{Failure, Sent};

impl Failure {
    /// Returns the server's code for the error.
    pub(crate) fn sqlstate(&self) -> Option<String> {
        sqlstate(&self.source)
    }

    /// Returns whether rows were locked by other transactions: a single row, or so many that the statement ran out of time.
    pub(crate) fn is_locked(&self) -> bool {
        self.sqlstate().as_deref() == Some("55P03") || self.is_out_of_time()
    }

    /// Returns whether the statement ran out of time.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.sqlstate().as_deref() == Some("57014")
    }

    /// Returns whether a value, a constraint, or a trigger of other software is at fault, not the connection or the table.
    pub(crate) fn is_about_data(&self) -> bool {
        let code = self.sqlstate().unwrap_or_default();
        matches!(class_of(&code), "09" | "22" | "23" | "27" | "38" | "39" | "44" | "P0")
    }
}

/// Returns the server's code for an error, if the server reported it.
pub(crate) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Returns whether the server reports that it is a replica, or read-only.
pub(crate) fn is_from_replica(error: &sqlx::Error) -> bool {
    database_error(error).is_some_and(|error| match error.code() {
        "25006" => true,
        // Beginning a transaction that writes: of the settings of a message, the server may refuse only this one with this code.
        "0A000" => {
            error.routine().is_some_and(|routine| routine == "call_bool_check_hook" || routine.contains("read_only"))
        }
        _ => false,
    })
}

/// Returns whether a prepared statement is older than the table: "cached plan must not change result type".
pub(crate) fn is_outdated_plan(error: &sqlx::Error) -> bool {
    // By the routine of the server: the message depends on its language, and the code has many other meanings.
    database_error(error)
        .is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

/// Returns whether the server ended the session with this error. What came before may have been committed.
pub(crate) fn is_end_of_session(error: &sqlx::Error) -> bool {
    let severity = database_error(error).map(PgDatabaseError::severity);
    matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic))
}

fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
}

/// Returns the kind of an error with this code.
pub(crate) fn kind(code: &str, failure: &Failure) -> ErrorKind {
    match failure.sent {
        Sent::No => kind_while_connecting(code),
        Sent::Perhaps => kind_of_refusal(code, failure.kind_if_broken()),
    }
}

/// Nothing was sent, so another try is worthwhile, unless the user, the database or the options are at fault.
fn kind_while_connecting(code: &str) -> ErrorKind {
    match (code, class_of(code)) {
        ("42501", _) | (_, "0L" | "0P" | "28") => ErrorKind::Denied,
        (_, "0A") => ErrorKind::Unsupported,
        // no such database, or a parameter of the session
        (_, "22" | "3D" | "3F" | "42") => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    }
}

/// Every call is one transaction, so an error of the server means that nothing was done; except when the server reports the end of
/// the connection, because a commit may have come before it.
fn kind_of_refusal(code: &str, if_broken: ErrorKind) -> ErrorKind {
    match (code, class_of(code)) {
        // time-out of the statement, and start of the server: surely not done
        ("57014" | "57P03", _) => ErrorKind::Unavailable,
        // shutdown, crash, dropped database, idle session
        (_, "57") => if_broken,
        // connection exceptions; poolers use them for any trouble of their own
        (_, "08") => if_broken,
        // password, authorization, rights
        ("42501", _) | (_, "0L" | "0P" | "28") => ErrorKind::Denied,
        // a replica, after a fail-over: it may be promoted, or the server's name may move
        ("25006", _) => ErrorKind::Unavailable,
        // inside a transaction that is not ours, or that a limit of the server ended: its outcome is unknown
        (_, "0B" | "25" | "3B") => if_broken,
        // the transaction was rolled back, as with a deadlock, unless the server reports that it is uncertain
        ("40003", _) => if_broken,
        (_, "40" | "72") => ErrorKind::Unavailable,
        // out of resources, among them a full notification queue; in use, or being upgraded; files, and the configuration
        ("54000", _) | (_, "53" | "55" | "58" | "F0") => ErrorKind::Unavailable,
        (_, "0A") => ErrorKind::Unsupported,
        // SQL of this library that the server cannot parse; a code that is no error, or no code at all
        ("42601" | "42P02", _) | (_, "" | "00" | "01" | "02" | "03" | "XX") => ErrorKind::Internal,
        // the table or its columns are not as they should be; a constraint or trigger of other software, which may have codes of
        // its own, refused the data; the prepared statement belongs to another session
        _ => ErrorKind::Invalid,
    }
}

/// Returns the first two characters. A code that is newer than this library is classified by them.
fn class_of(code: &str) -> &str {
    code.get(..2).unwrap_or("")
}

/// Describes an error of the server, with what to do about it.
pub(crate) fn describe(code: &str, place: &str, message: &str) -> String {
    match code {
        "42P01" | "3F000" => format!(
            "{place} does not exist: create it with PostgresStore::migrate(), which needs the schema to exist, or by hand \
             with the text of PostgresStore::ddl() ({message}, SQLSTATE {code})"
        ),
        "42703" => format!(
            "{place} lacks a column: PostgresStore::migrate() adds the columns of this library; lease_name, holder_id, \
             version, acquired_at_utc and expires_at_utc must exist before ({message}, SQLSTATE {code})"
        ),
        "42P10" => format!("{place} has no primary key on lease_name alone: add one ({message}, SQLSTATE {code})"),
        "26000" | "42P05" | "34000" => format!(
            "{place} is behind a pooler that does not keep prepared statements: set prepared_statements to false \
             ({message}, SQLSTATE {code})"
        ),
        "55P03" => {
            format!("a row of {place}, or all of it, is locked by another transaction ({message}, SQLSTATE {code})")
        }
        "57014" => format!(
            "{place}: the statement was cancelled: other transactions have kept rows locked for too long, or an operator \
             cancelled it ({message}, SQLSTATE {code})"
        ),
        "22003" => format!(
            "{place}: a number is out of range. If it is the version of a row, other software wrote it: set it lower by hand, and \
             reset every resource that refuses older tokens of that name ({message}, SQLSTATE {code})"
        ),
        "25006" => format!(
            "{place} is on a replica or read-only: the connection must lead to the primary ({message}, SQLSTATE {code})"
        ),
        _ => format!("{place}: {message} (SQLSTATE {code})"),
    }
}

#[cfg(test)]
mod tests {
    use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};

    use super::*;
    use crate::failure::Access;

    const NUMBER_OF_SQLSTATES: usize = 260;

    /// The kind of each code of PostgreSQL 15, for a write that may have been sent, and while connecting.
    const SQLSTATES: &[(ErrorKind, ErrorKind, &str)] = &[
        // codes that are no errors; internal errors of the server
        (Internal, Unavailable, "00000 01000 0100C 01008 01003 01007 01006 01004 01P01 02000 02001 03000 XX000 XX001 XX002"),
        // the connection
        (Indeterminate, Unavailable, "08000 08003 08006 08001 08004 08007 08P01"),
        // a trigger, a function or a policy of other software
        (Invalid, Unavailable, "09000 0Z000 0Z002 20000 21000 27000 2D000 2F000 2F005 2F002 2F003 2F004 38000 38001 38002 38003 38004"),
        (Invalid, Unavailable, "39000 39001 39004 39P01 39P02 39P03 44000 P0000 P0001 P0002 P0003 P0004"),
        (Invalid, Unavailable, "HV000 HV005 HV002 HV010 HV021 HV024 HV007 HV008 HV004 HV006 HV091 HV00B HV00C HV00D HV090 HV00A HV009 HV014
            HV001 HV00P HV00J HV00K HV00Q HV00R HV00L HV00M HV00N 0F000 0F001 2B000 2BP01"),
        (Unsupported, Unsupported, "0A000"),
        // the user
        (Denied, Denied, "0L000 0LP01 0P000 28000 28P01 42501"),
        // the data, or a parameter of the session
        (Invalid, Invalid, "22000 2202E 22021 22008 22012 22005 2200B 22022 22015 2201E 22014 22016 2201F 2201G 22018 22007 22019 2200D 22025
            22P06 22010 22023 22013 2201B 2201W 2201X 2202H 2202G 22009 2200C 2200G 22004 22002 22003 2200H 22026 22001 22011 22027
            22024 2200F 22P01 22P02 22P03 22P04 22P05 2200L 2200M 2200N 2200S 2200T 22030 22031 22032 22033 22034 22035 22036 22037
            22038 22039 2203A 2203B 2203C 2203D 2203E 2203F 2203G"),
        (Invalid, Unavailable, "23000 23001 23502 23503 23505 23514 23P01"),
        // a transaction or a session that is not ours
        (Indeterminate, Unavailable, "0B000 25000 25001 25002 25008 25003 25004 25005 25007 25P01 25P02 25P03 3B000 3B001"),
        (Invalid, Unavailable, "24000 26000 34000"),
        // a replica
        (Unavailable, Unavailable, "25006"),
        // rolled back, or uncertain
        (Unavailable, Unavailable, "40000 40002 40001 40P01 72000"),
        (Indeterminate, Unavailable, "40003"),
        // the database, the schema, the table
        (Invalid, Invalid, "3D000 3F000 42000 42846 42803 42P20 42P19 42830 42602 42622 42939 42804 42P18 42P21 42P22 42809 428C9 42703 42883
            42P01 42704 42701 42P03 42P04 42723 42P05 42P06 42P07 42712 42710 42702 42725 42P08 42P09 42P10 42611 42P11 42P12 42P13
            42P14 42P15 42P16 42P17"),
        // SQL of this library
        (Internal, Invalid, "42601 42P02"),
        // temporary: no room, in use, cancelled, starting up
        (Unavailable, Unavailable, "53000 53100 53200 53300 53400 54000 55000 55006 55P02 55P03 55P04 57014 57P03 58000 58030 58P01 58P02
            F0000 F0001"),
        // permanent limits
        (Invalid, Unavailable, "54001 54011 54023"),
        // the end of the session
        (Indeterminate, Unavailable, "57000 57P01 57P02 57P04 57P05"),
    ];

    fn sqlstates() -> impl Iterator<Item = (ErrorKind, ErrorKind, &'static str)> {
        SQLSTATES
            .iter()
            .flat_map(|(sent, connecting, codes)| codes.split_whitespace().map(|code| (*sent, *connecting, code)))
    }

    fn kind_of(code: &str, sent: Sent, access: Access) -> ErrorKind {
        kind(code, &Failure { source: sqlx::Error::RowNotFound, sent, access })
    }

    #[test]
    fn every_sqlstate_has_its_kind() {
        for (sent, connecting, code) in sqlstates() {
            assert_eq!(kind_of(code, Sent::Perhaps, Access::Write), sent, "{code} to a write");
            assert_eq!(kind_of(code, Sent::No, Access::Write), connecting, "{code} while connecting");
            // A read changes nothing, so its outcome is never unknown.
            let read = if sent == Indeterminate { Unavailable } else { sent };
            assert_eq!(kind_of(code, Sent::Perhaps, Access::Read), read, "{code} to a read");
        }
    }

    #[test]
    fn an_unknown_code_is_classified_by_its_class() {
        for (code, sent, connecting) in [
            ("08ABC", Indeterminate, Unavailable),
            // from version 17 on
            ("25P04", Indeterminate, Unavailable),
            ("53999", Unavailable, Unavailable),
            ("57P09", Indeterminate, Unavailable),
            ("28ABC", Denied, Denied),
            ("22ABC", Invalid, Invalid),
            // of a trigger
            ("AB123", Invalid, Unavailable),
            ("", Internal, Unavailable),
            ("?", Internal, Unavailable),
        ] {
            assert_eq!(kind_of(code, Sent::Perhaps, Access::Write), sent, "{code}");
            assert_eq!(kind_of(code, Sent::No, Access::Write), connecting, "{code} while connecting");
        }
    }

    /// Compares the table with the lists of the installed servers.
    #[test]
    fn the_table_has_every_code_of_the_servers_at_hand() {
        let known: std::collections::HashSet<_> = sqlstates().map(|(.., code)| code).collect();
        assert_eq!(
            (known.len(), sqlstates().count()),
            (NUMBER_OF_SQLSTATES, NUMBER_OF_SQLSTATES),
            "a code is listed twice"
        );
        let versions = std::fs::read_dir("/usr/share/postgresql").into_iter().flatten().flatten();
        for list in versions.filter_map(|version| std::fs::read_to_string(version.path().join("errcodes.txt")).ok()) {
            let codes = list.lines().filter(|line| !line.starts_with('#') && !line.starts_with("Section"));
            let missing: Vec<_> =
                codes.filter_map(|line| line.split_whitespace().next()).filter(|code| !known.contains(code)).collect();
            // Codes of newer versions are classified by their class.
            assert!(missing.iter().all(|code| *code == "25P04"), "{missing:?} are not in the table");
        }
    }
}
