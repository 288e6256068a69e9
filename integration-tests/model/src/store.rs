//! The record of the one name in a store, and the rules by which it changes.

use crate::Rule;

/// A moment on the store's clock.
pub type Tick = u8;

/// The ttl of a grant.
pub const TTL: Tick = 3;

/// Identifies an attempt of a client (S13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce {
    /// The client.
    pub client: u8,
    /// The number of the attempt.
    pub attempt: u8,
}

/// A request to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// Acquires the name for this nonce.
    Acquire(Nonce),
    /// Renews the grant.
    Renew(Nonce),
    /// Releases the grant.
    Release(Nonce),
}

/// An answer of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// The name is granted.
    Granted {
        /// The fencing token.
        token: u8,
        /// The remaining time.
        remaining: Tick,
        /// The number of the grant, for the checker only.
        number: u8,
    },
    /// Another holder has the name.
    Held,
    /// The grant of this attempt has ended.
    Spent,
    /// The grant was renewed.
    Extended {
        /// The remaining time.
        remaining: Tick,
    },
    /// The grant is not held by this nonce.
    Lost,
    /// Released.
    Freed,
    /// No grant was released.
    NotHeld,
}

/// The store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// The last grant. It is kept after its end.
    pub(crate) record: Option<Record>,
    /// All grants, for the checker only.
    pub(crate) grants: Vec<(Nonce, u8)>,
}

/// The last grant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    nonce: Nonce,
    token: u8,
    until: Tick,
    released: bool,
    /// Whether it has ended before, for the checker only.
    was_over: bool,
}

impl Store {
    /// Executes a request at this moment, by all rules but those that are left out.
    pub fn answer(&mut self, request: Request, now: Tick, left_out: &[Rule]) -> Answer {
        let keeps = |rule| !left_out.contains(&rule);
        match (request, &mut self.record) {
            (Request::Acquire(nonce), record) => match record {
                Some(record) if record.nonce == nonce && (record.is_held(now) || keeps(Rule::NoncesAreSpent)) => {
                    if record.is_held(now) {
                        self.grant(now)
                    } else {
                        Answer::Spent
                    }
                }
                Some(record) if record.is_held(now) => Answer::Held,
                record => {
                    let token = record.as_ref().map_or(0, |record| record.token) + 1;
                    *record = Some(Record { nonce, token, until: now + TTL, released: false, was_over: false });
                    self.grants.push((nonce, token));
                    self.grant(now)
                }
            },
            (Request::Renew(nonce), Some(record)) => {
                let is_owner = record.nonce == nonce || !keeps(Rule::OnlyTheOwnerRenews);
                let in_time = now < record.until || !keeps(Rule::NoRenewalRevives);
                if !is_owner || record.released || !in_time {
                    return Answer::Lost;
                }
                record.until = record.until.max(now + TTL);
                Answer::Extended { remaining: record.until - now }
            }
            (Request::Release(nonce), Some(record)) => {
                let is_owner = record.nonce == nonce || !keeps(Rule::OnlyTheOwnerReleases);
                if !is_owner || !record.is_held(now) {
                    return Answer::NotHeld;
                }
                (record.released, record.was_over) = (true, true);
                if !keeps(Rule::TokenSurvivesTheGrant) {
                    record.token = 0;
                }
                Answer::Freed
            }
            (Request::Renew(_), None) => Answer::Lost,
            (Request::Release(_), None) => Answer::NotHeld,
        }
    }

    /// Returns the grant in force as an answer to its owner, with the remaining time (S1, S13).
    fn grant(&self, now: Tick) -> Answer {
        let number = u8::try_from(self.grants.len()).unwrap_or(u8::MAX);
        self.record.as_ref().map_or(Answer::Held, |Record { token, until, .. }| Answer::Granted {
            token: *token,
            remaining: until - now,
            number,
        })
    }

    /// Records whether the last grant has ended by now.
    pub(crate) fn time_passed(&mut self, now: Tick) {
        if let Some(record) = &mut self.record {
            record.was_over |= !record.is_held(now);
        }
    }

    /// Returns whether the grant of this nonce is in force.
    pub(crate) fn is_held_by(&self, nonce: Nonce, now: Tick) -> bool {
        self.record.as_ref().is_some_and(|record| record.nonce == nonce && record.is_held(now))
    }

    /// Returns whether a grant is in force that had ended before.
    pub(crate) fn is_revived(&self, now: Tick) -> bool {
        self.record.as_ref().is_some_and(|record| record.was_over && record.is_held(now))
    }
}

impl Record {
    fn is_held(&self, now: Tick) -> bool {
        !self.released && now < self.until
    }
}
