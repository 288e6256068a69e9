//! The lanes of one operation: requests for the same part of the store whose timeouts are alike share one.
//!
//! A call that hangs occupies a courier until its timeout. Where eight of them hang with long timeouts, a request with a
//! short one would give up before a courier is free. In a lane of its own kind it finds couriers that are free again within
//! twice its own timeout: within a third of a ttl, if attempts have a sixth of it (L7, S24). A part of the store that hangs has
//! couriers of its own, and leaves alone those of the other parts.

use std::{
    array,
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use super::{Answered, Errand, Lane, Operation, Route, unwinding};
use crate::LeaseStore;

/// Timeouts below this share a lane; each of the next ones is for timeouts up to twice as long, the last one for all longer
/// ones.
const SHORTEST: Duration = Duration::from_millis(128);
const LANES: usize = 11;

/// The way of one operation to the store.
pub(crate) struct Lanes<O: Operation> {
    route: Route,
    by_timeout: ByTimeout<O>,
    /// For the parts of a store that are not its first. There are few, and none is forgotten.
    of_parts: Mutex<HashMap<u16, ByTimeout<O>>>,
}

type ByTimeout<O> = [OnceLock<Arc<Lane<O>>>; LANES];

impl<O: Operation> Lanes<O> {
    pub(crate) fn new(route: Route) -> Self {
        Self { route, by_timeout: no_lanes(), of_parts: Mutex::default() }
    }

    /// Sends a request and waits for its answer; see [`Lane::submit`].
    pub(crate) async fn submit(
        &self,
        errand: Errand<O::Request>,
        outcome: impl FnOnce(&Answered<O::Answer>) + Send + 'static,
    ) -> Answered<O::Answer> {
        self.lane_of(&errand).submit(errand, outcome).await
    }

    /// Queues a request whose outcome goes to `done`; nobody waits for it.
    pub(crate) fn enqueue(&self, errand: Errand<O::Request>, done: impl FnOnce(Answered<O::Answer>) + Send + 'static) {
        self.lane_of(&errand).enqueue(errand, done);
    }

    fn lane_of(&self, errand: &Errand<O::Request>) -> Arc<Lane<O>> {
        let lane_in = |lanes: &ByTimeout<O>| {
            Arc::clone(lanes[kind(errand.timeout)].get_or_init(|| Arc::new(Lane::new(self.route.clone()))))
        };
        let store = &self.route.store;
        match unwinding(O::NAME, || store.part_of(O::lease(&errand.request))).unwrap_or(0) {
            0 => lane_in(&self.by_timeout),
            part => {
                let mut parts = self.of_parts.lock().unwrap_or_else(PoisonError::into_inner);
                lane_in(parts.entry(part).or_insert_with(no_lanes))
            }
        }
    }
}

fn no_lanes<O: Operation>() -> ByTimeout<O> {
    array::from_fn(|_| OnceLock::new())
}

/// Which of the lanes is for requests with this timeout.
fn kind(timeout: Duration) -> usize {
    let doublings = timeout.as_nanos().checked_div(SHORTEST.as_nanos()).and_then(u128::checked_ilog2);
    doublings.map_or(0, |doublings| LANES.min(doublings as usize + 2) - 1)
}

impl<O: Operation> fmt::Debug for Lanes<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_timeout.iter().filter_map(OnceLock::get)).finish()
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
            assert_eq!(kind(Duration::from_millis(millis)), expected, "{millis} ms");
        }
    }
}
