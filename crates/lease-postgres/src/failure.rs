//! A failed call: the error of the driver, and how far the call had come.

use lease_core::ErrorKind;

/// How far a failed call had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There was no connection.
    No,
    /// The statement may have reached the server.
    Perhaps,
}

/// Whether a call may change the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A failed call.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) source: sqlx::Error,
    pub(crate) sent: Sent,
    pub(crate) access: Access,
}

impl Failure {
    /// Creates the failure of a call whose answer arrived but cannot be read: a defect.
    pub(crate) fn unreadable(source: sqlx::Error) -> Self {
        Self { source, sent: Sent::Perhaps, access: Access::Write }
    }

    /// Returns what a broken connection means for the call: not done, unless a change may have reached the server.
    pub(crate) fn kind_if_broken(&self) -> ErrorKind {
        match (self.sent, self.access) {
            (Sent::Perhaps, Access::Write) => ErrorKind::Indeterminate,
            _ => ErrorKind::Unavailable,
        }
    }
}

/// Creates the error of a call that received the answer to another call.
pub(crate) fn answer_to_another_call() -> sqlx::Error {
    sqlx::Error::Protocol("the answer belonged to another call".to_owned())
}
