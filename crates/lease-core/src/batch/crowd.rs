//! What the lanes of a client know of each other where a store takes only one call of each at a time.
//!
//! Tasks that acquire and release in turns would drift into one group, which waits for the store, and the store for it; and
//! whoever is a little late would travel alone. So no call takes more than half of what is on its way: two groups form,
//! and while the store works for one of them, the other one works. And a call goes only when those who have just been
//! answered had their chance to come back with what they want next.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A call that takes fewer requests is not worth leaving others behind.
const SMALLEST_SHARE: usize = 16;

/// Where the requests are that come through these lanes. Hints: nothing but the sizes of calls depends on them.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    /// They have no answers yet.
    waiting: AtomicUsize,
    /// They have answers, which those who asked have not seen yet.
    returning: AtomicUsize,
}

impl Crowd {
    /// How many of those that are queued in a lane go with its next call: all of them, if there is nobody elsewhere.
    pub(super) fn share(&self, queued: usize) -> usize {
        let waiting = self.waiting.load(Ordering::Relaxed);
        if waiting > queued { (waiting / 2).max(SMALLEST_SHARE) } else { queued }
    }

    pub(super) fn is_returning(&self) -> bool {
        self.returning.load(Ordering::Relaxed) > 0
    }

    pub(super) fn waiting(self: &Arc<Self>) -> Counted {
        Counted::new(self, |crowd| &crowd.waiting)
    }
}

/// Counts for as long as it lives.
pub(super) struct Counted {
    crowd: Arc<Crowd>,
    among: fn(&Crowd) -> &AtomicUsize,
}

impl Counted {
    fn new(crowd: &Arc<Crowd>, among: fn(&Crowd) -> &AtomicUsize) -> Self {
        among(crowd).fetch_add(1, Ordering::Relaxed);
        Self { crowd: Arc::clone(crowd), among }
    }

    /// From now on it is returning.
    pub(super) fn answered(self) -> Self {
        Self::new(&self.crowd, |crowd| &crowd.returning)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.among)(&self.crowd).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(crowd: &Arc<Crowd>, count: usize) -> Vec<Counted> {
        (0..count).map(|_| crowd.waiting()).collect()
    }

    #[test]
    fn half_of_all_go_when_somebody_is_elsewhere() {
        let crowd = Arc::new(Crowd::default());
        let queued = many(&crowd, 100);
        assert_eq!(crowd.share(100), 100);
        let elsewhere = many(&crowd, 20);
        assert_eq!(crowd.share(100), 60);
        drop(elsewhere);
        assert_eq!(crowd.share(100), 100);
        drop(queued);
        let _few = many(&crowd, 20);
        assert_eq!(crowd.share(19), SMALLEST_SHARE);
    }

    #[test]
    fn who_is_answered_returns_until_it_is_gone() {
        let crowd = Arc::new(Crowd::default());
        let waiting = crowd.waiting();
        assert!(!crowd.is_returning());
        let returning = waiting.answered();
        assert!(crowd.is_returning());
        assert_eq!(crowd.share(0), 0);
        drop(returning);
        assert!(!crowd.is_returning());
    }
}
