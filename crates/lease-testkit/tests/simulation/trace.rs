//! The trace of a schedule: one line for each event, in order.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use lease_core::{AttemptOutcome, Clock, LeaseEvent, Moment, Observer};

/// A trace. Clones share their lines.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Option<Arc<Mutex<Vec<String>>>>);

impl Trace {
    /// Most schedules run without a trace, because it takes time.
    pub(crate) fn disabled() -> Self {
        Self(None)
    }

    pub(crate) fn enabled() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn record(&self, at: Moment, what: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            lines.lock().unwrap().push(format!("{:>8.3} s  {}", at.since_origin().as_secs_f64(), what()));
        }
    }

    /// Returns an observer that records the events of this client.
    pub(crate) fn observer(&self, client: usize, clock: Arc<dyn Clock>) -> TraceObserver {
        TraceObserver { trace: self.clone(), client, clock }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.iter().flat_map(|lines| lines.lock().unwrap().clone());
        lines.into_iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[derive(Debug)]
pub(crate) struct TraceObserver {
    trace: Trace,
    client: usize,
    clock: Arc<dyn Clock>,
}

impl Observer for TraceObserver {
    fn observe(&self, event: &LeaseEvent) {
        use LeaseEvent as E;
        let what = match event {
            E::WaitStarted { name, .. } => format!("waits for {name}"),
            E::Attempted { name, outcome: AttemptOutcome::Failed(_), .. } => format!("failed to acquire {name}"),
            E::Granted { name, token, valid_for, .. } => {
                format!("holds {name} with token {token} for {valid_for:?} of its time")
            }
            E::Renewed { name, token, valid_for, .. } => {
                format!("holds {name} with token {token} for {valid_for:?} more of its time")
            }
            E::Jeopardy { name, .. } => format!("may lose {name}: a renewal failed"),
            E::Lost { name, token, reason, .. } => format!("has lost {name} with token {token}: {reason}"),
            E::Released { name, outcome: Ok(outcome), .. } => format!("released {name}: {outcome:?}"),
            E::Released { name, outcome: Err(error), .. } => format!("cannot release {name}: {error}"),
            _ => return,
        };
        self.trace.record(self.clock.now(), || format!("client-{} {what}", self.client));
    }
}
