//! What happened, one line each, in the order in which it happened.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use lease_core::{AttemptOutcome, Clock, LeaseEvent, Moment, Observer};

/// Who did what, and when. Clones are the same story.
#[derive(Debug, Clone)]
pub(crate) struct Story(Option<Arc<Mutex<Vec<String>>>>);

impl Story {
    /// Most stories are not told: that takes time.
    pub(crate) fn untold() -> Self {
        Self(None)
    }

    pub(crate) fn told() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn tell(&self, at: Moment, what: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            lines.lock().unwrap().push(format!("{:>8.3} s  {}", at.since_origin().as_secs_f64(), what()));
        }
    }

    /// Tells what this client sees.
    pub(crate) fn of(&self, client: usize, clock: Arc<dyn Clock>) -> Seen {
        Seen { story: self.clone(), client, clock }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.iter().flat_map(|lines| lines.lock().unwrap().clone());
        lines.into_iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[derive(Debug)]
pub(crate) struct Seen {
    story: Story,
    client: usize,
    clock: Arc<dyn Clock>,
}

impl Observer for Seen {
    fn observe(&self, event: &LeaseEvent) {
        use LeaseEvent as E;
        let what = match event {
            E::WaitStarted { name, .. } => format!("waits for {name}"),
            E::Attempted { name, outcome: AttemptOutcome::Failed(_), .. } => format!("asked for {name}: failed"),
            E::Granted { name, token, valid_for, .. } => {
                format!("holds {name} with token {token} for {valid_for:?} of its time")
            }
            E::Renewed { name, token, valid_for, .. } => {
                format!("holds {name} with token {token} for {valid_for:?} more of its time")
            }
            E::Jeopardy { name, .. } => format!("may lose {name}, for it cannot renew it"),
            E::Lost { name, token, reason, .. } => format!("holds {name} with token {token} no more: {reason}"),
            E::Released { name, outcome: Ok(outcome), .. } => format!("released {name}: {outcome:?}"),
            E::Released { name, outcome: Err(error), .. } => format!("cannot release {name}: {error}"),
            _ => return,
        };
        self.story.tell(self.clock.now(), || format!("client-{} {what}", self.client));
    }
}
