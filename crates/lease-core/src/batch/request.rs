//! A request on its way to the store, and its answer.

use std::time::Duration;

use crate::{LeaseName, Moment, Result};

/// The largest number of requests in one store call.
pub(crate) const LARGEST_BATCH: usize = 256;

/// An answer, and when the call that brought it began (S1).
#[derive(Debug)]
pub(crate) struct Answered<A> {
    pub(crate) sent: Moment,
    pub(crate) result: Result<A>,
    /// The call was cut off at its timeout. One of its requests may be the cause.
    pub(crate) hung: bool,
}

impl<A> Answered<A> {
    /// Names the lease in the error, if it is one.
    pub(super) fn of_lease(self, lease: &LeaseName) -> Self {
        Self { result: self.result.map_err(|error| error.with_lease(lease)), ..self }
    }
}

/// A request, and how it is to be sent.
pub(crate) struct Request<R> {
    pub(super) body: R,
    pub(super) timeout: Duration,
    pub(super) give_up_at: Moment,
    /// The largest batch in which it may be sent.
    pub(super) batch_limit: usize,
    pub(super) is_first: bool,
    pub(super) is_wanted: Box<dyn Fn() -> bool + Send>,
}

impl<R> Request<R> {
    /// Creates a request that is given up after `timeout`.
    pub(crate) fn new(body: R, now: Moment, timeout: Duration) -> Self {
        Self {
            body,
            timeout,
            give_up_at: now + timeout,
            batch_limit: LARGEST_BATCH,
            is_first: false,
            is_wanted: Box::new(|| true),
        }
    }

    /// Says in how many calls that hung it was, one after the other. It is then sent in smaller batches, and in the end alone,
    /// so that a request that makes calls hang harms no other one (L7).
    pub(crate) fn after_hanging(self, times: u32) -> Self {
        let batch_limit = match times {
            0 => LARGEST_BATCH,
            1 => 16,
            2 => 4,
            _ => 1,
        };
        Self { batch_limit, ..self }
    }

    /// Sets whether it was never sent before, so that its nonce cannot have reached the store.
    pub(crate) fn for_the_first_time(self, is_first: bool) -> Self {
        Self { is_first, ..self }
    }

    /// Sends it only if `is_wanted` still returns true when its turn comes.
    pub(crate) fn while_wanted(self, is_wanted: impl Fn() -> bool + Send + 'static) -> Self {
        Self { is_wanted: Box::new(is_wanted), ..self }
    }
}
