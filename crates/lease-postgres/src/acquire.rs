//! Getting leases.

use std::time::Duration;

use lease_core::{AcquireRequest, Acquired, Error, ErrorKind, Grant, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{
    batch::{Answers, Operation, Patience, place},
    connections::{Access, Failure},
    error::here,
    row::{State, in_microseconds, metadata_text, token_from, uuid},
    store::{Inner, MAX_TTL, MIN_TTL},
};

/// How often a name that changes while it is looked at is tried within one call.
const ATTEMPTS: usize = 3;

/// A token that was this old, in microseconds, when its row was inserted may be below one that was granted meanwhile: see
/// `sql/raise.sql`. Without a wait it takes a fraction of that.
const OLD_TOKEN_US: i64 = 200;

pub(crate) struct Acquire<'a>(pub(crate) &'a Inner);

impl Operation for Acquire<'_> {
    const NAME: &'static str = "acquire";
    type Request = AcquireRequest;
    type Answer = Acquired;

    async fn one(&self, request: &AcquireRequest, _patience: Patience) -> Result<Acquired> {
        check_ttl(request.ttl)?;
        for _ in 0..ATTEMPTS {
            let answer = self.attempt(request).await.map_err(|failure| self.0.error(Self::NAME, failure))?;
            match answer {
                Step::Granted(granted) => {
                    let mut answers = vec![(0, Ok(Acquired::Spent))];
                    self.confirm(&[request], vec![(0, granted)], &mut answers).await;
                    return answers.swap_remove(0).1;
                }
                Step::Refused(answer) => return Ok(answer),
                Step::Again => {}
            }
        }
        // It changed hands each time: somebody has it, but who cannot be said.
        Ok(Acquired::Held { by: None, retry_after: None })
    }

    async fn many(&self, requests: &[&AcquireRequest]) -> Result<Answers<Acquired>, Failure> {
        // What does not fit is not sent; the plain form says why.
        let (places, fit): (Vec<usize>, Vec<&AcquireRequest>) =
            requests.iter().enumerate().filter(|(_, request)| check_ttl(request.ttl).is_ok()).unzip();
        let values = [
            fit.iter().map(|request| request.name.as_str()).collect(),
            fit.iter().map(|request| request.holder.as_str()).collect(),
            fit.iter().map(|request| uuid(request.grant)).collect(),
            fit.iter().map(|request| in_microseconds(request.ttl)).collect(),
            fit.iter().map(|request| metadata_text(&request.metadata)).collect(),
        ];
        let rows = self.0.connections().run(Access::Write, &self.0.statements().acquire_many, &values).await?;
        let mut answers = Vec::with_capacity(requests.len());
        let mut granted = Vec::new();
        for row in rows {
            let at = place(&row)?;
            match Step::read(&row, fit[at]).map_err(Failure::unreadable)? {
                Step::Granted(grant) => {
                    // Where it stays, it is over already.
                    answers.push((places[at], Ok(Acquired::Spent)));
                    granted.push((answers.len() - 1, grant));
                }
                Step::Refused(answer) => answers.push((places[at], Ok(answer))),
                Step::Again => {}
            }
        }
        self.confirm(requests, granted, &mut answers).await;
        Ok(answers)
    }
}

