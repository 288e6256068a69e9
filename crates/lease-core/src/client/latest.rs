//! The values of a watch channel as a stream: a slow reader misses intermediate values, never the last one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::watch;

/// The pending future of the next value; `None` after the last one.
pub(super) struct Latest<T>(Option<Pin<Box<Next<T>>>>);

type Next<T> = dyn Future<Output = (watch::Receiver<T>, bool)> + Send + Sync;

impl<T: Clone + Send + Sync + 'static> Latest<T> {
    /// Creates a stream of the value that the receiver has not seen yet, and of all later ones.
    pub(super) fn new(receiver: watch::Receiver<T>) -> Self {
        Self(Some(Box::pin(changed(receiver))))
    }

    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(next) = &mut self.0 else { return Poll::Ready(None) };
        let (mut receiver, has_changed) = ready!(next.as_mut().poll(context));
        if !has_changed {
            self.end();
            return Poll::Ready(None);
        }
        let value = receiver.borrow_and_update().clone();
        *self = Self::new(receiver);
        Poll::Ready(Some(value))
    }
}

/// Returns whether there is one more value. There is none after the sender was dropped.
async fn changed<T>(mut receiver: watch::Receiver<T>) -> (watch::Receiver<T>, bool) {
    let has_changed = receiver.changed().await.is_ok();
    (receiver, has_changed)
}

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").finish_non_exhaustive()
    }
}
