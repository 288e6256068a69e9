//! Classifies failures of the driver and the servers.

use std::borrow::Cow;

use lease_core::{Error, ErrorKind};
use zookeeper_client as zk;

use crate::STORE;

/// Whether a request may change nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Returns an error of this store without a source.
pub(crate) fn store_error(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}

/// Returns the error of a request for this node that was sent to a server.
///
/// Where the driver says the same of a request that was refused and of one that lost its answer, a write counts as the latter.
pub(crate) fn failure(cause: zk::Error, operation: &'static str, access: Access, path: &str) -> Error {
    let (kind, message) = explain(&cause, access, path);
    store_error(kind, operation, message).with_source(cause)
}

fn explain(cause: &zk::Error, access: Access, path: &str) -> (ErrorKind, String) {
    let unanswered = match access {
        Access::Read => ErrorKind::Unavailable,
        Access::Write => ErrorKind::Indeterminate,
    };
    match cause {
        zk::Error::NoNode => {
            (ErrorKind::Invalid, format!("there is no node above {path}: create the chroot, or open the store again"))
        }
        zk::Error::NoAuth => {
            (ErrorKind::Denied, format!("the ACL of {path} or of the node above it {}", missing_right(access)))
        }
        zk::Error::AuthFailed if access == Access::Read => {
            (ErrorKind::Denied, "ZooKeeper does not accept the credentials: check the user and the password".to_owned())
        }
        zk::Error::InvalidAcl => {
            let message = format!(
                "ZooKeeper does not accept the ACL for {path}: an ACL for `auth` needs a session with credentials, and other \
                 schemes must be known to the servers"
            );
            (ErrorKind::Invalid, message)
        }
        zk::Error::NoChildrenForEphemerals => (
            ErrorKind::Invalid,
            format!("the node above {path} is ephemeral and can have none below it: choose another chroot"),
        ),
        zk::Error::NotEmpty => {
            (ErrorKind::Invalid, format!("{path} has nodes of another program: give the store a chroot of its own"))
        }
        zk::Error::BadArguments(reason) => (ErrorKind::Invalid, format!("{path} cannot be asked for: {reason}")),
        zk::Error::MarshallingError => {
            (ErrorKind::Invalid, format!("the value of {path} is too large for the servers: raise jute.maxbuffer"))
        }
        zk::Error::Unimplemented => (
            ErrorKind::Unsupported,
            "the servers do not know the request: this store needs ZooKeeper 3.5 or later".to_owned(),
        ),
        zk::Error::QuotaExceeded => {
            (ErrorKind::Unavailable, format!("the quota above {path} is used up: raise it, or purge old leases"))
        }
        zk::Error::Throttled => {
            (ErrorKind::Unavailable, "the server refused the request because of its load: use longer ttls".to_owned())
        }
        zk::Error::NotReadOnly => (
            ErrorKind::Unavailable,
            "the server has lost its quorum and can only read: wait until most servers are there".to_owned(),
        ),
        zk::Error::BadVersion | zk::Error::NodeExists => {
            (ErrorKind::Unavailable, format!("{path} was changed meanwhile: try again"))
        }
        zk::Error::NoHosts | zk::Error::Timeout => {
            (unanswered, "no server answered in time: check the addresses and the network".to_owned())
        }
        zk::Error::ConnectionLoss => {
            (unanswered, "the connection broke before the answer came: the driver connects again".to_owned())
        }
        zk::Error::SessionExpired | zk::Error::SessionMoved | zk::Error::ClientClosed => {
            (unanswered, format!("the session ended before the answer came ({cause}): the next call begins a new one"))
        }
        zk::Error::AuthFailed => {
            let message = "ZooKeeper ended the session, because it does not accept the credentials: check the user and the password";
            (unanswered, message.to_owned())
        }
        _ => (unanswered, format!("the request for {path} has failed: {cause}")),
    }
}

fn missing_right(access: Access) -> &'static str {
    match access {
        Access::Read => {
            "does not let this session read: it needs the permission r on the chroot and below, or other credentials"
        }
        Access::Write => {
            "does not let this session write: it needs the permissions cdrw on the chroot and on the nodes below, or other credentials"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every variant of the driver, as the failure of a read and of a write.
    #[test]
    fn each_failure_has_its_kind() {
        use ErrorKind::{Denied, Indeterminate, Invalid, Unavailable, Unsupported};
        let lost = (Unavailable, Indeterminate);
        let text = &"words";
        let expected = [
            (zk::Error::UnmarshalError { entity: "stat", reason: text }, lost),
            (zk::Error::NoHosts, lost),
            (zk::Error::Timeout, lost),
            (zk::Error::UnexpectedError("x".to_owned()), lost),
            (zk::Error::BadArguments(text), (Invalid, Invalid)),
            (zk::Error::NoNode, (Invalid, Invalid)),
            (zk::Error::NoAuth, (Denied, Denied)),
            (zk::Error::BadVersion, (Unavailable, Unavailable)),
            (zk::Error::NoChildrenForEphemerals, (Invalid, Invalid)),
            (zk::Error::NodeExists, (Unavailable, Unavailable)),
            (zk::Error::NotEmpty, (Invalid, Invalid)),
            (zk::Error::SessionExpired, lost),
            (zk::Error::InvalidAcl, (Invalid, Invalid)),
            (zk::Error::AuthFailed, (Denied, Indeterminate)),
            (zk::Error::SessionMoved, lost),
            (zk::Error::NotReadOnly, (Unavailable, Unavailable)),
            (zk::Error::NoWatcher, lost),
            (zk::Error::QuotaExceeded, (Unavailable, Unavailable)),
            (zk::Error::Throttled, (Unavailable, Unavailable)),
            (zk::Error::MarshallingError, (Invalid, Invalid)),
            (zk::Error::Unimplemented, (Unsupported, Unsupported)),
            (zk::Error::ConnectionLoss, lost),
            (zk::Error::ReconfigDisabled, lost),
            (zk::Error::UnexpectedErrorCode(-1), lost),
            (zk::Error::ClientClosed, lost),
            (zk::Error::RuntimeInconsistent, lost),
        ];
        for (cause, (read, write)) in expected {
            assert_eq!(failure(cause.clone(), "read", Access::Read, "/leases/job").kind(), read, "{cause}");
            assert_eq!(failure(cause.clone(), "write", Access::Write, "/leases/job").kind(), write, "{cause}");
        }
    }
}
