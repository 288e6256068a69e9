//! Watching who holds a lease.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use tokio::{runtime::Handle, sync::watch};
use tokio_stream::{StreamExt, wrappers::WatchStream};

use crate::{
    LeaseName, LeaseRecord, Result,
    core::{Core, Phase, closed},
};

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
    states: WatchStream<Result<Option<LeaseRecord>>>,
}

impl LeaseWatch {
    pub(crate) fn new(core: &Arc<Core>, runtime: &Handle, name: LeaseName) -> Self {
        let (sender, receiver) = watch::channel(Ok(None));
        runtime.spawn(look(Arc::clone(core), runtime.clone(), name, sender));
        Self { states: WatchStream::from_changes(receiver) }
    }

    /// The next state; nothing after the client was closed, which is told by an error before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no state is lost.
    pub async fn next(&mut self) -> Option<Result<Option<LeaseRecord>>> {
        self.states.next().await
    }
}

async fn look(core: Arc<Core>, runtime: Handle, name: LeaseName, states: watch::Sender<Result<Option<LeaseRecord>>>) {
    let mut wakeups = core.store.subscribe(&name);
    let mut last = None;
    loop {
        let state = tokio::select! {
            biased;
            () = states.closed() => return,
            () = core.reached(Phase::Closing) => {
                let _ = states.send(Err(closed("watch")));
                return;
            }
            state = core.inspect(&runtime, name.clone()) => state,
        };
        let remaining = state.as_ref().ok().and_then(Option::as_ref).map(|record| record.remaining);
        let wake_at = core.clock.now() + remaining.map_or(POLL, |remaining| remaining.clamp(SHORTEST_PAUSE, POLL));
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
            () = core.reached(Phase::Closing) => {}
            () = wakeups.next() => {}
            () = core.clock.sleep_until(wake_at) => {}
        }
    }
}

impl Stream for LeaseWatch {
    type Item = Result<Option<LeaseRecord>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.states).poll_next(context)
    }
}

impl fmt::Debug for LeaseWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseWatch").finish_non_exhaustive()
    }
}
