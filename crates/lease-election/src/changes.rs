//! The stream of leadership changes, and what can be made of it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use lease_core::{FencingToken, LeaseWatch, Result};
use tokio::sync::watch;
use tokio_stream::{StreamExt, wrappers::WatchStream};

use crate::{ChangeKind, Election, Leader, LeadershipChange, campaign::Standing};

/// The changes of leadership, from [`Election::changes`](crate::Election::changes) or
/// [`Candidate::changes`](crate::Candidate::changes).
///
/// The current state first, then the latest one after each change; terms never go down, unless nobody led in between (L5).
/// Trouble with the store is an item, not an end. The stream ends when the client closes.
#[derive(Debug)]
pub struct LeadershipChanges {
    watch: LeaseWatch,
    own: Option<WatchStream<Standing>>,
    told: Told,
}

/// What the reader has been told.
#[derive(Debug)]
struct Told {
    standing: Standing,
    leader: Option<Leader>,
    highest: Option<FencingToken>,
    begun: bool,
}

impl LeadershipChanges {
    pub(crate) fn new(election: &Election, own: Option<watch::Receiver<Standing>>) -> Result<Self> {
        Ok(Self {
            watch: election.client().watch(election.leader_name())?,
            own: own.map(WatchStream::new),
            told: Told { standing: Standing::NeverLed, leader: None, highest: None, begun: false },
        })
    }

    /// The next change; nothing after the client was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Result<LeadershipChange>> {
        StreamExt::next(self).await
    }
}

impl Stream for LeadershipChanges {
    type Item = Result<LeadershipChange>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.own.as_mut().map(|own| Pin::new(own).poll_next(context)) {
                Some(Poll::Ready(Some(standing))) => match self.told.own_change(standing) {
                    Some(change) => return Poll::Ready(Some(Ok(change))),
                    None => continue,
                },
                Some(Poll::Ready(None)) => self.own = None,
                Some(Poll::Pending) | None => {}
            }
            match std::task::ready!(Pin::new(&mut self.watch).poll_next(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(record)) => {
                    if let Some(change) = self.told.change(record.and_then(Leader::of)) {
                        return Poll::Ready(Some(Ok(change)));
                    }
                }
            }
        }
    }
}

impl Told {
    /// The news in how the candidate stands itself.
    fn own_change(&mut self, standing: Standing) -> Option<LeadershipChange> {
        if standing == self.standing {
            return None;
        }
        self.standing = standing.clone();
        match standing {
            Standing::NeverLed => None,
            Standing::Leads { term } => {
                // What the store still shows of those before is old.
                self.highest = self.highest.max(Some(term));
                Some(LeadershipChange::Acquired { term })
            }
            Standing::Led { term, reason } => Some(LeadershipChange::Lost { term, reason }),
        }
    }

    /// The news in who leads, if it is not older than what was told before (L5).
    fn change(&mut self, new: Option<Leader>) -> Option<LeadershipChange> {
        let stale = new.as_ref().is_some_and(|leader| self.highest.is_some_and(|highest| leader.term < highest));
        if stale || (self.begun && new == self.leader) {
            return None;
        }
        self.begun = true;
        // Once nobody leads, terms may begin anew: the store may have lost its data, or been set back.
        self.highest = new.as_ref().map(|leader| leader.term);
        let old = std::mem::replace(&mut self.leader, new.clone());
        Some(LeadershipChange::Changed { old, new })
    }
}

/// What can be made of a stream of changes, beside all that `tokio-stream` and `futures` offer. Trouble passes through.
pub trait LeadershipStream: Stream<Item = Result<LeadershipChange>> + Sized {
    /// Only changes of this kind.
    #[must_use = "streams do nothing unless polled"]
    fn only(self, kind: ChangeKind) -> impl Stream<Item = Result<LeadershipChange>> {
        StreamExt::filter(self, move |change| change.as_ref().map_or(true, |change| change.kind() == kind))
    }

