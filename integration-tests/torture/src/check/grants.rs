//! Grants, put together from what their workers wrote about them.

use std::collections::BTreeMap;

use lease_core::{FencingToken, LeaseName};

use super::recording::ReadError;
use crate::record::{Entry, Event};

/// A grant, as its worker saw it. Moments are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What was granted.
    pub name: LeaseName,
    /// To whom.
    pub worker: String,
    /// With which token.
    pub token: FencingToken,
    /// When the worker asked for it, if that was recorded.
    pub asked: Option<u64>,
    /// When the worker began to believe: when it had the answer.
    pub from: u64,
    /// The deadlines that it has had: from when on, and until when.
    pub deadlines: Vec<(u64, u64)>,
    /// When the loss was signalled, if it was.
    pub lost: Option<u64>,
    /// When the worker called release, if it did.
    pub releasing: Option<u64>,
    /// Whether the store said that the release has freed the name.
    pub freed: bool,
}

/// How a worker's belief ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The worker released it.
    Released,
    /// The worker was told before the deadline that it is not its own any more.
    Told,
    /// The deadline passed: the worker was frozen, killed or cut off, or has not noticed.
    Expired,
}

impl Grant {
    /// The local deadline that counted last.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.deadlines.iter().map(|&(_, until)| until).max().unwrap_or(self.from)
    }

    /// When the worker had the store's last good answer.
    #[must_use]
    pub fn last_heard(&self) -> u64 {
        self.deadlines.iter().map(|&(at, _)| at).max().unwrap_or(self.from)
    }

    /// The end of the worker's belief, and how it came about.
    #[must_use]
    pub fn end(&self) -> (u64, Ending) {
        let released = self.releasing.map(|at| (at, Ending::Released));
        let told = self.lost.map(|at| (at, Ending::Told));
        let expired = (self.deadline(), Ending::Expired);
        [released, told].into_iter().flatten().fold(expired, |first, next| if next.0 < first.0 { next } else { first })
    }

    /// The end of the worker's belief.
    #[must_use]
    pub fn until(&self) -> u64 {
        self.end().0
    }
}

/// All grants of these entries, by name, and then in the order in which they began.
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
        let Some(grant) = concerned(&mut grants, entry) else { continue };
        match &entry.event {
            Event::Renewed { until, .. } => grant.deadlines.push((entry.at, *until)),
            Event::Lost { deadline, .. } => {
                grant.lost = Some(grant.lost.map_or(entry.at, |lost| lost.min(entry.at)));
                // Renewals that came just before may have no line of their own.
                if *deadline > grant.deadline() {
                    let heard = grant.last_heard();
                    grant.deadlines.push((heard, *deadline));
                }
            }
            Event::Releasing { .. } => grant.releasing = Some(entry.at),
            Event::Released { outcome, .. } => grant.freed = outcome == "released",
            _ => {}
        }
    }
    for grant in &mut grants {
        grant.deadlines.sort_unstable();
        // A worker that was frozen just before it wrote that it was granted something had it in time, or it would not
        // have taken it (S1), and does not believe any more.
        grant.from = grant.from.min(grant.until());
    }
    grants.sort_by(|one, two| {
        (&one.name, one.from, one.until(), one.token).cmp(&(&two.name, two.from, two.until(), two.token))
    });
    Ok(grants)
}

/// The grant that an entry of its worker speaks of. Should a token have been granted to a worker twice, which is caught
/// elsewhere, the latest before the entry is meant.
fn concerned<'a>(grants: &'a mut [Grant], entry: &Entry) -> Option<&'a mut Grant> {
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
