//! What a failure of the driver or the server means to the caller.

use std::{borrow::Cow, error::Error as StdError};

use lease_core::{Error, ErrorKind};
use tonic::{Code, ConnectError, Status};

use crate::STORE;

/// A failed call: what it means to the caller of the store, and what the store itself may do about it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) cure: Cure,
}

/// What may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cure {
    /// Nothing that the store can do.
    None,
    /// Another connection, perhaps to another member.
    Reconnect,
    /// A new login: the server does not know who calls, and nothing was done.
    Login,
    /// No login: the server asks nobody for one.
    NoLogin,
    /// Another etcd lease: nothing was done, because this one is gone or taken.
    NewLease,
    /// Fewer operations in one transaction: nothing was done.
    Split,
}

/// Whether a call may change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It may be repeated without a thought: it reads, or what it leaves behind is of no effect.
    Read,
    /// Once it may have reached the server, it may have been done.
    Write,
}

impl Access {
    /// What a call means that may have reached the server, and had no answer.
    fn unanswered(self) -> ErrorKind {
        match self {
            Self::Read => ErrorKind::Unavailable,
            Self::Write => ErrorKind::Indeterminate,
        }
    }
}

/// An error of this store without a cause.
pub(crate) fn here(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// A call that had no answer in time.
pub(crate) fn timed_out(operation: &'static str, access: Access) -> Failure {
    let error = here(access.unanswered(), operation, "etcd did not answer in time");
    Failure { error, cure: Cure::Reconnect }
}

/// An answer that is not one to what was asked: it is not believed, and its connection is left (S25).
pub(crate) fn not_the_answer(operation: &'static str, access: Access) -> Failure {
    let error = here(access.unanswered(), operation, "etcd's answer is not one to what was asked");
    Failure { error, cure: Cure::Reconnect }
}

/// The one table from the driver's errors.
pub(crate) fn classify(operation: &'static str, access: Access, error: etcd_client::Error) -> Failure {
    use etcd_client::Error as Driver;
    let (kind, cure, message) = match &error {
        Driver::GRpcStatus(status) => return of_status(operation, access, status),
        // Not repeated: an endpoint may have been written with a password in it.
        Driver::InvalidUri(_) => (ErrorKind::Invalid, Cure::None, "an endpoint is no URL".to_owned()),
        Driver::InvalidArgs(message) => (ErrorKind::Invalid, Cure::None, message.clone()),
        Driver::TransportError(error) => (
            ErrorKind::Invalid,
            Cure::None,
            format!("the endpoints or certificates cannot be used: {}", in_full(error)),
        ),
        Driver::IoError(error) => (access.unanswered(), Cure::Reconnect, format!("etcd cannot be reached: {error}")),
        Driver::WatchError(message) | Driver::EndpointError(message) | Driver::Internal(message) => {
            (access.unanswered(), Cure::Reconnect, message.clone())
        }
        other => (ErrorKind::Internal, Cure::None, format!("etcd's answer could not be used: {other}")),
    };
    Failure { error: here(kind, operation, message), cure }
}

fn of_status(operation: &'static str, access: Access, status: &Status) -> Failure {
    let (kind, cure) = match Origin::of(status) {
        Origin::NeverSent if is_about_certificates(status) => (ErrorKind::Invalid, Cure::Reconnect),
        Origin::NeverSent => (ErrorKind::Unavailable, Cure::Reconnect),
        Origin::Connection => (access.unanswered(), Cure::Reconnect),
        Origin::Server => of_server(status.code(), status.message(), access),
    };
    let message = match Origin::of(status) {
        Origin::Server if status.message().contains("database space exceeded") => {
            format!("{}: its quota is used up (NOSPACE); compact, defragment and disarm the alarm", status.message())
        }
        Origin::Server => status.message().to_owned(),
        _ => format!("etcd cannot be reached: {}", in_full(status)),
    };
    Failure { error: here(kind, operation, message), cure }
}

/// Who reports a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The driver: there was no connection.
    NeverSent,
    /// The driver: the connection broke.
    Connection,
    /// The server.
    Server,
}

impl Origin {
    fn of(status: &Status) -> Self {
        let mut cause = status.source();
        if cause.is_none() {
            // An end of the stream, or a proxy that speaks no gRPC: nothing that etcd says.
            let broken = ["transport error", "h2 protocol error", "error reading a body", "grpc-status header missing"];
            let is_broken = broken.iter().any(|text| status.message().contains(text));
            return if is_broken { Self::Connection } else { Self::Server };
        }
        while let Some(error) = cause {
            if error.is::<ConnectError>() {
                return Self::NeverSent;
            }
            cause = error.source();
        }
        Self::Connection
    }
}

