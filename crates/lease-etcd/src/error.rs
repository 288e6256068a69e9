//! Classifies failures of the driver and the server.

use std::{borrow::Cow, error::Error as StdError};

use lease_core::{Error, ErrorKind, in_full};
use tonic::{Code, ConnectError, Status};

use crate::STORE;

/// A failed call: the error for the caller of the store, and what the store itself may do about it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) cure: Cure,
}

/// What the store may do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cure {
    /// Nothing.
    None,
    /// Use another connection, perhaps to another member.
    Reconnect,
    /// Log in again: the server does not accept the token. The call was not executed.
    Login,
    /// Use no login: authentication is switched off on the server.
    NoLogin,
    /// Use another etcd lease: this one has ended, or its id is taken. The call was not executed.
    NewLease,
    /// Send fewer operations in one transaction. The call was not executed.
    Split,
}

/// Whether a call may change the state of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The call may be repeated at will: it reads, or what it leaves behind has no effect.
    Read,
    /// The call may have been executed if it may have reached the server.
    Write,
}

impl Access {
    /// Returns the kind of error of a call that may have reached the server, and was not answered.
    fn unanswered(self) -> ErrorKind {
        match self {
            Self::Read => ErrorKind::Unavailable,
            Self::Write => ErrorKind::Indeterminate,
        }
    }
}

/// Returns an error of this store without a source.
pub(crate) fn store_error(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// Returns the error of an operation that was given up because the key of the lease has changed between all its attempts.
pub(crate) fn too_many_changes(operation: &'static str) -> Error {
    store_error(ErrorKind::Unavailable, operation, "the lease has changed during all attempts: try again")
}

/// Returns the failure of a call that was not answered in time.
pub(crate) fn timed_out(operation: &'static str, access: Access) -> Failure {
    let error = store_error(access.unanswered(), operation, "etcd did not answer within the time limit");
    Failure { error, cure: Cure::Reconnect }
}

/// Returns the failure of a call with an answer that does not match the request. The answer is not used, and its connection is
/// left (S25).
pub(crate) fn wrong_answer(operation: &'static str, access: Access) -> Failure {
    let error = store_error(access.unanswered(), operation, "etcd's answer does not match the request");
    Failure { error, cure: Cure::Reconnect }
}

/// Classifies an error of the driver. There is no other place where this is done.
pub(crate) fn classify(operation: &'static str, access: Access, error: etcd_client::Error) -> Failure {
    let (kind, cure, message) = judge(access, &error);
    Failure { error: store_error(kind, operation, message), cure }
}

/// Classifies an error of the driver while connecting. Nothing of the caller's was sent, so an unexpected answer counts as
/// transient.
pub(crate) fn classify_while_connecting(operation: &'static str, error: etcd_client::Error) -> Failure {
    let (kind, cure, message) = judge(Access::Read, &error);
    let kind = if kind == ErrorKind::Internal { ErrorKind::Unavailable } else { kind };
    Failure { error: store_error(kind, operation, message), cure }
}

fn judge(access: Access, error: &etcd_client::Error) -> (ErrorKind, Cure, String) {
    use etcd_client::Error as Driver;
    match error {
        Driver::GRpcStatus(status) => of_status(access, status),
        // Without the source: an endpoint may contain a password.
        Driver::InvalidUri(_) => (ErrorKind::Invalid, Cure::None, "an endpoint is not a URL".to_owned()),
        Driver::InvalidArgs(message) => (ErrorKind::Invalid, Cure::None, message.clone()),
        Driver::TransportError(error) => (
            ErrorKind::Invalid,
            Cure::None,
            format!("the endpoints or certificates cannot be used: {}", in_full(error)),
        ),
        Driver::IoError(error) => (access.unanswered(), Cure::Reconnect, format!("etcd cannot be reached: {error}")),
        Driver::WatchError(message)
        | Driver::LeaseKeepAliveError(message)
        | Driver::EndpointError(message)
        | Driver::Internal(message) => (access.unanswered(), Cure::Reconnect, message.clone()),
        // Without the source: the value may be a token or a user.
        Driver::InvalidMetadataValue(_) => (
            ErrorKind::Invalid,
            Cure::None,
            "a value cannot be sent as a gRPC header: use printable ASCII characters".to_owned(),
        ),
        other => (ErrorKind::Internal, Cure::None, format!("unexpected error of the etcd driver: {other}")),
    }
}

fn of_status(access: Access, status: &Status) -> (ErrorKind, Cure, String) {
    let origin = Origin::of(status);
    let (kind, cure) = match origin {
        Origin::NeverSent if is_about_certificates(status) => (ErrorKind::Invalid, Cure::Reconnect),
        Origin::NeverSent => (ErrorKind::Unavailable, Cure::Reconnect),
        Origin::Connection => (access.unanswered(), Cure::Reconnect),
        Origin::Server => of_server(status.code(), status.message(), access),
    };
    let message = match origin {
        Origin::Server if status.message().contains("database space exceeded") => {
            let message = status.message();
            format!(
                "{message}: the storage quota of etcd is used up (NOSPACE): compact, defragment and disarm the alarm"
            )
        }
        Origin::Server => status.message().to_owned(),
        _ => format!("etcd cannot be reached: {}", in_full(status)),
    };
    (kind, cure, message)
}

/// The origin of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The driver, because there was no connection.
    NeverSent,
    /// The driver, because the connection broke.
    Connection,
    /// The server.
    Server,
}

