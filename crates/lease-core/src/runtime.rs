//! The runtime on which a client works.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use tokio::runtime::Handle;

use crate::{Error, ErrorKind, Result};

/// The tokio runtime of a client (L10). All of its store calls and background tasks run there, because the connections and
/// tasks of one runtime are of no use on another one, and end with it. Clones are the same runtime.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runtime(Arc<OnceLock<Handle>>);

impl Runtime {
    /// Uses `handle`; without one the current runtime, or else that of the first call.
    pub(crate) fn new(handle: Option<Handle>) -> Self {
        let runtime = Self::default();
        if let Some(handle) = handle.or_else(|| Handle::try_current().ok()) {
            runtime.0.get_or_init(|| handle);
        }
        runtime
    }

    /// Returns the handle. The caller must be on a runtime itself, because it waits by its own timers.
    pub(crate) fn enter(&self, operation: &'static str) -> Result<&Handle> {
        let current = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Invalid, operation, "called outside a tokio runtime: call it within one")
                .with_source(error)
        })?;
        Ok(self.0.get_or_init(|| current))
    }

    /// Returns whether the caller is on this runtime, and so may poll a store call itself.
    pub(crate) fn is_current(&self) -> bool {
        let own = self.0.get().map(Handle::id);
        own.is_some() && own == Handle::try_current().ok().map(|current| current.id())
    }

    /// Spawns a task. If the runtime has ended, the task is dropped at once.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(handle) = self.0.get() {
            handle.spawn(task);
        }
    }
}
