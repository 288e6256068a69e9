//! Sorts the requests of one operation into queues.

use std::{
    array,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use super::{Answered, Context, Request, catch_panic, operation::Operation, queue::Queue};
use crate::LeaseStore;

/// Timeouts below this share a queue. Each of the next queues is for timeouts up to twice as long, the last one for all longer
/// ones.
const SHORTEST: Duration = Duration::from_millis(128);
const QUEUES: usize = 11;

/// Sends the requests of one operation to the store, through one queue per part of the store and range of timeouts.
///
/// A call that hangs occupies a dispatcher until its timeout. If all dispatchers of a queue hang with long timeouts, a request
/// with a short one would be given up before a dispatcher is free. In a queue of similar timeouts it finds one within twice
/// its own timeout: within a third of the ttl, if attempts have a sixth of it (L7, S24). Likewise, a part of the store that
/// hangs occupies no dispatchers of the other parts.
pub(crate) struct Batcher<O: Operation> {
    context: Context,
    /// The queues of part 0, which most stores have alone.
    queues: ByTimeout<O>,
    /// The queues of the other parts. There are few parts, so none is removed.
    other_parts: Mutex<HashMap<u16, ByTimeout<O>>>,
}

type ByTimeout<O> = [OnceLock<Arc<Queue<O>>>; QUEUES];

impl<O: Operation> Batcher<O> {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, queues: empty(), other_parts: Mutex::default() }
    }

    /// Sends a request and waits for its answer; see [`Queue::submit`].
    pub(crate) async fn submit(
        &self,
        request: Request<O::Request>,
        on_answer: impl FnOnce(&Answered<O::Answer>) + Send + 'static,
    ) -> Answered<O::Answer> {
        self.queue_of(&request).submit(request, on_answer).await
    }

    /// Queues a request whose answer is passed to `on_answer`.
    pub(crate) fn enqueue(
        &self,
        request: Request<O::Request>,
        on_answer: impl FnOnce(Answered<O::Answer>) + Send + 'static,
    ) {
        self.queue_of(&request).enqueue(request, on_answer);
    }

    fn queue_of(&self, request: &Request<O::Request>) -> Arc<Queue<O>> {
        let queue_in = |queues: &ByTimeout<O>| {
            Arc::clone(queues[index(request.timeout)].get_or_init(|| Arc::new(Queue::new(self.context.clone()))))
        };
        let store = &self.context.store;
        match catch_panic(O::NAME, || store.part_of(O::lease(&request.body))).unwrap_or(0) {
            0 => queue_in(&self.queues),
            part => {
                let mut parts = self.other_parts.lock().unwrap_or_else(PoisonError::into_inner);
                queue_in(parts.entry(part).or_insert_with(empty))
            }
        }
    }
}

fn empty<O: Operation>() -> ByTimeout<O> {
    array::from_fn(|_| OnceLock::new())
}

/// Returns the index of the queue for requests with this timeout.
fn index(timeout: Duration) -> usize {
    let doublings = timeout.as_nanos().checked_div(SHORTEST.as_nanos()).and_then(u128::checked_ilog2);
    doublings.map_or(0, |doublings| QUEUES.min(doublings as usize + 2) - 1)
}

impl<O: Operation> fmt::Debug for Batcher<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.queues.iter().filter_map(OnceLock::get)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_that_differ_by_less_than_a_factor_of_two_are_neighbours_at_most() {
        for (millis, expected) in
            [(0, 0), (127, 0), (128, 1), (255, 1), (256, 2), (5_000, 6), (65_535, 9), (65_536, 10), (u64::MAX, 10)]
        {
            assert_eq!(index(Duration::from_millis(millis)), expected, "{millis} ms");
        }
    }
}