impl Origin {
    fn of(status: &Status) -> Self {
        let mut cause = status.source();
        if cause.is_none() {
            // The stream ended, or a proxy that does not speak gRPC has answered. etcd has no such messages.
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

/// Classifies an error of the server. A write that the server refuses was not executed. After a timeout or the loss of the
/// leader, the outcome is unknown.
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
        // A member without a leader refuses a request before it does anything.
        Code::Unavailable if says("no leader") => (ErrorKind::Unavailable, Cure::Reconnect),
        Code::FailedPrecondition if says("not leader") => (ErrorKind::Unavailable, Cure::Reconnect),
        // The driver's error about an answer: the request was executed.
        Code::OutOfRange if says("decoded message length too large") => match access {
            Access::Write => (ErrorKind::Indeterminate, Cure::None),
            Access::Read => (ErrorKind::Invalid, Cure::None),
        },
        // The token of the login has expired.
        Code::Unauthenticated => (ErrorKind::Denied, Cure::Login),
        Code::InvalidArgument if says("revision of auth store is old") => (ErrorKind::Unavailable, Cure::Login),
        // The request had no token: authentication was switched on meanwhile.
        Code::InvalidArgument if says("user name is empty") => (ErrorKind::Denied, Cure::Login),
        Code::FailedPrecondition if says("authentication is not enabled") => (ErrorKind::Invalid, Cure::NoLogin),
        Code::InvalidArgument if says("authentication failed") || says("user name") => (ErrorKind::Denied, Cure::None),
        Code::PermissionDenied => (ErrorKind::Denied, Cure::None),
        // Out of storage quota, too many requests; data corruption; a member that cannot serve this yet.
        Code::ResourceExhausted | Code::DataLoss => (ErrorKind::Unavailable, Cure::None),
        Code::Unavailable if says("not capable") || says("not supported for learner") => {
            (ErrorKind::Unavailable, Cure::Reconnect)
        }
        // A timeout, a change of the leader, a stopped server: the request may have been executed.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
            (access.unanswered(), Cure::Reconnect)
        }
        Code::Unimplemented => (ErrorKind::Unsupported, Cure::None),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::NotFound | Code::AlreadyExists => {
            (ErrorKind::Invalid, Cure::None)
        }
        // The proposal was dropped before it was written to the log.
        Code::Unknown if says("raft proposal dropped") => (ErrorKind::Unavailable, Cure::Reconnect),
        // etcd uses this code for errors that have no other code.
        Code::Unknown => (access.unanswered(), Cure::None),
        Code::Ok | Code::Internal => (ErrorKind::Internal, Cure::None),
    }
}

fn is_about_certificates(status: &Status) -> bool {
    let text = in_full(status).to_lowercase();
    text.contains("certificate") || text.contains("unknownissuer")
}

#[cfg(test)]
mod tests {
    use super::*;

    use ErrorKind::{Denied, Indeterminate, Internal, Invalid, Unavailable, Unsupported};

