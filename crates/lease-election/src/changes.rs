//! The stream of leadership changes, and its adapters.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use lease_core::{FencingToken, LeaseWatch, Result};
use tokio::sync::watch;
use tokio_stream::{StreamExt, wrappers::WatchStream};

use crate::{ChangeKind, Election, Leader, LeadershipChange, state::Standing};

/// A stream of the changes of leadership, from [`Election::changes`] or [`Candidate::changes`](crate::Candidate::changes).
///
/// The first item is the current state. Each further item is the latest state after a change. Terms never go down, unless
/// there was no leader in between (L5). An error of the store is an item, and does not end the stream. The stream ends when
/// the client closes.
#[derive(Debug)]
pub struct LeadershipChanges {
    watch: LeaseWatch,
    own: Option<WatchStream<Standing>>,
    returned: Returned,
}

/// The state that the reader has seen.
#[derive(Debug)]
struct Returned {
    standing: Standing,
    leader: Option<Leader>,
    highest: Option<FencingToken>,
    has_begun: bool,
}

impl Election {
    /// Returns the changes of leadership, for observers: the current state first, then the latest state after each change.
    ///
    /// # Errors
    ///
    /// When the client is closed, or when called outside a tokio runtime.
    pub fn changes(&self) -> Result<LeadershipChanges> {
        LeadershipChanges::new(self, None)
    }
}

impl LeadershipChanges {
    pub(crate) fn new(election: &Election, own: Option<watch::Receiver<Standing>>) -> Result<Self> {
        Ok(Self {
            watch: election.client().watch(election.leader_name())?,
            own: own.map(WatchStream::new),
            returned: Returned { standing: Standing::NeverLed, leader: None, highest: None, has_begun: false },
        })
    }

    /// Waits for the next change, and returns it. Returns `None` after the client was closed.
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
                Some(Poll::Ready(Some(standing))) => match self.returned.own_change(standing) {
                    Some(change) => return Poll::Ready(Some(Ok(change))),
                    None => continue,
                },
                Some(Poll::Ready(None)) => self.own = None,
                Some(Poll::Pending) | None => {}
            }
            match std::task::ready!(Pin::new(&mut self.watch).poll_next(context)) {
                // The candidate leads until its work has ended, and then its own loss is the last change.
                None if self.own.is_some() && matches!(self.returned.standing, Standing::Leads { .. }) => {
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(record)) => {
                    if let Some(change) = self.returned.change(record.and_then(Leader::of)) {
                        return Poll::Ready(Some(Ok(change)));
                    }
                }
            }
        }
    }
}

impl Returned {
    /// Returns the change of the candidate's own standing, if it differs from the last one.
    fn own_change(&mut self, standing: Standing) -> Option<LeadershipChange> {
        if standing == self.standing {
            return None;
        }
        self.standing = standing.clone();
        match standing {
            Standing::NeverLed => None,
            Standing::Leads { term } => {
                // An earlier leader that the store still returns is stale.
                self.highest = self.highest.max(Some(term));
                Some(LeadershipChange::Acquired { term })
            }
            Standing::Led { term, reason } => Some(LeadershipChange::Lost { term, reason }),
        }
    }

    /// Returns the change of the leader, if it differs from the last one and is not older (L5).
    fn change(&mut self, new: Option<Leader>) -> Option<LeadershipChange> {
        let stale = new.as_ref().is_some_and(|leader| self.highest.is_some_and(|highest| leader.term < highest));
        if stale || (self.has_begun && new == self.leader) {
            return None;
        }
        self.has_begun = true;
        // Without a leader, terms may start again: the store may have lost its data, or been restored to an older state.
        self.highest = new.as_ref().map(|leader| leader.term);
        let old = std::mem::replace(&mut self.leader, new.clone());
        Some(LeadershipChange::Changed { old, new })
    }
}

/// Adapters for streams of changes, in addition to those of `tokio-stream` and `futures`. Errors pass through all of them.
pub trait LeadershipStream: Stream<Item = Result<LeadershipChange>> + Sized {
    /// Returns a stream of the changes of this kind only.
    #[must_use = "streams do nothing unless polled"]
    fn only(self, kind: ChangeKind) -> impl Stream<Item = Result<LeadershipChange>> {
        StreamExt::filter(self, move |change| change.as_ref().map_or(true, |change| change.kind() == kind))
    }

    /// Returns a stream that ends when this candidate leads. The last item is [`LeadershipChange::Acquired`].
    #[must_use = "streams do nothing unless polled"]
    fn until_leader(self) -> impl Stream<Item = Result<LeadershipChange>> {
        Until { stream: Box::pin(self), last: ChangeKind::Acquired, ended: false }
    }

    /// Returns a stream of the changes from the moment this candidate leads until it no longer leads, both included. If a
    /// slow reader misses the end of the term, the stream ends where the next term begins.
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

    /// Returns a stream without repetitions of the last change, which may follow an error.
    #[must_use = "streams do nothing unless polled"]
    fn distinct(self) -> impl Stream<Item = Result<LeadershipChange>> {
        let mut last = None;
        StreamExt::filter(self, move |change| {
            let Ok(change) = change else { return true };
            last.replace(change.clone()).as_ref() != Some(change)
        })
    }

    /// Returns a stream of the transitions from one leader to the next, where either may be `None`. A change of the leader's
    /// own metadata is not a transition.
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
    fn l05_terms_never_go_down_while_there_is_a_leader() {
        let mut returned = Returned { standing: Standing::NeverLed, leader: None, highest: None, has_begun: false };
        let mut changed = |shown| match returned.change(shown) {
            Some(LeadershipChange::Changed { old, new }) => {
                Some((old.map(|it| it.term.get()), new.map(|it| it.term.get())))
            }
            _ => None,
        };
        assert_eq!(changed(None), Some((None, None)), "the current state comes first, even without a leader");
        assert_eq!(changed(Some(leader(7))), Some((None, Some(7))));
        assert_eq!(changed(Some(leader(7))), None);
        assert_eq!(changed(Some(leader(6))), None, "a stale read");
        assert_eq!(changed(Some(leader(8))), Some((Some(7), Some(8))));
        assert_eq!(changed(None), Some((Some(8), None)));
        assert_eq!(
            changed(Some(leader(2))),
            Some((None, Some(2))),
            "the store was restored to an older state: readers go on"
        );
    }
}
