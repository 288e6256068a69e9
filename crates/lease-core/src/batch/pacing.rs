//! Pacing of concurrent callers where a store takes one call of each operation at a time.
//!
//! Tasks that acquire and release in turns would drift into one group: the group waits for the store, and then the store waits
//! for the group; a task that is a little late would be sent alone. So no call takes more than half of the requests that are
//! in flight: two groups form, and the store works for one of them while the other one works. And a call goes out only after
//! the callers that have just been answered had a chance to make their next request.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The smallest batch that is worth leaving other requests behind.
const SMALLEST_SHARE: usize = 16;

/// Counts the requests that pass through these queues. Only the size of batches depends on the counts.
#[derive(Debug, Default)]
pub(crate) struct Pacing {
    /// Requests without an answer.
    waiting: AtomicUsize,
    /// Answers that their callers have not seen yet.
    returning: AtomicUsize,
}

impl Pacing {
    /// Returns how many of the `queued` requests of a queue go out with its next call: all of them, if no other request is in
    /// flight.
    pub(super) fn share(&self, queued: usize) -> usize {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting > queued { (waiting / 2).max(SMALLEST_SHARE) } else { queued }
    }

    /// Returns whether a caller has been answered and has not run since.
    pub(super) fn is_returning(&self) -> bool {
        self.returning.load(Ordering::Relaxed) > 0
    }

    /// Counts a request without an answer.
    pub(super) fn waiting(self: &Arc<Self>) -> Counted {
        Counted::new(self, |pacing| &pacing.waiting)
    }
}

/// A request that is counted for as long as this value lives.
pub(super) struct Counted {
    pacing: Arc<Pacing>,
    among: fn(&Pacing) -> &AtomicUsize,
}

impl Counted {
    fn new(pacing: &Arc<Pacing>, among: fn(&Pacing) -> &AtomicUsize) -> Self {
        among(pacing).fetch_add(1, Ordering::Relaxed);
        Self { pacing: Arc::clone(pacing), among }
    }

    /// Counts it among the answers that their callers have not seen yet.
    pub(super) fn answered(self) -> Self {
        Self::new(&self.pacing, |pacing| &pacing.returning)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.among)(&self.pacing).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(pacing: &Arc<Pacing>, count: usize) -> Vec<Counted> {
        (0..count).map(|_| pacing.waiting()).collect()
    }

    #[test]
    fn half_of_all_go_when_others_are_in_flight() {
        let pacing = Arc::new(Pacing::default());
        let queued = many(&pacing, 100);
        assert_eq!(pacing.share(100), 100);
        let elsewhere = many(&pacing, 20);
        assert_eq!(pacing.share(100), 60);
        drop(elsewhere);
        assert_eq!(pacing.share(100), 100);
        drop(queued);
        let _few = many(&pacing, 20);
        assert_eq!(pacing.share(19), SMALLEST_SHARE);
    }

    #[test]
    fn an_answer_is_returning_until_it_is_dropped() {
        let pacing = Arc::new(Pacing::default());
        let waiting = pacing.waiting();
        assert!(!pacing.is_returning());
        let returning = waiting.answered();
        assert!(pacing.is_returning());
        assert_eq!(pacing.share(0), 0);
        drop(returning);
        assert!(!pacing.is_returning());
    }
}
