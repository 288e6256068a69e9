//! Grants, collected from the entries of their workers.

use std::collections::BTreeMap;

use lease_core::{FencingToken, LeaseName};

use super::recording::ReadError;
use crate::record::{Entry, Event};

/// A grant and its tenure. Moments are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The name of the lease.
    pub name: LeaseName,
    /// The worker that holds it.
    pub worker: String,
    /// The fencing token.
    pub token: FencingToken,
    /// The beginning of the attempt, if it was recorded.
    pub asked: Option<u64>,
    /// The beginning of the tenure: the moment of the answer.
    pub from: u64,
    /// The local deadlines, each with the moment at which it was set.
    pub deadlines: Vec<(u64, u64)>,
    /// The moment at which the loss was signalled, if any.
    pub lost: Option<u64>,
    /// The moment at which the worker called release, if any.
    pub releasing: Option<u64>,
    /// Whether the release has freed the name, by the answer of the store.
    pub freed: bool,
}

/// How a tenure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The worker released it.
    Released,
    /// The loss was signalled before the deadline.
    Lost,
    /// The deadline passed: the worker was frozen, killed or cut off, or has not detected the loss.
    Expired,
}

impl Grant {
    /// Returns the last local deadline.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.deadlines.iter().map(|&(_, until)| until).max().unwrap_or(self.from)
    }

    /// Returns the moment of the store's last successful answer.
    #[must_use]
    pub fn last_answer(&self) -> u64 {
        self.deadlines.iter().map(|&(at, _)| at).max().unwrap_or(self.from)
    }

    /// Returns the end of the tenure, and its cause.
    #[must_use]
    pub fn end(&self) -> (u64, Ending) {
        let released = self.releasing.map(|at| (at, Ending::Released));
        let lost = self.lost.map(|at| (at, Ending::Lost));
        let expired = (self.deadline(), Ending::Expired);
        [released, lost].into_iter().flatten().fold(expired, |first, next| if next.0 < first.0 { next } else { first })
    }

    /// Returns the end of the tenure.
    #[must_use]
    pub fn until(&self) -> u64 {
        self.end().0
    }
}

/// Returns all grants of these entries, by name, and then in the order in which they began.
pub(super) fn grants(entries: &[Entry]) -> Result<Vec<Grant>, ReadError> {
    let mut asked = BTreeMap::new();
    let mut grants = Vec::new();
    for Entry { at, by, event } in entries {
        match event {
            Event::Asked { name, attempt } => {
                asked.insert((by, name, attempt), *at);
            }
            Event::Granted { name, attempt, token, until } => {
                let impossible = || ReadError::Impossible { name: name.clone(), token: *token, worker: by.clone() };
                grants.push(Grant {
                    name: LeaseName::new(name).map_err(|_| impossible())?,
                    worker: by.clone(),
                    token: FencingToken::new(*token).ok_or_else(impossible)?,
                    asked: asked.get(&(by, name, attempt)).copied(),
                    from: *at,
                    deadlines: vec![(*at, *until)],
                    lost: None,
                    releasing: None,
                    freed: false,
                });
            }
            _ => {}
        }
    }
    for entry in entries {
        let Some(grant) = grant_of(&mut grants, entry) else { continue };
        match &entry.event {
            Event::Renewed { until, .. } => grant.deadlines.push((entry.at, *until)),
            Event::Lost { deadline, .. } => {
                grant.lost = Some(grant.lost.map_or(entry.at, |lost| lost.min(entry.at)));
                // Renewals just before the loss may have no line of their own.
                if *deadline > grant.deadline() {
                    let answered = grant.last_answer();
                    grant.deadlines.push((answered, *deadline));
                }
            }
            Event::Releasing { .. } => grant.releasing = Some(entry.at),
            Event::Released { outcome, .. } => grant.freed = outcome == "released",
            _ => {}
        }
    }
    for grant in &mut grants {
        grant.deadlines.sort_unstable();
        // A worker may be frozen between a grant and its entry. The grant was in time, or the client would have rejected
        // it (S1), and its tenure has ended by the time of the entry.
        grant.from = grant.from.min(grant.until());
    }
    grants.sort_by(|one, two| {
        (&one.name, one.from, one.until(), one.token).cmp(&(&two.name, two.from, two.until(), two.token))
    });
    Ok(grants)
}

/// Returns the grant of a worker's entry. If a token was granted to a worker twice, which another check catches, it is the latest
/// one before the entry.
fn grant_of<'a>(grants: &'a mut [Grant], entry: &Entry) -> Option<&'a mut Grant> {
    let (Event::Renewed { name, token, .. }
    | Event::Lost { name, token, .. }
    | Event::Releasing { name, token }
    | Event::Released { name, token, .. }) = &entry.event
    else {
        return None;
    };
    grants
        .iter_mut()
        .filter(|grant| grant.worker == entry.by && grant.name.as_str() == name && grant.token.get() == *token)
        .min_by_key(|grant| (grant.from > entry.at, entry.at.abs_diff(grant.from)))
}
