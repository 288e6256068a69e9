//! Watching who holds a lease.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::sync::watch;

use super::{
    latest::Latest,
    shared::{Phase, Shared},
};
use crate::{Error, ErrorKind, LeaseName, LeaseRecord, Result};

/// A look at least this often, behind the hints.
const POLL: Duration = Duration::from_secs(2);

/// But no more often, whatever the store says is left.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Who holds a lease, from [`LeaseClient::watch`](crate::LeaseClient::watch): the current state first, then the latest one
/// after each change of holder, token or metadata. Whoever is slow misses what lies in between, never the last state.
/// Trouble with the store is an item, not an end (S19).
///
/// Releases are told by push where the store has it; grants only if they were made with
/// [`announce`](crate::LeaseOptions::announce). Everything else is noticed within 2 seconds, or when the holder's time is
/// over.
pub struct LeaseWatch {
    states: Latest<State>,
    /// Whether the end was told.
    has_ended: bool,
}

type State = Result<Option<LeaseRecord>>;

impl LeaseWatch {
    pub(super) fn new(shared: &Arc<Shared>, name: LeaseName) -> Self {
        let (sender, receiver) = watch::channel(Ok(None));
        shared.runtime.spawn(look(Arc::clone(shared), name, sender));
        Self { states: Latest::new(receiver), has_ended: false }
    }

    /// The next state; nothing after the client was closed, or its runtime has ended, which is told by an error before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no state is lost.
    pub async fn next(&mut self) -> Option<Result<Option<LeaseRecord>>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

async fn look(shared: Arc<Shared>, name: LeaseName, states: watch::Sender<State>) {
    let mut wakeups = shared.subscribe(&name);
    let mut last = None;
    loop {
        let state = tokio::select! {
            biased;
            () = states.closed() => return,
            () = shared.reached(Phase::Closing) => {
                let _ = states.send(Err(Error::closed("watch")));
                return;
            }
            state = shared.inspect(name.clone()) => state,
        };
        let remaining = state.as_ref().ok().and_then(Option::as_ref).map(|record| record.remaining);
        let wake_at = shared.clock.now() + remaining.map_or(POLL, |remaining| remaining.clamp(SHORTEST_PAUSE, POLL));
        // What is left changes all the time; that is no news.
        let news = state
            .as_ref()
            .map_err(|error| error.kind())
            .map(|record| record.as_ref().map(|record| (record.holder.clone(), record.token, record.metadata.clone())));
        if last.as_ref() != Some(&news) {
            last = Some(news);
            let _ = states.send(state);
        }
        tokio::select! {
            biased;
            () = states.closed() => return,
            () = shared.reached(Phase::Closing) => {}
            () = wakeups.next() => {}
            () = shared.clock.sleep_until(wake_at) => {}
        }
    }
}

impl Stream for LeaseWatch {
    type Item = Result<Option<LeaseRecord>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.states.poll_next(context);
        if let Poll::Ready(None) = state
            && !self.has_ended
        {
            state = Poll::Ready(Some(Err(Error::runtime_ended("watch"))));
        }
        self.has_ended |= matches!(&state, Poll::Ready(Some(Err(error))) if error.kind() == ErrorKind::Closed);
        state
    }
}

impl fmt::Debug for LeaseWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseWatch").finish_non_exhaustive()
    }
}
