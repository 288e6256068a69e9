//! A failed call of the driver, and the error that it becomes.

use fred::{
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    types::config::Server,
};
use lease_core::{Error, ErrorKind};

use crate::{
    error::redis_error,
    redact::redacted,
    reply::{is_for_all_calls, reply_error, reply_error_for_all_calls, reply_error_while_connecting, reply_of},
    url,
};

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) source: DriverError,
    pub(crate) sent: Sent,
    pub(crate) access: Access,
    /// The server of a Cluster that was called.
    pub(crate) node: Option<Server>,
}

/// How far a failed call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There was no connection.
    No,
    /// The command may have reached the server.
    Maybe,
    /// The command reached a replica, whose answer says so.
    ToReplica,
    /// The answer belongs to another call.
    WrongAnswer,
}

/// Whether a call changes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Failure {
    pub(crate) fn new(source: DriverError, sent: Sent, access: Access) -> Self {
        Self { source, sent, access, node: None }
    }

    /// Names the server of a Cluster that was called.
    pub(crate) fn at(self, node: &Server) -> Self {
        Self { node: Some(node.clone()), ..self }
    }

    /// Returns `Indeterminate` for a change that may have reached the server, and `Unavailable` otherwise.
    fn kind(&self) -> ErrorKind {
        match (self.sent, self.access) {
            (Sent::Maybe, Access::Write) => ErrorKind::Indeterminate,
            _ => ErrorKind::Unavailable,
        }
    }
}

/// Returns the error that a failure becomes: the one table of the crate. `server` describes the server or the Cluster.
pub(crate) fn classify(operation: &'static str, server: &str, mut failure: Failure) -> Error {
    failure.source = redacted(&failure.source);
    let node = failure.node.take().map(|node| format!("{} of {server}", url::address(&node)));
    let server = node.as_deref().unwrap_or(server);
    if failure.sent == Sent::WrongAnswer {
        let message = format!(
            "{server} gave the answer to another call: this one may have been executed. The connection is replaced"
        );
        return redis_error(ErrorKind::Indeterminate, operation, message).with_source(failure.source);
    }
    if let Some(reply) = reply_of(&failure.source) {
        return match failure.sent {
            Sent::Maybe if failure.access == Access::Write && is_for_all_calls(reply) => {
                reply_error_for_all_calls(operation, server, reply)
            }
            Sent::No => reply_error_while_connecting(operation, server, reply),
            _ => reply_error(operation, server, reply),
        };
    }
    if has_no_task(&failure.source) {
        let message = format!(
            "the client for {server} was closed, or the runtime on which it was connected has ended: connect a new one on a \
             runtime that lives longer"
        );
        return redis_error(ErrorKind::Unavailable, operation, message).with_source(failure.source);
    }
    let details = failure.source.details();
    let (kind, message) = match failure.source.kind() {
        DriverErrorKind::Timeout if failure.sent == Sent::No => (
            ErrorKind::Unavailable,
            format!("{server} cannot be reached: no connection was established in time; nothing was sent"),
        ),
        DriverErrorKind::Timeout => (failure.kind(), format!("{server} did not answer in time")),
        DriverErrorKind::Tls if failure.sent == Sent::No => (ErrorKind::Invalid, no_tls(server)),
        // The driver's error for bytes that are not TLS, and for certificates that are not trusted.
        DriverErrorKind::IO if failure.sent == Sent::No && details.contains("InvalidData") => {
            (ErrorKind::Invalid, no_tls(server))
        }
        DriverErrorKind::Tls | DriverErrorKind::IO | DriverErrorKind::Canceled | DriverErrorKind::Unknown => {
            (failure.kind(), format!("the connection to {server} broke: {details}"))
        }
        DriverErrorKind::Protocol | DriverErrorKind::Parse => {
            (failure.kind(), format!("{server} does not answer in the protocol of Redis: {details}"))
        }
        DriverErrorKind::Routing | DriverErrorKind::Cluster | DriverErrorKind::Sentinel => {
            (failure.kind(), format!("{server} has no server for this call now: {details}"))
        }
        DriverErrorKind::Backpressure => {
            (ErrorKind::Unavailable, format!("too many commands to {server} are in flight; nothing was sent"))
        }
        DriverErrorKind::Auth => (ErrorKind::Denied, format!("{server} refuses the user or the password: {details}")),
        // Without details: they may quote the URL.
        DriverErrorKind::Config | DriverErrorKind::Url => {
            return redis_error(
                ErrorKind::Invalid,
                operation,
                format!("the configuration for {server} cannot be used: check the URL and the options"),
            );
        }
        _ => {
            let kind = if failure.sent == Sent::No { ErrorKind::Unavailable } else { ErrorKind::Internal };
            (kind, format!("the answer of {server} could not be used: {details}"))
        }
    };
    redis_error(kind, operation, message).with_source(failure.source)
}

