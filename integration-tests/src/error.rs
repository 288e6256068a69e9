//! The error of a server that cannot be started or faulted.

use std::fmt::Display;

/// A server cannot be started, or a fault cannot be injected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no server on this machine. The message says what to set or to install.
    #[error("{0}")]
    NoServer(String),
    /// The fault cannot be injected into this server.
    #[error("cannot {action} this {server}: {reason}")]
    Cannot {
        /// The fault: `"freeze"`.
        action: &'static str,
        /// The kind of server: `"PostgreSQL"`.
        server: &'static str,
        /// The reason.
        reason: String,
    },
    /// An operation failed. The message says what happened.
    #[error("{0}")]
    Failed(String),
}

impl ServerError {
    pub(crate) fn failed(what: &str, error: impl Display) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }
}