impl Acquire<'_> {
    async fn attempt(&self, request: &AcquireRequest) -> Result<Step, Failure> {
        let values = [
            request.name.as_str().into(),
            request.holder.as_str().into(),
            uuid(request.grant).into(),
            in_microseconds(request.ttl).into(),
            metadata_text(&request.metadata).into(),
        ];
        match self.0.connections().run(Access::Write, &self.0.statements().acquire_one, &values).await {
            Ok(rows) => match rows.first() {
                Some(row) => Step::read(row, request).map_err(Failure::unreadable),
                None => self.look(request).await,
            },
            // Somebody has the row locked. If it is held anyway, that is the answer; else it is not known who will have it.
            Err(failure) if failure.is_locked() => match self.look(request).await? {
                Step::Again => Err(failure),
                answered => Ok(answered),
            },
            Err(failure) => Err(failure),
        }
    }

    async fn look(&self, request: &AcquireRequest) -> Result<Step, Failure> {
        Ok(Step::of(self.0.look(&request.name).await?.as_ref(), request))
    }

    /// Answers those that were granted, with tokens that are surely above all before (S9). `granted` says where each answer
    /// goes; all that are to be raised are raised by one statement, after the other answers are there.
    async fn confirm(
        &self,
        requests: &[&AcquireRequest],
        granted: Vec<(usize, Granted)>,
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
        let versions = match self.raise(&raised).await {
            // One that is locked by other software must not cost the others.
            Err(failure) if failure.is_locked() && raised.len() > 1 => {
                let mut versions = Vec::with_capacity(raised.len());
                for request in &raised {
                    versions.push(self.raise(&[request]).await.map(|versions| versions[0]));
                }
                versions
            }
            Err(failure) => {
                let error = self.unsure(&raised, failure);
                old.iter().for_each(|at| answers[*at].1 = Err(error.clone()));
                return;
            }
            Ok(versions) => versions.into_iter().map(Ok).collect(),
        };
        for ((at, request), version) in old.into_iter().zip(raised).zip(versions) {
            answers[at].1 = match version {
                Ok(Some(version)) => self.grant(version, request),
                // It is over already.
                Ok(None) => Ok(Acquired::Spent),
                Err(failure) => Err(self.unsure(&[request], failure)),
            };
            if matches!(answers[at].1, Ok(Acquired::Granted(_))) {
                self.announce(request);
            }
        }
    }

    fn grant(&self, version: i64, request: &AcquireRequest) -> Result<Acquired> {
        let token = token_from(version).map_err(|error| self.0.error(Self::NAME, Failure::unreadable(error)))?;
        // The expiry was counted from a moment after the call began, so at least the ttl is left, counted from then (S1).
        Ok(Acquired::Granted(Grant::new(token, request.ttl).with_handle(token.get())))
    }

    fn announce(&self, request: &AcquireRequest) {
        if request.announce {
            self.0.announce([&request.name]);
        }
    }

    /// The new version of each grant; nothing for one that is over.
    async fn raise(&self, requests: &[&AcquireRequest]) -> Result<Vec<Option<i64>>, Failure> {
        let values = [
            requests.iter().map(|request| request.name.as_str()).collect(),
            requests.iter().map(|request| request.holder.as_str()).collect(),
            requests.iter().map(|request| uuid(request.grant)).collect(),
        ];
        let rows = self.0.connections().run(Access::Write, &self.0.statements().raise, &values).await?;
        let mut versions = vec![None; requests.len()];
        for row in rows {
            versions[place(&row)?] = Some(row.try_get("version").map_err(Failure::unreadable)?);
        }
        Ok(versions)
    }

    /// Whatever went wrong, the grants themselves are there.
    fn unsure(&self, requests: &[&AcquireRequest], failure: Failure) -> Error {
        let names: Vec<_> = requests.iter().map(|request| request.name.as_str()).take(3).collect();
        let message = format!("the token of {} could not be made sure of", names.join(", "));
        here(ErrorKind::Indeterminate, Self::NAME, message).with_source(failure.source)
    }
}

/// What a statement said of one request.
enum Step {
    Granted(Granted),
    Refused(Acquired),
    /// Nothing stands in its way, or nothing any more.
    Again,
}

struct Granted {
    version: i64,
    /// For an inserted row, the time from the reading of its clock to its insertion.
    lag_us: Option<i64>,
}

impl Step {
    fn read(row: &PgRow, request: &AcquireRequest) -> Result<Self, sqlx::Error> {
        match row.try_get("version")? {
            Some(version) => Ok(Self::Granted(Granted { version, lag_us: row.try_get("lag_us")? })),
            None => Ok(Self::of(State::read(row)?.as_ref(), request)),
        }
    }

    fn of(state: Option<&State>, request: &AcquireRequest) -> Self {
        state.and_then(|state| state.answer(request)).map_or(Self::Again, Self::Refused)
    }
}

fn check_ttl(ttl: Duration) -> Result<()> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Ok(());
    }
    let message = format!("a ttl is between {MIN_TTL:?} and {MAX_TTL:?} here, this one is {ttl:?}");
    Err(here(ErrorKind::Invalid, Acquire::NAME, message))
}