fn no_tls(server: &str) -> String {
    format!(
        "no TLS connection to {server} could be established: check the URL (rediss:// requests TLS), the certificates and the \
         server"
    )
}

/// Returns whether the background task of the driver's client has ended. Nothing was sent then.
fn has_no_task(error: &DriverError) -> bool {
    *error.kind() == DriverErrorKind::Unknown && error.details() == "Failed to send command to router."
}

#[cfg(test)]
mod tests {
    use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable};

    use super::*;
    use crate::redact::redacted_while_connecting;

    /// Fails to compile when the driver has a new kind: add it to the table below. (`classify` needs a wildcard, because an
    /// application may enable features of the driver that add kinds.)
    fn is_in_the_table(kind: &DriverErrorKind) {
        use DriverErrorKind::*;
        match kind {
            Config | Auth | Routing | IO | InvalidCommand | InvalidArgument | Url | Protocol | Tls | Canceled
            | Unknown => {}
            Timeout | Cluster | Parse | Sentinel | NotFound | Backpressure => {}
        }
    }

    /// Every kind of the driver's errors, where it is not a reply of the server: its meaning for a write that may have been
    /// sent, for a read, and while connecting.
    #[test]
    fn every_error_of_the_driver_has_its_kind() {
        for (kind, write, read, connecting) in [
            (DriverErrorKind::Config, Invalid, Invalid, Invalid),
            (DriverErrorKind::Auth, Denied, Denied, Denied),
            (DriverErrorKind::Routing, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::IO, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::InvalidCommand, Internal, Internal, Unavailable),
            (DriverErrorKind::InvalidArgument, Internal, Internal, Unavailable),
            (DriverErrorKind::Url, Invalid, Invalid, Invalid),
            (DriverErrorKind::Protocol, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Tls, Indeterminate, Unavailable, Invalid),
            (DriverErrorKind::Canceled, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Unknown, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Timeout, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Cluster, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Parse, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::Sentinel, Indeterminate, Unavailable, Unavailable),
            (DriverErrorKind::NotFound, Internal, Internal, Unavailable),
            (DriverErrorKind::Backpressure, Unavailable, Unavailable, Unavailable),
        ] {
            is_in_the_table(&kind);
            for (sent, access, expected) in [
                (Sent::Maybe, Access::Write, write),
                (Sent::Maybe, Access::Read, read),
                (Sent::No, Access::Write, connecting),
                (Sent::WrongAnswer, Access::Write, Indeterminate),
            ] {
                let source = DriverError::new(kind.clone(), "something went wrong");
                let error = classify("acquire", "here", Failure::new(source, sent, access));
                assert_eq!(error.kind(), expected, "{kind:?} {sent:?} {access:?}: {error}");
            }
        }
    }

    #[test]
    fn a_broken_connection_is_unknown_only_where_a_change_may_have_been_sent() {
        for (sent, access, kind) in [
            (Sent::No, Access::Write, ErrorKind::Unavailable),
            (Sent::Maybe, Access::Read, ErrorKind::Unavailable),
            (Sent::Maybe, Access::Write, ErrorKind::Indeterminate),
        ] {
            for source in [
                DriverError::new(DriverErrorKind::IO, "Connection closed."),
                DriverError::new(DriverErrorKind::Timeout, "Request timed out."),
                DriverError::new(DriverErrorKind::Canceled, "Canceled."),
                DriverError::new(DriverErrorKind::Protocol, "nonsense"),
                DriverError::new(DriverErrorKind::Unknown, "Failed to route command."),
            ] {
                assert_eq!(classify("acquire", "here", Failure::new(source, sent, access)).kind(), kind);
            }
        }
    }

    #[test]
    fn quoted_arguments_are_not_repeated() {
        let quoted = "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `app`, `secret`, ";
        let failure =
            |kind, details: &'static str| Failure::new(DriverError::new(kind, details), Sent::Maybe, Access::Write);
        let mut errors = vec![reply_error("acquire", "here", quoted)];
        for kind in [DriverErrorKind::Unknown, DriverErrorKind::Protocol, DriverErrorKind::IO] {
            errors.push(classify("acquire", "here", failure(kind, quoted)));
        }
        for error in errors {
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
            assert!(error.to_string().contains("HELLO"), "{error}");
        }
        let passwords = ["secret".to_owned()];
        for text in [quoted, "unsupported command 'HELLO 3 AUTH app secret'", "ERR no. It was secret", "ERR no\nsecret"]
        {
            let error = redacted_while_connecting(&DriverError::new(DriverErrorKind::Unknown, text), &passwords);
            assert!(!format!("{error:?}").contains("secret") && !error.details().is_empty(), "{error:?}");
        }
    }

    #[test]
    fn everything_else_has_its_kind_and_no_secret() {
        let failure =
            |kind, details: &'static str| Failure::new(DriverError::new(kind, details), Sent::Maybe, Access::Write);
        for (kind, details, expected) in [
            // The reply to one call, which the driver gives to all others in flight as well.
            (DriverErrorKind::Auth, "WRONGPASS invalid username-password pair", ErrorKind::Indeterminate),
            (DriverErrorKind::Auth, "NOAUTH Authentication required.", ErrorKind::Indeterminate),
            (DriverErrorKind::Config, "secret", ErrorKind::Invalid),
            (DriverErrorKind::Url, "secret", ErrorKind::Invalid),
            // Damage on an established connection.
            (DriverErrorKind::Tls, "no", ErrorKind::Indeterminate),
            (
                DriverErrorKind::IO,
                "Custom { kind: InvalidData, error: AlertReceived(BadRecordMac) }",
                ErrorKind::Indeterminate,
            ),
            (DriverErrorKind::Backpressure, "full", ErrorKind::Unavailable),
            (DriverErrorKind::Cluster, "CLUSTERDOWN Hash slot not served", ErrorKind::Indeterminate),
            (DriverErrorKind::Cluster, "MOVED 866 127.0.0.1:7001", ErrorKind::Unavailable),
            (DriverErrorKind::NotFound, "nothing", ErrorKind::Internal),
        ] {
            let error = classify("acquire", "here", failure(kind, details));
            assert_eq!(error.kind(), expected, "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
        for (details, sent, access, expected) in [
            ("WRONGPASS invalid username-password pair", Sent::Maybe, Access::Read, ErrorKind::Denied),
            ("WRONGPASS invalid username-password pair", Sent::No, Access::Write, ErrorKind::Denied),
            ("CLUSTERDOWN Hash slot not served", Sent::Maybe, Access::Read, ErrorKind::Unavailable),
            ("CLUSTERDOWN Hash slot not served", Sent::No, Access::Write, ErrorKind::Unavailable),
        ] {
            let source = DriverError::new(DriverErrorKind::Cluster, details);
            assert_eq!(classify("acquire", "here", Failure::new(source, sent, access)).kind(), expected, "{details}");
        }
        let untrusted = "Custom { kind: InvalidData, error: InvalidCertificate(Expired) }";
        let source = DriverError::new(DriverErrorKind::IO, untrusted);
        assert_eq!(
            classify("connect", "here", Failure::new(source, Sent::No, Access::Write)).kind(),
            ErrorKind::Invalid
        );
    }
}
