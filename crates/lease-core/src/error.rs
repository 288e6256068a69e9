//! The error of all operations.

use std::{borrow::Cow, convert::Infallible, error::Error as StdError, fmt, sync::Arc};

use crate::value::{InvalidCorrelation, InvalidHolderId, InvalidMetadata, InvalidName, LeaseLost, LeaseName};

/// The result of an operation on leases.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of an operation that failed, or whose outcome is unknown. A lease that is held by another holder is not an error.
///
/// [`Error::kind`] says what the caller can do. The message and the source say what happened. No error contains a secret. Cloning
/// is cheap.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    lease: Option<LeaseName>,
    store: Option<&'static str>,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Returns the text of an error with that of its sources, of which the last often has the reason. For providers: a message says what
/// the driver says.
#[must_use]
pub fn in_full(error: &dyn StdError) -> String {
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

/// The kind of an error, which says what the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operation had no effect. The store cannot be reached, or cannot serve it now. Try again.
    Unavailable,
    /// The outcome is unknown. A repetition must be the same attempt, with the same nonce (S13).
    Indeterminate,
    /// The operation had no effect, and its arguments or the configuration are invalid. Correct them.
    Invalid,
    /// The operation had no effect, because credentials or permissions are missing. Correct them.
    Denied,
    /// The operation had no effect, because this store, or this version of it, does not support it.
    Unsupported,
    /// A defect in this library, a provider or a driver. The outcome is unknown. Report it.
    Internal,
    /// The wait limit passed before the lease could be acquired.
    WaitLimit,
    /// The lease was lost; see [`Error::lost`].
    Lost,
    /// The client was closed, or its runtime has ended. Create a new client.
    Closed,
}

impl Error {
    /// Creates an error of this kind in this operation (`"acquire"`, `"migrate"`). The message says what is wrong and, where
    /// possible, what to do. It must not contain secrets.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner { kind, operation, lease: None, store: None, message: message.into(), source: None }))
    }

    /// Sets the name of the store in which the error happened.
    #[must_use]
    pub fn in_store(self, store: &'static str) -> Self {
        self.with(|inner| inner.store = Some(store))
    }

    /// Sets the lease of the call that failed. A provider need not: the client sets it for every call that is for one lease.
    #[must_use]
    pub fn with_lease(self, lease: &LeaseName) -> Self {
        // An error of a whole batch is shared by its requests: it is copied only to change it.
        if self.lease() == Some(lease) { self } else { self.with(|inner| inner.lease = Some(lease.clone())) }
    }

    /// Sets the cause, which must not print secrets.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.source = Some(Arc::new(source)))
    }

    /// Creates the error of a call on a closed client.
    pub(crate) fn closed(operation: &'static str) -> Self {
        Self::new(ErrorKind::Closed, operation, "the client is closed: create a new one")
    }

    /// Creates the error of a call on a client whose runtime has ended.
    pub(crate) fn runtime_ended(operation: &'static str) -> Self {
        let message = "the runtime of this client has ended: create the client on a runtime that lives longer";
        Self::new(ErrorKind::Closed, operation, message)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the kind, which says what the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the operation that failed: `"acquire"`, `"renew"`, `"release"`, …
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns the name of the lease that the call was for, or `None` if it was not for one lease.
    #[must_use]
    pub fn lease(&self) -> Option<&LeaseName> {
        self.0.lease.as_ref()
    }

    /// Returns the name of the store in which it failed, or `None` if the store was not involved.
    #[must_use]
    pub fn store(&self) -> Option<&'static str> {
        self.0.store
    }

    /// Returns which lease was lost, and why, if the kind is [`Lost`](ErrorKind::Lost). Otherwise returns `None`.
    #[must_use]
    pub fn lost(&self) -> Option<&LeaseLost> {
        self.source()?.downcast_ref()
    }

    /// Returns whether the same call may succeed later: true for the kinds `Unavailable` and `Indeterminate`.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Indeterminate)
    }
}

impl ErrorKind {
    /// Returns the kind as one word, for labels and attributes: `"unavailable"`, `"wait_limit"`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Indeterminate => "indeterminate",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
            Self::WaitLimit => "wait_limit",
            Self::Lost => "lost",
            Self::Closed => "closed",
        }
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
        let Inner { kind, operation, lease, store, message, .. } = &*self.0;
        f.write_str(operation)?;
        if let Some(lease) = lease {
            write!(f, " {lease}")?;
        }
        if let Some(store) = store {
            write!(f, " in {store}")?;
        }
        write!(f, ": {kind}: {message}")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("lease", &self.0.lease)
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

impl From<InvalidCorrelation> for Error {
    fn from(error: InvalidCorrelation) -> Self {
        Self::new(ErrorKind::Invalid, "correlation", error.to_string()).with_source(error)
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
        let error = Self::new(ErrorKind::Lost, "hold", format!("token {token}: {reason}")).with_lease(name);
        error.with_source(lost)
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
    fn an_error_in_full_names_each_cause_once() {
        let cause =
            Error::new(ErrorKind::Denied, "renew", "no right").with_source(std::io::Error::other("os error 13"));
        let error = Error::new(ErrorKind::Denied, "renew", "refused").with_source(cause);
        assert_eq!(in_full(&error), "renew: denied: refused: renew: denied: no right: os error 13");
        let repeated =
            Error::new(ErrorKind::Denied, "renew", "os error 13").with_source(std::io::Error::other("os error 13"));
        assert_eq!(in_full(&repeated), "renew: denied: os error 13");
    }

    #[test]
    fn names_the_operation_the_lease_the_store_and_the_cause() {
        let error = Error::new(ErrorKind::Unavailable, "renew", "connection refused")
            .in_store("postgres")
            .with_source(std::io::Error::other("os error 111"));
        assert_eq!(error.to_string(), "renew in postgres: unavailable: connection refused");
        let of_lease = error.clone().with_lease(&LeaseName::new("jobs/nightly").unwrap());
        assert_eq!(of_lease.to_string(), "renew jobs/nightly in postgres: unavailable: connection refused");
        assert!(error.lease().is_none(), "a clone is changed alone");
        assert_eq!(error.source().unwrap().to_string(), "os error 111");
        assert!(error.is_transient() && error.clone().kind() == ErrorKind::Unavailable);
    }
}
