//! A caller that waits for an answer: by polling its own call, or behind others in the queue.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Answered, Operation, Place, Queue};
use crate::batch::pacing::Counted;

/// A direct call: its caller polls it. Others are queued for as long as this value lives.
pub(super) struct DirectCall<O: Operation> {
    queue: Arc<Queue<O>>,
}

impl<O: Operation> DirectCall<O> {
    pub(super) fn new(queue: &Arc<Queue<O>>) -> Self {
        Self { queue: Arc::clone(queue) }
    }

    pub(super) fn queue(&self) -> &Queue<O> {
        &self.queue
    }
}

impl<O: Operation> Drop for DirectCall<O> {
    fn drop(&mut self) {
        self.queue.lock().has_direct_call = false;
    }
}

/// A caller whose request is in the queue. If it is dropped, the request need not be sent any more.
pub(super) struct QueuedCaller<'a, O: Operation> {
    queue: &'a Queue<O>,
    place: Place,
}

impl<'a, O: Operation> QueuedCaller<'a, O> {
    pub(super) fn new(queue: &'a Queue<O>, place: Place) -> Self {
        Self { queue, place }
    }

    /// Waits for the answer, until the request is given up.
    pub(super) async fn wait(
        self,
        answer: oneshot::Receiver<(Answered<O::Answer>, Option<Counted>)>,
    ) -> Answered<O::Answer> {
        let (give_up_at, _) = self.place;
        let clock = &self.queue.context.clock;
        let began = clock.now();
        tokio::select! {
            biased;
            answered = answer => answered.map_or_else(|_| self.queue.runtime_ended(), |(answered, _)| answered),
            () = clock.sleep_until(give_up_at) => {
                // Observers are called below: the lock is not held.
                let item = self.queue.lock().items.remove(&self.place);
                match item {
                    Some(item) => {
                        (item.on_answer)(self.queue.never_sent());
                        self.queue.never_sent()
                    }
                    None => Answered { sent: began, result: Err(self.queue.no_answer(began)), hung: true },
                }
            }
        }
    }
}

impl<O: Operation> Drop for QueuedCaller<'_, O> {
    fn drop(&mut self) {
        let item = if O::DISPENSABLE { self.queue.lock().items.remove(&self.place) } else { None };
        if let Some(item) = item {
            (item.on_answer)(self.queue.never_sent());
        }
    }
}
