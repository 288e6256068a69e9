//! The states of a lease as a stream, for its holder.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::sync::watch;

use super::latest::Latest;
use crate::LeaseState;

/// The states of a lease, from [`LeaseHandle::states`](crate::LeaseHandle::states): the current state first, then the latest one
/// after each change. A slow reader misses intermediate states, never [`LeaseState::Lost`], which is the last one.
#[derive(Debug)]
#[must_use = "streams do nothing unless they are polled"]
pub struct LeaseStates(Latest<LeaseState>);

impl LeaseStates {
    pub(super) fn new(mut states: watch::Receiver<LeaseState>) -> Self {
        states.mark_changed();
        Self(Latest::new(states))
    }

    /// Waits for the next state. Returns `None` after the last one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no state is lost.
    pub async fn next(&mut self) -> Option<LeaseState> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for LeaseStates {
    type Item = LeaseState;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LeaseState>> {
        let state = self.0.poll_next(context);
        if let Poll::Ready(Some(LeaseState::Lost(_))) = state {
            self.0.end();
        }
        state
    }
}
