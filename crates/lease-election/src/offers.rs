//! To whom the leadership was offered, and who did not come.

use std::{collections::HashMap, time::Duration};

use lease_core::{HolderId, Moment};

/// How much longer than the first pause between two offers to one candidate the longest one is.
const LONGEST_PAUSE: u32 = 64;

/// The offers of one leader to better candidates. One that does not come is offered the leadership again only after a pause,
/// which doubles each time: the group is without a leader during each offer (L8).
#[derive(Debug, Clone, Default)]
pub(crate) struct Offers(HashMap<HolderId, Offer>);

#[derive(Debug, Clone, Copy)]
struct Offer {
    until: Moment,
    pause: Duration,
}

impl Offers {
    /// Whether this candidate was offered the leadership a moment ago.
    pub(crate) fn is_declined(&self, id: &HolderId, now: Moment) -> bool {
        self.0.get(id).is_some_and(|offer| now < offer.until)
    }

    /// Notes an offer. The leader that makes another one soon afterwards still leads, so the one before was in vain.
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
    fn l08_who_does_not_come_is_asked_more_and_more_rarely_and_everybody_by_itself() {
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
        // Long after the last one was in vain, it is the first again.
        offers.made(&first, at(now * 10), pause);
        assert!(!offers.is_declined(&first, at(now * 10 + 15)));
    }
}
