//! What the HTTP layer observes of one call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lease_document::Sample;
use object_store::{Extensions, client::HttpErrorKind};

/// One call of the driver. It travels with the request as an extension, so that what is observed belongs to this call: requests for
/// credentials, which go through the same connector, carry none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call(Arc<Mutex<Observed>>);

/// What was observed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// How often the request was handed to the HTTP client: more than once if the driver repeats it. The rest is about the last time.
    pub(crate) sent: u32,
    /// The status of the answer.
    pub(crate) status: Option<u16>,
    /// The service's word for an error: `NoSuchBucket`.
    pub(crate) code: Option<String>,
    /// What the answer says of the service's clock.
    pub(crate) clock: Option<Sample>,
    /// Why there was no answer.
    pub(crate) failure: Option<HttpErrorKind>,
}

impl Call {
    /// Returns the extensions with which the driver is called.
    pub(crate) fn extensions(&self) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(self.clone());
        extensions
    }

    /// Notes that the request is sent.
    pub(crate) fn begin(&self) {
        let mut observed = self.lock();
        *observed = Observed { sent: observed.sent.saturating_add(1), ..Observed::default() };
    }

    pub(crate) fn observed(&self) -> Observed {
        self.lock().clone()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Observed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
