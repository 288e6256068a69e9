//! The constructor for errors of this store.

use std::borrow::Cow;

use lease_core::{Error, ErrorKind};

use crate::STORE;

/// Returns an error of this store, without a source.
pub(crate) fn redis_error(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, operation, message).in_store(STORE)
}
