//! What a store remembers of the one name, and the rules by which it changes.

use crate::Rule;

/// A moment on the store's clock.
pub type Tick = u8;

/// How long a grant lasts.
pub const TTL: Tick = 3;

/// Names an attempt of a client (S13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce {
    /// Who asks.
    pub client: u8,
    /// For the how manieth time.
    pub attempt: u8,
}

/// What a store is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// For a grant to this nonce.
    Acquire(Nonce),
    /// For more time.
    Renew(Nonce),
    /// To end the grant.
    Release(Nonce),
}

/// What a store says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// This is the token, and so much time is left.
    Granted {
        /// The fencing token.
        token: u8,
        /// What is left.
        remaining: Tick,
        /// Counts the grants; nobody but the checker looks at it.
        number: u8,
    },
    /// Somebody else has it.
    Held,
    /// That attempt has had its grant.
    Spent,
    /// So much time is left now.
    Extended {
        /// What is left.
        remaining: Tick,
    },
    /// Not yours.
    Lost,
    /// Released.
    Freed,
    /// There was nothing to release.
    NotHeld,
}

/// The store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// The last grant. It is kept after its end.
    pub(crate) record: Option<Record>,
    /// All grants ever; nobody but the checker looks at them.
    pub(crate) grants: Vec<(Nonce, u8)>,
}

/// The last grant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    nonce: Nonce,
    token: u8,
    until: Tick,
    released: bool,
    /// Whether it was over once; nobody but the checker looks at it.
    was_over: bool,
}

impl Store {
    /// Does what is asked, at this moment; all but the rules that are left out are kept.
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

    /// The grant in force, as its owner hears of it: what is left of it, not more (S1, S13).
    fn grant(&self, now: Tick) -> Answer {
        let number = u8::try_from(self.grants.len()).unwrap_or(u8::MAX);
        self.record.as_ref().map_or(Answer::Held, |Record { token, until, .. }| Answer::Granted {
            token: *token,
            remaining: until - now,
            number,
        })
    }

    /// Notes which grant is over by now.
    pub(crate) fn time_passed(&mut self, now: Tick) {
        if let Some(record) = &mut self.record {
            record.was_over |= !record.is_held(now);
        }
    }

    /// Whether the grant of this nonce is in force.
    pub(crate) fn is_held_by(&self, nonce: Nonce, now: Tick) -> bool {
        self.record.as_ref().is_some_and(|record| record.nonce == nonce && record.is_held(now))
    }

    /// Whether a grant is in force that was over before.
    pub(crate) fn is_revived(&self, now: Tick) -> bool {
        self.record.as_ref().is_some_and(|record| record.was_over && record.is_held(now))
    }
}

impl Record {
    fn is_held(&self, now: Tick) -> bool {
        !self.released && now < self.until
    }
}
