//! Acquires leases.

use std::time::Duration;

use lease_core::{AcquireRequest, Acquired, Error, ErrorKind, Grant, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{
    batch::{Answers, LockWait, Operation},
    error::store_error,
    failure::{Access, Failure},
    shared::Shared,
    sql::{State, in_microseconds, lock_timeout, metadata_text, position, token_from, uuid},
};

/// The smallest ttl: the round trips of a renewal must fit in it.
pub(crate) const MIN_TTL: Duration = Duration::from_millis(10);

/// The largest ttl.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// How often one call tries a name that changes at the same time.
const ATTEMPTS: usize = 3;

/// The age, in microseconds at the insertion of its row, from which a token may be below one that was granted meanwhile: see
/// `sql/raise.sql`. An insertion that does not wait takes a fraction of it.
const OLD_TOKEN_US: i64 = 200;

/// The most names in an error message.
const MAX_NAMES_IN_MESSAGE: usize = 3;

pub(crate) struct Acquire<'a>(pub(crate) &'a Shared);

impl Operation for Acquire<'_> {
    const NAME: &'static str = "acquire";
    type Request = AcquireRequest;
    type Answer = Acquired;

    async fn one(&self, request: &AcquireRequest, wait: LockWait) -> Result<Acquired> {
        check_ttl(request.ttl)?;
        for _ in 0..ATTEMPTS {
            let outcome = self.attempt(request).await.map_err(|failure| self.0.error(Self::NAME, failure))?;
            match outcome {
                Outcome::Granted(granted) => {
                    let mut answers = vec![(0, Ok(Acquired::Spent))];
                    self.confirm(&[request], vec![(0, granted)], wait, &mut answers).await;
                    return answers.swap_remove(0).1;
                }
                Outcome::Refused(answer) => return Ok(answer),
                Outcome::Changed => {}
            }
        }
        // It changed hands during each attempt, so it is held; the current holder is unknown.
        Ok(Acquired::Held { by: None, retry_after: None })
    }

    async fn many(&self, requests: &[&AcquireRequest]) -> Result<Answers<Acquired>, Failure> {
        // Requests with a bad ttl are left without an answer: `one` then returns the error.
        let (indexes, valid): (Vec<usize>, Vec<&AcquireRequest>) =
            requests.iter().enumerate().filter(|(_, request)| check_ttl(request.ttl).is_ok()).unzip();
        let values = [
            valid.iter().map(|request| request.name.as_str()).collect(),
            valid.iter().map(|request| request.holder.as_str()).collect(),
            valid.iter().map(|request| uuid(request.grant)).collect(),
            valid.iter().map(|request| in_microseconds(request.ttl)).collect(),
            valid.iter().map(|request| metadata_text(&request.metadata)).collect(),
        ];
        let rows = self.0.connections().run(Access::Write, &self.0.statements().acquire_many, &values).await?;
        let mut answers = Vec::with_capacity(requests.len());
        let mut granted = Vec::new();
        for row in rows {
            let at = position(&row)?;
            match Outcome::read(&row, valid[at]).map_err(Failure::unreadable)? {
                Outcome::Granted(grant) => {
                    // Replaced below, unless the grant has ended meanwhile.
                    answers.push((indexes[at], Ok(Acquired::Spent)));
                    granted.push((answers.len() - 1, grant));
                }
                Outcome::Refused(answer) => answers.push((indexes[at], Ok(answer))),
                Outcome::Changed => {}
            }
        }
        self.confirm(requests, granted, LockWait::Short, &mut answers).await;
        Ok(answers)
    }
}

