//! A future that is finished even if its caller stops waiting.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::runtime::Runtime;

/// A store call that is polled by its caller. If the caller drops it, it is spawned on the client's runtime, which finishes it
/// (S15).
pub(crate) struct SpawnOnDrop<F: Future<Output: Send> + Send + 'static> {
    call: Option<Pin<Box<F>>>,
    runtime: Runtime,
}

impl<F: Future<Output: Send> + Send + 'static> SpawnOnDrop<F> {
    pub(crate) fn new(call: F, runtime: &Runtime) -> Self {
        Self { call: Some(Box::pin(call)), runtime: runtime.clone() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for SpawnOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled: a call that panics is not polled again.
        let Some(mut call) = self.call.take() else { return Poll::Pending };
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => {
                self.call = Some(call);
                Poll::Pending
            }
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for SpawnOnDrop<F> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.runtime.spawn(async move {
                call.await;
            });
        }
    }
}
