//! What the queues of an operation share.

use std::sync::Arc;

use super::{Contact, Pacing};
use crate::{Clock, LeaseStore, runtime::Runtime};

/// What the queues of an operation share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Runtime,
    /// Shared by all operations of a client.
    pub(crate) contact: Arc<Contact>,
    /// [`Capabilities::calls_at_once`](crate::Capabilities::calls_at_once).
    pub(crate) calls_at_once: usize,
    /// [`Capabilities::largest_call`](crate::Capabilities::largest_call).
    pub(crate) largest_call: usize,
    /// Present where the store takes one call at a time. Shared with the other operation of the same callers.
    pub(crate) pacing: Option<Arc<Pacing>>,
}
