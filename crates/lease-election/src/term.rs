//! A term of leadership, and the work under it.

use std::sync::Arc;

use lease_core::{FencingToken, LeaseHandle, WorkScope};
use tokio::sync::watch;

/// A term of leadership: the handle for the work under it. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Term {
    lease: LeaseHandle,
    state: Arc<watch::Sender<TermState>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct TermState {
    phase: Phase,
    /// The number of pieces of work under the term.
    scopes: usize,
    /// Whether work has ended before the term began to drain.
    ended_early: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Leading,
    /// The work was notified to end.
    Draining,
    /// The work is dropped.
    Cut,
}

impl Term {
    pub(crate) fn new(lease: LeaseHandle) -> Self {
        Self { lease, state: Arc::new(watch::Sender::new(TermState::default())) }
    }

    /// Returns the fencing token of this term. Send it with every write that only the leader may do.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.lease.token()
    }

    /// Returns whether this candidate still leads in this term. The answer is local, without I/O. Once false, it stays false.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lease.is_held()
    }

    /// Returns the lease of the leadership, with its remaining time, its state (including jeopardy) and its loss.
    #[must_use]
    pub fn lease(&self) -> &LeaseHandle {
        &self.lease
    }

    /// Returns whether the leader is about to step down. The work should then come to its end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.state.borrow().phase >= Phase::Draining
    }

    /// Waits until the leader is about to step down. The work then has the grace of the election to end by itself.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        self.reached(|state| state.phase >= Phase::Draining).await;
    }

    /// Begins a piece of work. Returns `None` if the term is about to end.
    pub(crate) fn enter(&self) -> Option<Scope> {
        let mut entered = false;
        self.state.send_if_modified(|state| {
            entered = state.phase == Phase::Leading;
            state.scopes += usize::from(entered);
            entered
        });
        entered.then(|| Scope { term: self.clone(), _work: self.lease.scope() })
    }

    pub(crate) fn drain(&self) {
        self.advance(Phase::Draining);
    }

    pub(crate) fn cut(&self) {
        self.advance(Phase::Cut);
    }

    pub(crate) async fn was_cut(&self) {
        self.reached(|state| state.phase == Phase::Cut).await;
    }

    /// Waits until there is no work under the term.
    pub(crate) async fn is_idle(&self) {
        self.reached(|state| state.scopes == 0).await;
    }

    /// Waits until work has ended before the term began to drain.
    pub(crate) async fn has_ended_early(&self) {
        self.reached(|state| state.ended_early).await;
    }

    fn advance(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = state.phase.max(phase));
    }

    async fn reached(&self, condition: impl Fn(&TermState) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.state.subscribe().wait_for(|state| condition(state)).await;
    }
}

/// A piece of work under a term. Dropping it tells the term that the work has ended: by itself, by a panic or by being
/// dropped.
#[derive(Debug)]
pub(crate) struct Scope {
    term: Term,
    /// The client waits for this scope when it closes.
    _work: WorkScope,
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.term.state.send_modify(|state| {
            state.scopes -= 1;
            state.ended_early |= state.phase == Phase::Leading;
        });
    }
}
