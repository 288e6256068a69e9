//! Which tenure needs something next, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    LeaseName, Moment,
    batch::LARGEST_BATCH,
    grant::{Plan, Tenure},
};

/// Renewals that are due within this part of their interval are sent together with those that are due now, as many as fill the
/// batch.
const EARLY: u32 = 16;
/// The limit of that.
const EARLIEST: Duration = Duration::from_secs(1);

/// The tenures of a client, by number, by name, and by the time at which they need something.
#[derive(Default)]
pub(super) struct TimerQueue {
    entries: BTreeMap<u64, Entry>,
    times: BTreeSet<(Moment, u64)>,
    names: BTreeSet<(LeaseName, u64)>,
}

pub(super) struct Entry {
    pub(super) tenure: Arc<Tenure>,
    at: Moment,
    pub(super) step: Step,
    /// How many renewals were sent.
    pub(super) sent: u64,
    /// When the last one was sent.
    pub(super) sent_at: Moment,
    /// How many of them hung, one after the other.
    pub(super) hung: u32,
    /// When the last successful request was sent: a renewal, or the one that brought the grant.
    pub(super) confirmed: Moment,
}

/// What a tenure needs next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A renewal is due.
    Renew,
    /// The answer to a renewal is overdue.
    Overdue,
    /// The lease is lost.
    Deadline,
}

/// Returns the first step of a plan, and when it is due: now, if a slow answer has brought the plan too late.
pub(super) fn first_of(plan: Plan, now: Moment) -> (Step, Moment) {
    let (step, at) = match plan.renew_at {
        Some(renew_at) if renew_at < plan.valid_until => (Step::Renew, renew_at),
        _ => (Step::Deadline, plan.valid_until),
    };
    (step, at.max(now))
}

impl TimerQueue {
    pub(super) fn insert(&mut self, tenure: &Arc<Tenure>, step: Step, at: Moment) {
        let number = tenure.number;
        self.times.insert((at, number));
        self.names.insert((tenure.name().clone(), number));
        let entry = Entry {
            tenure: Arc::clone(tenure),
            at,
            step,
            sent: 0,
            sent_at: tenure.began,
            hung: 0,
            confirmed: tenure.began,
        };
        self.entries.insert(number, entry);
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&number)
    }

    pub(super) fn tenures(&self) -> impl Iterator<Item = &Arc<Tenure>> {
        self.entries.values().map(|entry| &entry.tenure)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the time of the first entry.
    pub(super) fn first(&self) -> Option<Moment> {
        self.times.first().map(|(at, _)| *at)
    }

    /// Returns the numbers of the tenures of this name.
    pub(super) fn numbers_of(&self, name: &LeaseName) -> Vec<u64> {
        self.names.range((name.clone(), 0)..=(name.clone(), u64::MAX)).map(|(_, number)| *number).collect()
    }

    /// Takes the times that are due, and as many of the renewals that are due soon as fill the last batch. The entries stay, to be
    /// [set](Self::set) anew or [removed](Self::remove).
    pub(super) fn due(&mut self, now: Moment) -> Vec<u64> {
        let mut due = Vec::new();
        for &(at, number) in self.times.range(..=(now + EARLIEST, u64::MAX)) {
            if at > now {
                if due.len().is_multiple_of(LARGEST_BATCH) {
                    break;
                }
                let early = self.entries.get(&number).filter(|entry| entry.step == Step::Renew);
                if early.is_none_or(|entry| at > now + entry.tenure.schedule.interval / EARLY) {
                    continue;
                }
            }
            due.push((at, number));
        }
        for time in &due {
            self.times.remove(time);
        }
        due.into_iter().map(|(_, number)| number).collect()
    }

    /// Sets what a tenure needs next.
    pub(super) fn set(&mut self, number: u64, step: Step, at: Moment) {
        if let Some(entry) = self.entries.get_mut(&number) {
            self.times.remove(&(entry.at, number));
            self.times.insert((at, number));
            (entry.step, entry.at) = (step, at);
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            self.times.remove(&(entry.at, number));
            self.names.remove(&(entry.tenure.name().clone(), number));
        }
    }

    /// Removes all tenures and returns them.
    pub(super) fn take_all(&mut self) -> Vec<Arc<Tenure>> {
        self.times.clear();
        self.names.clear();
        std::mem::take(&mut self.entries).into_values().map(|entry| entry.tenure).collect()
    }
}
