//! Who waits for an answer: alone, polling its own call, or behind others in the queue.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use super::{Answered, Lane, Operation, Place, crowd::Counted};
use crate::home::Home;

/// While it lives, a caller is polling a call of its own.
pub(super) struct Alone<O: Operation> {
    lane: Arc<Lane<O>>,
}

impl<O: Operation> Alone<O> {
    pub(super) fn new(lane: &Arc<Lane<O>>) -> Self {
        Self { lane: Arc::clone(lane) }
    }

    pub(super) fn lane(&self) -> &Lane<O> {
        &self.lane
    }
}

impl<O: Operation> Drop for Alone<O> {
    fn drop(&mut self) {
        self.lane.lock().alone = false;
    }
}

/// A call that its caller polls, and that the client's runtime finishes if the caller is dropped (S15).
pub(crate) struct Owned<F: Future<Output: Send> + Send + 'static> {
    call: Option<Pin<Box<F>>>,
    home: Home,
}

impl<F: Future<Output: Send> + Send + 'static> Owned<F> {
    pub(crate) fn new(call: F, home: &Home) -> Self {
        Self { call: Some(Box::pin(call)), home: home.clone() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Owned<F> {
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

impl<F: Future<Output: Send> + Send + 'static> Drop for Owned<F> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.home.spawn(async move {
                call.await;
            });
        }
    }
}

/// Waits for the answer to an item in the queue; when it is dropped, the item need not be sent any more.
pub(super) struct Queued<'a, O: Operation> {
    lane: &'a Lane<O>,
    place: Place,
}

impl<'a, O: Operation> Queued<'a, O> {
    pub(super) fn new(lane: &'a Lane<O>, place: Place) -> Self {
        Self { lane, place }
    }

    pub(super) async fn wait(
        self,
        answer: oneshot::Receiver<(Answered<O::Answer>, Option<Counted>)>,
    ) -> Answered<O::Answer> {
        let (give_up_at, _) = self.place;
        let began = self.lane.route.clock.now();
        tokio::select! {
            biased;
            answered = answer => answered.map_or_else(|_| self.lane.ended(), |(answered, _)| answered),
            () = self.lane.route.clock.sleep_until(give_up_at) => {
                // Without the lock: observers are called.
                let item = self.lane.lock().queue.remove(&self.place);
                match item {
                    Some(item) => {
                        (item.done)(self.lane.never_sent());
                        self.lane.never_sent()
                    }
                    None => Answered { sent: began, result: Err(self.lane.no_answer(began)), hung: true },
                }
            }
        }
    }
}

impl<O: Operation> Drop for Queued<'_, O> {
    fn drop(&mut self) {
        let item = if O::DISPENSABLE { self.lane.lock().queue.remove(&self.place) } else { None };
        if let Some(item) = item {
            (item.done)(self.lane.never_sent());
        }
    }
}