impl Acquire<'_> {
    async fn attempt(&self, request: &AcquireRequest) -> Result<Outcome, Failure> {
        let values = [
            request.name.as_str().into(),
            request.holder.as_str().into(),
            uuid(request.grant).into(),
            in_microseconds(request.ttl).into(),
            metadata_text(&request.metadata).into(),
        ];
        match self.0.connections().run(Access::Write, &self.0.statements().acquire_one, &values).await {
            Ok(rows) => match rows.first() {
                Some(row) => Outcome::read(row, request).map_err(Failure::unreadable),
                None => self.read_state(request).await,
            },
            // Another transaction has locked the row. If the lease is held anyway, that is the answer; otherwise the next holder
            // is unknown.
            Err(failure) if failure.is_locked() => match self.read_state(request).await? {
                Outcome::Changed => Err(failure),
                outcome => Ok(outcome),
            },
            Err(failure) => Err(failure),
        }
    }

    async fn read_state(&self, request: &AcquireRequest) -> Result<Outcome, Failure> {
        Ok(Outcome::of(self.0.read_state(&request.name).await?.as_ref(), request))
    }

    /// Answers the requests that were granted, with tokens that are surely above all earlier ones (S9). `granted` has the index of
    /// each answer. All tokens that must be raised are raised by one statement, after the other grants were answered.
    async fn confirm(
        &self,
        requests: &[&AcquireRequest],
        granted: Vec<(usize, Granted)>,
        wait: LockWait,
        answers: &mut [(usize, Result<Acquired>)],
    ) {
        let mut old = Vec::new();
        for (at, granted) in granted {
            let request = requests[answers[at].0];
            if granted.lag_us.is_some_and(|lag| lag > OLD_TOKEN_US) {
                old.push(at);
            } else {
                answers[at].1 = self.grant(granted.version, request);
                self.announce(request);
            }
        }
        if old.is_empty() {
            return;
        }
        let raised: Vec<&AcquireRequest> = old.iter().map(|at| requests[answers[*at].0]).collect();
        let versions = match self.raise(&raised, wait).await {
            // A row that other software has locked must not fail the others.
            Err(failure) if failure.is_locked() && raised.len() > 1 => {
                let mut versions = Vec::with_capacity(raised.len());
                for request in &raised {
                    versions.push(self.raise(&[request], wait).await.map(|versions| versions[0]));
                }
                versions
            }
            Err(failure) => {
                let error = self.unconfirmed(&raised, failure);
                old.iter().for_each(|at| answers[*at].1 = Err(error.clone()));
                return;
            }
            Ok(versions) => versions.into_iter().map(Ok).collect(),
        };
        for ((at, request), version) in old.into_iter().zip(raised).zip(versions) {
            answers[at].1 = match version {
                Ok(Some(version)) => self.grant(version, request),
                // The grant has ended meanwhile.
                Ok(None) => Ok(Acquired::Spent),
                Err(failure) => Err(self.unconfirmed(&[request], failure)),
            };
            if matches!(answers[at].1, Ok(Acquired::Granted(_))) {
                self.announce(request);
            }
        }
    }

    fn grant(&self, version: i64, request: &AcquireRequest) -> Result<Acquired> {
        let token = token_from(version).map_err(|error| self.0.error(Self::NAME, Failure::unreadable(error)))?;
        // The server counted the ttl from a moment after the call began: at least the ttl remains, counted from that beginning
        // (S1).
        Ok(Acquired::Granted(Grant::new(token, request.ttl).with_handle(token.get())))
    }

    /// Notifies of a grant, if the request wants it.
    fn announce(&self, request: &AcquireRequest) {
        if request.announce {
            self.0.notify([&request.name]);
        }
    }

    /// Raises the tokens of grants. Returns the new version of each, or `None` for a grant that has ended.
    async fn raise(&self, requests: &[&AcquireRequest], wait: LockWait) -> Result<Vec<Option<i64>>, Failure> {
        let values = [
            requests.iter().map(|request| request.name.as_str()).collect(),
            requests.iter().map(|request| request.holder.as_str()).collect(),
            requests.iter().map(|request| uuid(request.grant)).collect(),
            lock_timeout(wait).into(),
        ];
        let rows = self.0.connections().run(Access::Write, &self.0.statements().raise, &values).await?;
        let mut versions = vec![None; requests.len()];
        for row in rows {
            versions[position(&row)?] = Some(row.try_get("version").map_err(Failure::unreadable)?);
        }
        Ok(versions)
    }

    /// Returns the error for grants that exist, but whose tokens could not be raised.
    fn unconfirmed(&self, requests: &[&AcquireRequest], failure: Failure) -> Error {
        let names: Vec<_> = requests.iter().map(|request| request.name.as_str()).take(MAX_NAMES_IN_MESSAGE).collect();
        let more = requests.len() - names.len();
        let others = if more > 0 { format!(" and {more} others") } else { String::new() };
        let message = format!(
            "{}{others} may have been granted: the fencing token could not be raised after a delayed insertion",
            names.join(", ")
        );
        store_error(ErrorKind::Indeterminate, Self::NAME, message).with_source(failure.source)
    }
}

/// The outcome of a statement for one request.
enum Outcome {
    Granted(Granted),
    Refused(Acquired),
    /// The name was free, or has become free meanwhile.
    Changed,
}

struct Granted {
    version: i64,
    /// For an inserted row: the time from the reading of the clock to the insertion.
    lag_us: Option<i64>,
}

impl Outcome {
    fn read(row: &PgRow, request: &AcquireRequest) -> Result<Self, sqlx::Error> {
        match row.try_get("version")? {
            Some(version) => Ok(Self::Granted(Granted { version, lag_us: row.try_get("lag_us")? })),
            None => Ok(Self::of(State::read(row)?.as_ref(), request)),
        }
    }

    fn of(state: Option<&State>, request: &AcquireRequest) -> Self {
        state.and_then(|state| state.answer(request)).map_or(Self::Changed, Self::Refused)
    }
}

fn check_ttl(ttl: Duration) -> Result<()> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Ok(());
    }
    let message = format!("the ttl must be between {MIN_TTL:?} and {MAX_TTL:?}; it is {ttl:?}");
    Err(store_error(ErrorKind::Invalid, Acquire::NAME, message))
}
