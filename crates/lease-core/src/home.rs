//! The runtime on which a client works.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use tokio::runtime::Handle;

use crate::{Error, ErrorKind, Result};

/// The runtime on which all calls of a client's store and all its background work run, whoever asks for them: connections
/// and tasks of one runtime are of no use to another one, and end with theirs. All clones are the same home.
#[derive(Debug, Clone, Default)]
pub(crate) struct Home(Arc<OnceLock<Handle>>);

impl Home {
    /// This runtime; without one, that of this moment, or else that of the first call.
    pub(crate) fn new(runtime: Option<Handle>) -> Self {
        let home = Self::default();
        if let Some(runtime) = runtime.or_else(|| Handle::try_current().ok()) {
            home.0.get_or_init(|| runtime);
        }
        home
    }

    /// The runtime. The caller has to be in one as well, since it waits by timers of its own.
    pub(crate) fn enter(&self, operation: &'static str) -> Result<&Handle> {
        let here = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Invalid, operation, "called outside a tokio runtime: call it within one")
                .with_source(error)
        })?;
        Ok(self.0.get_or_init(|| here))
    }

    /// Whether the caller is on it, so that it may poll a call of the store itself.
    pub(crate) fn is_here(&self) -> bool {
        let home = self.0.get().map(Handle::id);
        home.is_some() && home == Handle::try_current().ok().map(|here| here.id())
    }

    /// Runs a task there. If the runtime has ended, the task is dropped at once.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(home) = self.0.get() {
            home.spawn(task);
        }
    }
}

/// What every call is answered when the runtime has ended.
pub(crate) fn ended(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::Closed,
        operation,
        "the runtime of this client has ended: make a client on one that lives longer",
    )
}
