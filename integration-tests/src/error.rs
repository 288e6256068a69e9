//! Why there is no server, or why a fault could not be done to it.

use std::fmt::Display;

/// Why there is no server, or why a fault could not be done to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// No server is to be had on this machine. The message says what to set or to install.
    #[error("{0}")]
    NoServer(String),
    /// This server cannot be harmed in this way.
    #[error("cannot {action} this {server}: {reason}")]
    Cannot {
        /// What was asked: `"freeze"`.
        action: &'static str,
        /// The kind of server: `"PostgreSQL"`.
        server: &'static str,
        /// Why not.
        reason: String,
    },
    /// It should have worked. The message says what happened instead.
    #[error("{0}")]
    Failed(String),
}

impl ServerError {
    pub(crate) fn failed(what: &str, error: impl Display) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }
}
