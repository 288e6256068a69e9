//! The offers of leadership to better candidates, and which of them were not taken.

use std::{collections::HashMap, time::Duration};

use lease_core::{HolderId, Moment};

/// The longest pause between two offers to one candidate, as a multiple of the first pause.
const LONGEST_PAUSE: u32 = 64;

/// The offers of one leader to better candidates. A candidate that does not take an offer gets the next one after a pause,
/// which doubles each time, because the group has no leader during an offer (L8).
#[derive(Debug, Clone, Default)]
pub(crate) struct Offers(HashMap<HolderId, Offer>);

#[derive(Debug, Clone, Copy)]
struct Offer {
    until: Moment,
    pause: Duration,
}

impl Offers {
    /// Returns whether this candidate had an offer a moment ago.
    pub(crate) fn is_declined(&self, id: &HolderId, now: Moment) -> bool {
        self.0.get(id).is_some_and(|offer| now < offer.until)
    }

    /// Records an offer. If the leader makes another one soon afterwards, it still leads, so the earlier offer was not taken.
    pub(crate) fn made(&mut self, id: &HolderId, now: Moment, first_pause: Duration) {
        self.0.retain(|_, offer| now < offer.until + offer.pause);
        let earlier = self.0.get(id).map(|offer| offer.pause * 2);
        let pause = earlier.unwrap_or(first_pause).min(first_pause.saturating_mul(LONGEST_PAUSE));
        self.0.insert(id.clone(), Offer { until: now + pause, pause });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l08_a_candidate_that_takes_no_offer_gets_fewer_of_them_and_each_has_its_own_pause() {
        let (first, second) = (HolderId::new("first").unwrap(), HolderId::new("second").unwrap());
        let at = |seconds| Moment::from_origin(Duration::from_secs(seconds));
        let pause = Duration::from_secs(15);
        let mut offers = Offers::default();
        assert!(!offers.is_declined(&first, at(0)));
        offers.made(&first, at(0), pause);
        offers.made(&second, at(1), pause);
        assert!(offers.is_declined(&first, at(14)) && !offers.is_declined(&first, at(15)));
        assert!(offers.is_declined(&second, at(15)) && !offers.is_declined(&second, at(16)));
        offers.made(&first, at(15), pause);
        assert!(offers.is_declined(&first, at(44)) && !offers.is_declined(&first, at(45)));
        let mut now = 45;
        for doublings in 2..10 {
            offers.made(&first, at(now), pause);
            now += 15 * (1 << doublings).min(64);
            assert!(offers.is_declined(&first, at(now - 1)) && !offers.is_declined(&first, at(now)), "{doublings}");
        }
        // Long after the last one, an offer counts as the first again.
        offers.made(&first, at(now * 10), pause);
        assert!(!offers.is_declined(&first, at(now * 10 + 15)));
    }
}
