//! Who brings what is queued to the store.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use super::{Answered, Called, Item, Lane, Operation, PATIENCE, Place};
use crate::{ErrorKind, Moment, Result, schedule::least_time};

/// How often one batch is halved at the most: enough to find two poisonous items. What still fails then fails for all.
const MOST_HALVINGS: usize = 16;
/// How often those who have just been answered have their turn before a call goes without them.
const MOST_TURNS: usize = 8;

/// A task that brings what is queued to the store until nothing is left.
pub(super) struct Courier<O: Operation> {
    lane: Arc<Lane<O>>,
    on_duty: bool,
}

impl<O: Operation> Courier<O> {
    pub(super) fn new(lane: &Arc<Lane<O>>) -> Self {
        Self { lane: Arc::clone(lane), on_duty: true }
    }

    pub(super) async fn run(mut self) {
        loop {
            // Those who have just been answered come back at once with what they want next: it goes along.
            tokio::task::yield_now().await;
            for _ in 1..MOST_TURNS {
                if !self.lane.is_returning() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let Some(batch) = self.next_batch() else { return };
            self.deliver(batch).await;
        }
    }

    /// What to bring next. With nothing left the courier is off duty, under the same lock: what arrives after that sends
    /// another one.
    fn next_batch(&mut self) -> Option<Vec<(Place, Item<O>)>> {
        loop {
            let mut batch = {
                let mut traffic = self.lane.lock();
                if traffic.queue.is_empty() {
                    traffic.couriers -= 1;
                    self.on_duty = false;
                    return None;
                }
                traffic.take_batch(self.lane.route.crowd.as_deref())
            };
            let now = self.lane.route.clock.now();
            let is_too_late = |(give_up_at, _): &Place, item: &Item<O>| {
                *give_up_at <= now || give_up_at.saturating_since(now) < least_time(item.errand.timeout)
            };
            for (_, item) in batch.extract_if(.., |(place, item)| is_too_late(place, item) || !(item.errand.wanted)()) {
                self.lane.finish(item, self.lane.never_sent());
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    async fn deliver(&self, batch: Vec<(Place, Item<O>)>) {
        let mut batches = vec![batch];
        let mut halvings = MOST_HALVINGS;
        while let Some(mut batch) = batches.pop() {
            let give_up_at = batch.iter().map(|((give_up_at, _), _)| *give_up_at).max();
            let requests: Vec<_> = batch.iter().map(|(_, item)| item.errand.request.clone()).collect();
            let call = self.lane.call(&requests, give_up_at.unwrap_or(Moment::from_origin(Duration::ZERO)));
            let Called { sent, results, hung } = self.relieved_after_patience(call).await;
            if batch.len() > 1 && halvings > 0 && results.iter().all(is_failure_of_a_request) {
                halvings -= 1;
                let second_half = batch.split_off(batch.len() / 2);
                batches.extend([second_half, batch]);
                continue;
            }
            for ((_, item), result) in batch.into_iter().zip(results) {
                self.lane.finish(item, Answered { sent, result, hung });
            }
        }
    }

    /// Waits for the call. If it takes long, another courier takes what is queued.
    async fn relieved_after_patience<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let clock = &self.lane.route.clock;
        tokio::select! {
            biased;
            called = &mut call => return called,
            () = clock.sleep_until(clock.now() + PATIENCE) => {}
        }
        // From now on nobody counts on this one: whatever comes while it is away finds somebody else.
        let _away = Away::begin(&self.lane);
        self.lane.send_courier_if_wanted(self.lane.lock());
        call.await
    }
}

/// While it lives, the call of a courier is taking long.
struct Away<'a, O: Operation>(&'a Lane<O>);

impl<'a, O: Operation> Away<'a, O> {
    fn begin(lane: &'a Lane<O>) -> Self {
        lane.lock().away += 1;
        Self(lane)
    }
}

impl<O: Operation> Drop for Away<'_, O> {
    fn drop(&mut self) {
        self.0.lock().away -= 1;
    }
}

impl<O: Operation> Drop for Courier<O> {
    fn drop(&mut self) {
        if !self.on_duty {
            return;
        }
        // Its runtime has ended. Nobody else would come for what is queued.
        let orphans = {
            let mut traffic = self.lane.lock();
            traffic.couriers -= 1;
            if traffic.couriers == 0 { std::mem::take(&mut traffic.queue) } else { Default::default() }
        };
        for item in orphans.into_values() {
            (item.done)(self.lane.ended());
        }
    }
}

/// Whether it failed for a reason that may lie in one request, not in the connection (L7).
fn is_failure_of_a_request<A>(result: &Result<A>) -> bool {
    use ErrorKind::{Internal, Invalid, Unsupported};
    matches!(result, Err(error) if matches!(error.kind(), Invalid | Unsupported | Internal))
}
