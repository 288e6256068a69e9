//! One term of leadership, and the work that is done under it.

use std::sync::Arc;

use lease_core::{FencingToken, LeaseHandle, WorkScope};
use tokio::sync::watch;

/// A term of leadership, as the work under it sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Term {
    lease: LeaseHandle,
    course: Arc<watch::Sender<Course>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Course {
    phase: Phase,
    /// How many pieces of work there are under it.
    scopes: usize,
    /// Work ended before it was asked to.
    given_up: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Leading,
    /// The work is asked to end.
    Draining,
    /// The work is dropped now.
    Cut,
}

impl Term {
    pub(crate) fn new(lease: LeaseHandle) -> Self {
        Self { lease, course: Arc::new(watch::Sender::new(Course::default())) }
    }

    /// The fencing token: send it with every write that only the leader may do.
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.lease.token()
    }

    /// Whether this candidate still leads. Local, no I/O; once false it stays false.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lease.is_held()
    }

    /// The lease behind the leadership: its remaining time, its state (jeopardy, too), its loss.
    #[must_use]
    pub fn lease(&self) -> &LeaseHandle {
        &self.lease
    }

    /// Whether the leader is about to step down: the work should come to its end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.course.borrow().phase >= Phase::Draining
    }

    /// Completes when the leader is about to step down. The work has the grace of the election to end by itself.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn draining(&self) {
        self.reached(|course| course.phase >= Phase::Draining).await;
    }

    /// Begins a piece of work, unless the term is about to end.
    pub(crate) fn enter(&self) -> Option<Scope> {
        let mut entered = false;
        self.course.send_if_modified(|course| {
            entered = course.phase == Phase::Leading;
            course.scopes += usize::from(entered);
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
        self.reached(|course| course.phase == Phase::Cut).await;
    }

    /// Waits until no work is left under it.
    pub(crate) async fn is_idle(&self) {
        self.reached(|course| course.scopes == 0).await;
    }

    /// Waits until work has ended that was not asked to.
    pub(crate) async fn is_given_up(&self) {
        self.reached(|course| course.given_up).await;
    }

    fn advance(&self, phase: Phase) {
        self.course.send_modify(|course| course.phase = course.phase.max(phase));
    }

    async fn reached(&self, condition: impl Fn(&Course) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.course.subscribe().wait_for(|course| condition(course)).await;
    }
}

/// A piece of work under a term. However it ends, by itself, by a panic or by being dropped, the term notices.
#[derive(Debug)]
pub(crate) struct Scope {
    term: Term,
    /// The client waits for it when it closes.
    _work: WorkScope,
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.term.course.send_modify(|course| {
            course.scopes -= 1;
            course.given_up |= course.phase == Phase::Leading;
        });
    }
}