/// What the server itself says. A write that it refuses was not done; that it timed out or lost its leader says nothing.
fn of_server(code: Code, message: &str, access: Access) -> (ErrorKind, Cure) {
    let says = |text: &str| message.contains(text);
    match code {
        Code::NotFound if says("requested lease not found") => (ErrorKind::Unavailable, Cure::NewLease),
        Code::FailedPrecondition if says("lease already exists") => (ErrorKind::Unavailable, Cure::NewLease),
        Code::InvalidArgument if says("too many operations") || says("duplicate key") || says("too large") => {
            (ErrorKind::Invalid, Cure::Split)
        }
        Code::OutOfRange | Code::ResourceExhausted if says("message") && says("larger") => {
            (ErrorKind::Invalid, Cure::Split)
        }
        // a member that has lost its cluster says so before it does anything
        Code::Unavailable if says("no leader") => (ErrorKind::Unavailable, Cure::Reconnect),
        // its tokens are those of another time
        Code::Unauthenticated => (ErrorKind::Denied, Cure::Login),
        Code::InvalidArgument if says("revision of auth store is old") => (ErrorKind::Unavailable, Cure::Login),
        // there was no token: authentication was switched on meanwhile
        Code::InvalidArgument if says("user name is empty") => (ErrorKind::Denied, Cure::Login),
        Code::FailedPrecondition if says("authentication is not enabled") => (ErrorKind::Invalid, Cure::NoLogin),
        Code::InvalidArgument if says("authentication failed") || says("user name") => (ErrorKind::Denied, Cure::None),
        Code::PermissionDenied => (ErrorKind::Denied, Cure::None),
        // out of disk quota, too many requests; corrupt, not yet able
        Code::ResourceExhausted | Code::DataLoss => (ErrorKind::Unavailable, Cure::None),
        Code::Unavailable if says("not capable") || says("not supported for learner") => {
            (ErrorKind::Unavailable, Cure::Reconnect)
        }
        // timed out, the leader changed, the server stopped: it may have been done
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
            (access.unanswered(), Cure::Reconnect)
        }
        Code::Unimplemented => (ErrorKind::Unsupported, Cure::None),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::NotFound => {
            (ErrorKind::Invalid, Cure::None)
        }
        // before anything was written down
        Code::Unknown if says("raft proposal dropped") => (ErrorKind::Unavailable, Cure::Reconnect),
        // etcd uses it for what it has no code for, and that may be anything
        Code::Unknown => (access.unanswered(), Cure::None),
        _ => (ErrorKind::Internal, Cure::None),
    }
}

fn is_about_certificates(status: &Status) -> bool {
    let text = in_full(status).to_lowercase();
    text.contains("certificate") || text.contains("unknownissuer")
}

/// An error with its causes: what matters is often at the end.
fn in_full(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_server_says_has_its_kind_and_cure() {
        use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};
        for (code, message, kind, cure) in [
            (Code::NotFound, "etcdserver: requested lease not found", Unavailable, Cure::NewLease),
            (Code::FailedPrecondition, "etcdserver: lease already exists", Unavailable, Cure::NewLease),
            (Code::InvalidArgument, "etcdserver: too many operations in txn request", Invalid, Cure::Split),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", Invalid, Cure::Split),
            (Code::InvalidArgument, "etcdserver: request is too large", Invalid, Cure::Split),
            (Code::ResourceExhausted, "grpc: received message larger than max (1 vs. 2)", Invalid, Cure::Split),
            (Code::Unavailable, "etcdserver: no leader", Unavailable, Cure::Reconnect),
            (Code::Unavailable, "etcdserver: leader changed", Indeterminate, Cure::Reconnect),
            (Code::Unavailable, "etcdserver: request timed out", Indeterminate, Cure::Reconnect),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
                Indeterminate,
                Cure::Reconnect,
            ),
            (Code::Unavailable, "etcdserver: server stopped", Indeterminate, Cure::Reconnect),
            (Code::DeadlineExceeded, "context deadline exceeded", Indeterminate, Cure::Reconnect),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Unavailable, Cure::None),
            (Code::ResourceExhausted, "etcdserver: too many requests", Unavailable, Cure::None),
            (Code::Unauthenticated, "etcdserver: invalid auth token", Denied, Cure::Login),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", Unavailable, Cure::Login),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Denied,
                Cure::None,
            ),
            (Code::InvalidArgument, "etcdserver: user name is empty", Denied, Cure::Login),
            (Code::PermissionDenied, "etcdserver: permission denied", Denied, Cure::None),
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled", Invalid, Cure::NoLogin),
            (Code::Unimplemented, "unknown service", Unsupported, Cure::None),
            (Code::Unavailable, "etcdserver: not capable", Unavailable, Cure::Reconnect),
            (Code::Unavailable, "etcdserver: rpc not supported for learner", Unavailable, Cure::Reconnect),
            (Code::Unknown, "raft proposal dropped", Unavailable, Cure::Reconnect),
            (Code::Unknown, "something new", Indeterminate, Cure::None),
            (Code::Internal, "a defect", Internal, Cure::None),
        ] {
            assert_eq!(of_server(code, message, Access::Write), (kind, cure), "{message}");
        }
    }

    #[test]
    fn a_full_database_is_named_with_its_cure() {
        let full = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");
        let failure = classify("renew", Access::Write, etcd_client::Error::GRpcStatus(full));
        assert_eq!(failure.error.kind(), ErrorKind::Unavailable);
        assert!(failure.error.to_string().contains("NOSPACE"), "{}", failure.error);
    }

    #[test]
    fn no_answer_is_unknown_only_where_a_change_may_have_been_sent() {
        for (access, kind) in [(Access::Read, ErrorKind::Unavailable), (Access::Write, ErrorKind::Indeterminate)] {
            assert_eq!(timed_out("acquire", access).error.kind(), kind);
            let broken = Status::unknown("transport error");
            let failure = classify("acquire", access, etcd_client::Error::GRpcStatus(broken));
            assert_eq!((failure.error.kind(), failure.cure), (kind, Cure::Reconnect));
            let stopped = of_server(Code::Unavailable, "etcdserver: server stopped", access);
            assert_eq!(stopped, (kind, Cure::Reconnect));
        }
    }

    #[test]
    fn no_error_repeats_an_endpoint() {
        let error =
            etcd_client::Error::InvalidUri("http://u:secret@[".parse::<tonic::codegen::http::Uri>().unwrap_err());
        let error = classify("connect", Access::Read, error).error;
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
