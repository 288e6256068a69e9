//! What can go wrong, and what to do next.

use std::{borrow::Cow, convert::Infallible, error::Error as StdError, fmt, sync::Arc};

use crate::value::{InvalidHolderId, InvalidMetadata, InvalidName, LeaseLost};

/// The result of an operation on leases.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation, or one whose outcome is unknown. That a lease is held by somebody else is no error.
///
/// [`Error::kind`] says what to do next; the message and the source say what happened. No error carries a secret.
/// Cloning is cheap.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    store: Option<&'static str>,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What an error asks its receiver to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not done; the store cannot be reached or cannot serve now. Try again.
    Unavailable,
    /// Perhaps done, perhaps not. Whoever repeats it must repeat it as the same attempt (S13).
    Indeterminate,
    /// Not done, and never will be as it was asked. Correct the call or the configuration.
    Invalid,
    /// Not done; credentials or rights are missing. Correct those.
    Denied,
    /// Not done; this store, or this version of it, cannot do it.
    Unsupported,
    /// A defect in this library, a provider or a driver. Report it.
    Internal,
    /// The lease was still held by somebody else when the limit of waiting passed.
    WaitLimit,
    /// The lease was lost while it was needed; see [`Error::lost`].
    Lost,
    /// The client has been closed.
    Closed,
}

impl Error {
    /// An error of this kind in this operation (`"acquire"`, `"migrate"`). The message says what is wrong and, where it
    /// can be helped, what to do; it never has a secret in it.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, operation, store: None, message: message.into(), source: None }))
    }

    /// The same error, naming the store in which it happened.
    #[must_use]
    pub fn in_store(self, store: &'static str) -> Self {
        self.with(|inner| inner.store = Some(store))
    }

    /// The same error with its cause. The cause must not print secrets.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    /// The client is closed.
    pub(crate) fn closed(operation: &'static str) -> Self {
        Self::new(ErrorKind::Closed, operation, "the client is closed: create a new one")
    }

    /// The runtime of the client has ended.
    pub(crate) fn runtime_ended(operation: &'static str) -> Self {
        let message = "the runtime of this client has ended: create the client on a runtime that lives longer";
        Self::new(ErrorKind::Closed, operation, message)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// What to do next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed: `"acquire"`, `"renew"`, `"release"`, …
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The store in which it failed, if it was there.
    #[must_use]
    pub fn store(&self) -> Option<&'static str> {
        self.0.store
    }

    /// Returns which lease was lost, and why, for the kind [`Lost`](ErrorKind::Lost).
    ///
    /// Work under [`LeaseClient::run`](crate::LeaseClient::run) has errors of its own; this one tells a loss from them.
    #[must_use]
    pub fn lost(&self) -> Option<&LeaseLost> {
        self.source()?.downcast_ref()
    }

    /// Whether the same call may succeed later: the kinds `Unavailable` and `Indeterminate`.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Indeterminate)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::Indeterminate => "outcome unknown",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal error",
            Self::WaitLimit => "wait limit passed",
            Self::Lost => "lease lost",
            Self::Closed => "client closed",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, store, message, .. } = &*self.0;
        match store {
            Some(store) => write!(f, "{operation} in {store}: {kind}: {message}"),
            None => write!(f, "{operation}: {kind}: {message}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("store", &self.0.store)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<InvalidName> for Error {
    fn from(error: InvalidName) -> Self {
        Self::new(ErrorKind::Invalid, "name", error.to_string()).with_source(error)
    }
}

impl From<InvalidHolderId> for Error {
    fn from(error: InvalidHolderId) -> Self {
        Self::new(ErrorKind::Invalid, "holder", error.to_string()).with_source(error)
    }
}

impl From<InvalidMetadata> for Error {
    fn from(error: InvalidMetadata) -> Self {
        Self::new(ErrorKind::Invalid, "metadata", error.to_string()).with_source(error)
    }
}

impl From<LeaseLost> for Error {
    fn from(lost: LeaseLost) -> Self {
        let LeaseLost { name, token, reason } = &lost;
        Self::new(ErrorKind::Lost, "hold", format!("{name} with token {token}: {reason}")).with_source(lost)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_operation_the_store_and_the_cause() {
        let error = Error::new(ErrorKind::Unavailable, "renew", "connection refused")
            .in_store("postgres")
            .with_source(std::io::Error::other("os error 111"));
        assert_eq!(error.to_string(), "renew in postgres: unavailable: connection refused");
        assert_eq!(error.source().unwrap().to_string(), "os error 111");
        assert!(error.is_transient() && error.clone().kind() == ErrorKind::Unavailable);
    }
}
