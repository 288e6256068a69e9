//! The holders of a lease as a stream, for observers.

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

/// The shortest time between two reads, whatever the store reports as remaining.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The record of a lease, from [`LeaseClient::watch`](crate::LeaseClient::watch): the current one first, then the latest one
/// after each change of holder, token or metadata; `None` while the name is free. A slow reader misses intermediate records,
/// never the last one. A failure of the store is an item, not the end of the stream (S19).
///
/// Releases are noticed by push, where the store has push. Grants are noticed by push if they were made with
/// [`announce`](crate::LeaseOptions::announce). All other changes are noticed within two
/// [poll intervals](crate::Capabilities::poll_interval) of the store, 2 seconds by default, or when the lease expires.
pub struct LeaseWatch {
    states: Latest<State>,
    /// Whether the error that ends the stream was returned.
    has_ended: bool,
}

type State = Result<Option<LeaseRecord>>;

impl LeaseWatch {
    pub(super) fn new(shared: &Arc<Shared>, name: LeaseName) -> Self {
        let (sender, receiver) = watch::channel(Ok(None));
        shared.runtime.spawn(look(Arc::clone(shared), name, sender));
        Self { states: Latest::new(receiver), has_ended: false }
    }

    /// Waits for the next record. When the client is closed or its runtime has ended, returns an error, and then `None`.
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
    // The longest time between two reads of the record; hints come in between.
    let poll = shared.capabilities.poll_interval.max(SHORTEST_PAUSE) * 2;
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
        let wake_at = shared.clock.now() + remaining.map_or(poll, |remaining| remaining.clamp(SHORTEST_PAUSE, poll));
        // The remaining time changes with every read; that is no news.
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