    /// Until this candidate leads; that is the last item.
    #[must_use = "streams do nothing unless polled"]
    fn until_leader(self) -> impl Stream<Item = Result<LeadershipChange>> {
        Until { stream: Box::pin(self), last: ChangeKind::Acquired, ended: false }
    }

    /// From when this candidate leads until it leads no more, both included. For a reader so slow that it missed the end of the
    /// term, the stream ends where the next one begins.
    #[must_use = "streams do nothing unless polled"]
    fn while_leader(self) -> impl Stream<Item = Result<LeadershipChange>> {
        let mut leads = false;
        let since = StreamExt::filter(self, move |change| {
            leads |= change.as_ref().is_ok_and(|change| change.kind() == ChangeKind::Acquired);
            leads || change.is_err()
        });
        let mut own = None;
        let of_one_term = StreamExt::take_while(since, move |change| match change {
            Ok(LeadershipChange::Acquired { term }) => *own.get_or_insert(*term) == *term,
            _ => true,
        });
        Until { stream: Box::pin(of_one_term), last: ChangeKind::Lost, ended: false }
    }

    /// Without repetitions of the last change, as they follow trouble.
    #[must_use = "streams do nothing unless polled"]
    fn distinct(self) -> impl Stream<Item = Result<LeadershipChange>> {
        let mut last = None;
        StreamExt::filter(self, move |change| {
            let Ok(change) = change else { return true };
            last.replace(change.clone()).as_ref() != Some(change)
        })
    }

    /// Only the transitions from one leader to another, or to or from none: from whom, to whom. What a leader changes of
    /// itself is none.
    #[must_use = "streams do nothing unless polled"]
    fn on_transition(self) -> impl Stream<Item = Result<(Option<Leader>, Option<Leader>)>> {
        StreamExt::filter_map(self, |change| match change {
            Err(error) => Some(Err(error)),
            Ok(LeadershipChange::Changed { old, new }) => {
                let term = |leader: &Option<Leader>| leader.as_ref().map(|leader| leader.term);
                (term(&old) != term(&new)).then_some(Ok((old, new)))
            }
            Ok(_) => None,
        })
    }
}

impl<S: Stream<Item = Result<LeadershipChange>>> LeadershipStream for S {}

/// Ends after the first change of a kind.
struct Until<S> {
    stream: Pin<Box<S>>,
    last: ChangeKind,
    ended: bool,
}

impl<S: Stream<Item = Result<LeadershipChange>>> Stream for Until<S> {
    type Item = Result<LeadershipChange>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = std::task::ready!(self.stream.as_mut().poll_next(context));
        self.ended = matches!(&item, Some(Ok(change)) if change.kind() == self.last);
        Poll::Ready(item)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use lease_core::{HolderId, Metadata};

    use super::*;

    fn leader(term: u64) -> Leader {
        let (id, term) = (HolderId::new("a").unwrap(), FencingToken::new(term).unwrap());
        Leader { id, term, metadata: Metadata::empty(), since: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn l05_terms_never_go_down_while_somebody_leads() {
        let mut told = Told { standing: Standing::NeverLed, leader: None, highest: None, begun: false };
        let mut changed = |shown| match told.change(shown) {
            Some(LeadershipChange::Changed { old, new }) => {
                Some((old.map(|it| it.term.get()), new.map(|it| it.term.get())))
            }
            _ => None,
        };
        assert_eq!(changed(None), Some((None, None)), "the current state comes first, also if nobody leads");
        assert_eq!(changed(Some(leader(7))), Some((None, Some(7))));
        assert_eq!(changed(Some(leader(7))), None);
        assert_eq!(changed(Some(leader(6))), None, "a stale read");
        assert_eq!(changed(Some(leader(8))), Some((Some(7), Some(8))));
        assert_eq!(changed(None), Some((Some(8), None)));
        assert_eq!(changed(Some(leader(2))), Some((None, Some(2))), "the store was set back: readers go on");
    }
}
