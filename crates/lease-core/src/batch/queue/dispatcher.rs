//! The task that makes the calls of a queue.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use super::{Answered, Called, Item, Operation, Place, Queue, STALL_THRESHOLD};
use crate::{ErrorKind, Moment, Result, grant::least_time};

/// How often one batch is halved at most: enough to find two requests that fail. What still fails then, fails for all.
const MAX_HALVINGS: usize = 16;
/// How often the dispatcher yields to callers that have just been answered before it makes a call without them.
const MAX_YIELDS: usize = 8;

/// A short-lived task that sends what is queued, batch by batch, until the queue is empty.
pub(super) struct Dispatcher<O: Operation> {
    queue: Arc<Queue<O>>,
    /// Whether the queue counts it.
    is_counted: bool,
}

impl<O: Operation> Dispatcher<O> {
    /// Creates a dispatcher that the queue has counted.
    pub(super) fn new(queue: &Arc<Queue<O>>) -> Self {
        Self { queue: Arc::clone(queue), is_counted: true }
    }

    pub(super) async fn run(mut self) {
        loop {
            // Callers that have just been answered often make their next request at once: it goes along.
            tokio::task::yield_now().await;
            for _ in 1..MAX_YIELDS {
                if !self.queue.is_returning() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let Some(batch) = self.next_batch() else { return };
            self.send(batch).await;
        }
    }

    /// Takes the next batch. If the queue is empty, it stops counting this dispatcher under the same lock: a request that arrives
    /// later starts another one.
    fn next_batch(&mut self) -> Option<Vec<(Place, Item<O>)>> {
        loop {
            let mut batch = {
                let mut state = self.queue.lock();
                if state.items.is_empty() {
                    state.dispatchers -= 1;
                    self.is_counted = false;
                    return None;
                }
                state.take_batch(&self.queue.context)
            };
            let now = self.queue.context.clock.now();
            let is_too_late = |(give_up_at, _): &Place, item: &Item<O>| {
                *give_up_at <= now || give_up_at.saturating_since(now) < least_time(item.request.timeout)
            };
            let is_dropped =
                |(place, item): &mut (Place, Item<O>)| is_too_late(place, item) || !(item.request.is_wanted)();
            for (_, item) in batch.extract_if(.., is_dropped) {
                self.queue.finish(item, self.queue.never_sent());
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// Calls the store. A batch that fails as a whole, for a reason that may lie in one request, is halved and sent again (L7).
    async fn send(&self, batch: Vec<(Place, Item<O>)>) {
        let mut batches = vec![batch];
        let mut halvings = MAX_HALVINGS;
        while let Some(mut batch) = batches.pop() {
            let give_up_at = batch.iter().map(|((give_up_at, _), _)| *give_up_at).max();
            let requests: Vec<_> = batch.iter().map(|(_, item)| item.request.body.clone()).collect();
            let call = self.queue.call(&requests, give_up_at.unwrap_or(Moment::from_origin(Duration::ZERO)));
            let Called { sent, results, hung } = self.watch_for_stall(call).await;
            if batch.len() > 1 && halvings > 0 && results.iter().all(is_failure_of_a_request) {
                halvings -= 1;
                let second_half = batch.split_off(batch.len() / 2);
                batches.extend([second_half, batch]);
                continue;
            }
            for ((_, item), result) in batch.into_iter().zip(results) {
                self.queue.finish(item, Answered { sent, result, hung });
            }
        }
    }

    /// Awaits a call. If it stalls, another dispatcher takes what is queued.
    async fn watch_for_stall<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let clock = &self.queue.context.clock;
        tokio::select! {
            biased;
            called = &mut call => return called,
            () = clock.sleep_until(clock.now() + STALL_THRESHOLD) => {}
        }
        let _stalled = Stalled::begin(&self.queue);
        self.queue.start_dispatcher_if_needed(self.queue.lock());
        call.await
    }
}

/// A stalled call: the queue does not count on its dispatcher for as long as this value lives.
struct Stalled<'a, O: Operation>(&'a Queue<O>);

impl<'a, O: Operation> Stalled<'a, O> {
    fn begin(queue: &'a Queue<O>) -> Self {
        queue.lock().stalled += 1;
        Self(queue)
    }
}

impl<O: Operation> Drop for Stalled<'_, O> {
    fn drop(&mut self) {
        self.0.lock().stalled -= 1;
    }
}

impl<O: Operation> Drop for Dispatcher<O> {
    fn drop(&mut self) {
        if !self.is_counted {
            return;
        }
        // The runtime has ended. Without another dispatcher, nothing would send what is queued.
        let orphans = {
            let mut state = self.queue.lock();
            state.dispatchers -= 1;
            if state.dispatchers == 0 { std::mem::take(&mut state.items) } else { Default::default() }
        };
        for item in orphans.into_values() {
            (item.on_answer)(self.queue.runtime_ended());
        }
    }
}

/// Returns whether a call failed for a reason that may lie in one request rather than in the connection (L7).
fn is_failure_of_a_request<A>(result: &Result<A>) -> bool {
    use ErrorKind::{Internal, Invalid, Unsupported};
    matches!(result, Err(error) if matches!(error.kind(), Invalid | Unsupported | Internal))
}