    /// Code and message of the server; the kinds for a write and for a read, and the cure. For each code, first a message
    /// without a meaning of its own, then the messages of etcd that mean something else.
    const REPLIES: [(Code, &str, ErrorKind, ErrorKind, Cure); 53] = [
        (Code::Ok, "", Internal, Internal, Cure::None),
        (Code::Cancelled, "context canceled", Indeterminate, Unavailable, Cure::Reconnect),
        (Code::Unknown, "something new", Indeterminate, Unavailable, Cure::None),
        (Code::Unknown, "raft proposal dropped", Unavailable, Unavailable, Cure::Reconnect),
        (Code::InvalidArgument, "etcdserver: key is not provided", Invalid, Invalid, Cure::None),
        (Code::InvalidArgument, "etcdserver: value is provided", Invalid, Invalid, Cure::None),
        (Code::InvalidArgument, "etcdserver: lease is provided", Invalid, Invalid, Cure::None),
        (Code::InvalidArgument, "etcdserver: invalid sort option", Invalid, Invalid, Cure::None),
        (Code::InvalidArgument, "etcdserver: too many operations in txn request", Invalid, Invalid, Cure::Split),
        (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", Invalid, Invalid, Cure::Split),
        (Code::InvalidArgument, "etcdserver: request is too large", Invalid, Invalid, Cure::Split),
        (Code::InvalidArgument, "etcdserver: revision of auth store is old", Unavailable, Unavailable, Cure::Login),
        (Code::InvalidArgument, "etcdserver: user name is empty", Denied, Denied, Cure::Login),
        (
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password",
            Denied,
            Denied,
            Cure::None,
        ),
        (Code::InvalidArgument, "etcdserver: authentication failed, user name not found", Denied, Denied, Cure::None),
        (Code::DeadlineExceeded, "context deadline exceeded", Indeterminate, Unavailable, Cure::Reconnect),
        (Code::NotFound, "etcdserver: member not found", Invalid, Invalid, Cure::None),
        (Code::NotFound, "etcdserver: requested lease not found", Unavailable, Unavailable, Cure::NewLease),
        (Code::AlreadyExists, "etcdserver: it is there already", Invalid, Invalid, Cure::None),
        (Code::PermissionDenied, "etcdserver: permission denied", Denied, Denied, Cure::None),
        (Code::ResourceExhausted, "etcdserver: too many requests", Unavailable, Unavailable, Cure::None),
        (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Unavailable, Unavailable, Cure::None),
        (Code::ResourceExhausted, "grpc: received message larger than max (1 vs. 2)", Invalid, Invalid, Cure::Split),
        (Code::FailedPrecondition, "etcdserver: user name not found", Invalid, Invalid, Cure::None),
        (Code::FailedPrecondition, "etcdserver: role name not found", Invalid, Invalid, Cure::None),
        (Code::FailedPrecondition, "etcdserver: role is not granted to the user", Invalid, Invalid, Cure::None),
        (Code::FailedPrecondition, "etcdserver: root user does not exist", Invalid, Invalid, Cure::None),
        (
            Code::FailedPrecondition,
            "etcdserver: re-configuration failed due to not enough started members",
            Invalid,
            Invalid,
            Cure::None,
        ),
        (Code::FailedPrecondition, "etcdserver: bad leader transferee", Invalid, Invalid, Cure::None),
        (Code::FailedPrecondition, "etcdserver: lease already exists", Unavailable, Unavailable, Cure::NewLease),
        (Code::FailedPrecondition, "etcdserver: authentication is not enabled", Invalid, Invalid, Cure::NoLogin),
        (Code::FailedPrecondition, "etcdserver: not leader", Unavailable, Unavailable, Cure::Reconnect),
        (Code::Aborted, "aborted", Indeterminate, Unavailable, Cure::Reconnect),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Invalid, Invalid, Cure::None),
        (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", Invalid, Invalid, Cure::None),
        (Code::OutOfRange, "etcdserver: too large lease TTL", Invalid, Invalid, Cure::None),
        (Code::OutOfRange, "grpc: received message larger than max (1 vs. 2)", Invalid, Invalid, Cure::Split),
        (
            Code::OutOfRange,
            "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
            Indeterminate,
            Invalid,
            Cure::None,
        ),
        (Code::Unimplemented, "unknown service", Unsupported, Unsupported, Cure::None),
        (Code::Internal, "a defect", Internal, Internal, Cure::None),
        (Code::Unavailable, "etcdserver: no leader", Unavailable, Unavailable, Cure::Reconnect),
        (Code::Unavailable, "etcdserver: leader changed", Indeterminate, Unavailable, Cure::Reconnect),
        (Code::Unavailable, "etcdserver: request timed out", Indeterminate, Unavailable, Cure::Reconnect),
        (
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to previous leader failure",
            Indeterminate,
            Unavailable,
            Cure::Reconnect,
        ),
        (
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to connection lost",
            Indeterminate,
            Unavailable,
            Cure::Reconnect,
        ),
        (
            Code::Unavailable,
            "etcdserver: request timed out waiting for the applied index took too long",
            Indeterminate,
            Unavailable,
            Cure::Reconnect,
        ),
        (Code::Unavailable, "etcdserver: server stopped", Indeterminate, Unavailable, Cure::Reconnect),
        (Code::Unavailable, "etcdserver: unhealthy cluster", Indeterminate, Unavailable, Cure::Reconnect),
        (Code::Unavailable, "etcdserver: not capable", Unavailable, Unavailable, Cure::Reconnect),
        (Code::Unavailable, "etcdserver: rpc not supported for learner", Unavailable, Unavailable, Cure::Reconnect),
        (Code::DataLoss, "etcdserver: corrupt cluster", Unavailable, Unavailable, Cure::None),
        (Code::Unauthenticated, "etcdserver: invalid auth token", Denied, Denied, Cure::Login),
        (Code::Unauthenticated, "etcdserver: invalid auth management", Denied, Denied, Cure::Login),
    ];

    #[test]
    fn every_error_of_the_server_has_its_kind_and_cure() {
        for (code, message, write, read, cure) in REPLIES {
            assert_eq!(of_server(code, message, Access::Write), (write, cure), "{code:?} {message} to a write");
            assert_eq!(of_server(code, message, Access::Read), (read, cure), "{code:?} {message} to a read");
            let status = etcd_client::Error::GRpcStatus(Status::new(code, message));
            let connecting = classify_while_connecting("connect", status).error.kind();
            assert_eq!(
                connecting,
                if read == Internal { Unavailable } else { read },
                "{code:?} {message} while connecting"
            );
        }
        // `of_server` has no wildcard; this has each of its codes.
        for code in (0..=16).map(Code::from_i32) {
            assert!(REPLIES.iter().any(|(known, ..)| *known == code), "{code:?} is not in the table");
        }
        assert_eq!(Code::from_i32(17), Code::Unknown, "gRPC has more codes than the table");
    }

    /// Fails to compile when the driver has a new variant, which must then be added to the table below. (`judge` needs a
    /// wildcard, because an application may enable features of the driver that add variants.)
    fn is_in_the_table(error: &etcd_client::Error) {
        use etcd_client::Error as Driver;
        match error {
            Driver::InvalidArgs(_) | Driver::InvalidUri(_) | Driver::IoError(_) | Driver::TransportError(_) => {}
            Driver::GRpcStatus(_) | Driver::WatchError(_) | Driver::Utf8Error(_) | Driver::LeaseKeepAliveError(_) => {}
            Driver::ElectError(_) | Driver::InvalidMetadataValue(_) | Driver::EndpointError(_) => {}
            Driver::EndpointsNotManaged | Driver::Internal(_) => {}
        }
    }

    /// Every variant of the driver's error, with its kind for a write, for a read, and while connecting.
    #[test]
    fn every_error_of_the_driver_has_its_kind() {
        use etcd_client::Error as Driver;
        let secret = || "secret".to_owned();
        let no_uri = || "http://u:secret@[".parse::<tonic::codegen::http::Uri>().unwrap_err();
        #[allow(invalid_from_utf8, reason = "it must be invalid")]
        let no_text = || std::str::from_utf8(&[0xff]).unwrap_err();
        let no_header = || "secret\n".parse::<tonic::metadata::AsciiMetadataValue>().unwrap_err();
        let no_endpoint = || tonic::transport::Endpoint::from_shared("no url").unwrap_err();
        let variants: [(&dyn Fn() -> Driver, ErrorKind, ErrorKind, ErrorKind); 13] = [
            (&|| Driver::InvalidArgs("an argument".to_owned()), Invalid, Invalid, Invalid),
            (&|| Driver::InvalidUri(no_uri()), Invalid, Invalid, Invalid),
            (&|| Driver::IoError(std::io::ErrorKind::ConnectionReset.into()), Indeterminate, Unavailable, Unavailable),
            (&|| Driver::TransportError(no_endpoint()), Invalid, Invalid, Invalid),
            (&|| Driver::GRpcStatus(Status::unknown("transport error")), Indeterminate, Unavailable, Unavailable),
            (&|| Driver::WatchError("cut".to_owned()), Indeterminate, Unavailable, Unavailable),
            (&|| Driver::Utf8Error(no_text()), Internal, Internal, Unavailable),
            (&|| Driver::LeaseKeepAliveError("cut".to_owned()), Indeterminate, Unavailable, Unavailable),
            (&|| Driver::ElectError("no".to_owned()), Internal, Internal, Unavailable),
            (&|| Driver::InvalidMetadataValue(no_header()), Invalid, Invalid, Invalid),
            (&|| Driver::EndpointError("full".to_owned()), Indeterminate, Unavailable, Unavailable),
            (&|| Driver::EndpointsNotManaged, Internal, Internal, Unavailable),
            (&|| Driver::Internal("full".to_owned()), Indeterminate, Unavailable, Unavailable),
        ];
        for (make, write, read, connecting) in variants {
            is_in_the_table(&make());
            let kind = |access| classify("acquire", access, make()).error.kind();
            assert_eq!((kind(Access::Write), kind(Access::Read)), (write, read), "{:?}", make());
            let error = classify_while_connecting("connect", make()).error;
            assert_eq!(error.kind(), connecting, "{:?}", make());
            assert!(!format!("{error} {error:?}").contains(&secret()), "{error:?}");
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
}
