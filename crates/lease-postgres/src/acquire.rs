//! Getting leases.

use std::time::Duration;

use lease_core::{AcquireRequest, Acquired, ErrorKind, Grant, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{
    batch::{Answers, Operation, place},
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

    async fn one(&self, request: &AcquireRequest) -> Result<Acquired> {
        check_ttl(request.ttl)?;
        for _ in 0..ATTEMPTS {
            let answer = self.attempt(request).await.map_err(|failure| self.0.error(Self::NAME, failure))?;
            match answer {
                Step::Granted(granted) => return self.confirm(granted, request).await,
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
        let query = sqlx::query(self.0.statements().acquire_many.clone())
            .bind(fit.iter().map(|request| request.name.as_str()).collect::<Vec<_>>())
            .bind(fit.iter().map(|request| request.holder.as_str()).collect::<Vec<_>>())
            .bind(fit.iter().map(|request| uuid(request.grant)).collect::<Vec<_>>())
            .bind(fit.iter().map(|request| in_microseconds(request.ttl)).collect::<Vec<_>>())
            .bind(fit.iter().map(|request| metadata_text(&request.metadata)).collect::<Vec<_>>())
            .bind(fit.iter().map(|request| request.announce && self.0.notifies()).collect::<Vec<_>>())
            .bind(fit.iter().map(|request| request.look_first).collect::<Vec<_>>());
        let rows = self.0.connections().run(Access::Write, query).await?;
        let mut answers = Vec::with_capacity(requests.len());
        for row in rows {
            let at = place(&row)?;
            match Step::read(&row, fit[at]).map_err(Failure::unreadable)? {
                Step::Granted(granted) => answers.push((places[at], self.confirm(granted, fit[at]).await)),
                Step::Refused(answer) => answers.push((places[at], Ok(answer))),
                Step::Again => {}
            }
        }
        Ok(answers)
    }
}

impl Acquire<'_> {
    async fn attempt(&self, request: &AcquireRequest) -> Result<Step, Failure> {
        let statements = self.0.statements();
        let text = if request.look_first { &statements.acquire_one_look_first } else { &statements.acquire_one };
        let query = sqlx::query(text.clone())
            .bind(request.name.as_str())
            .bind(request.holder.as_str())
            .bind(uuid(request.grant))
            .bind(in_microseconds(request.ttl))
            .bind(metadata_text(&request.metadata))
            .bind(request.announce && self.0.notifies());
        match self.0.connections().run(Access::Write, query).await {
            Ok(rows) => match rows.first() {
                Some(row) => Step::read(row, request).map_err(Failure::unreadable),
                None => self.look(request).await,
            },
            // Somebody has the row locked. If it is held anyway, that is the answer; else it is not known who will have it.
            Err(failure) if failure.sqlstate().as_deref() == Some("55P03") => match self.look(request).await? {
                Step::Again => Err(failure),
                answered => Ok(answered),
            },
            Err(failure) => Err(failure),
        }
    }

    async fn look(&self, request: &AcquireRequest) -> Result<Step, Failure> {
        Ok(Step::of(self.0.look(&request.name).await?.as_ref(), request))
    }

    /// A grant, with a token that is surely above all before (S9).
    async fn confirm(&self, granted: Granted, request: &AcquireRequest) -> Result<Acquired> {
        let version = match granted.lag_us {
            Some(lag) if lag > OLD_TOKEN_US => match self.raise(request).await? {
                Some(version) => version,
                // It is over already.
                None => return Ok(Acquired::Spent),
            },
            _ => granted.version,
        };
        let token = token_from(version).map_err(|error| self.0.error(Self::NAME, Failure::unreadable(error)))?;
        // The expiry was counted from a moment after the call began, so at least the ttl is left, counted from then (S1).
        Ok(Acquired::Granted(Grant { token, remaining: request.ttl, handle: token.get() }))
    }

    async fn raise(&self, request: &AcquireRequest) -> Result<Option<i64>> {
        let query = sqlx::query(self.0.statements().raise.clone())
            .bind(request.name.as_str())
            .bind(request.holder.as_str())
            .bind(uuid(request.grant));
        let rows =
            self.0.connections().run(Access::Write, query).await.and_then(|rows| {
                rows.first().map(|row| row.try_get("version").map_err(Failure::unreadable)).transpose()
            });
        // Whatever went wrong, the grant itself is there.
        rows.map_err(|failure| {
            let message = format!("the token of {} could not be made sure of", request.name);
            here(ErrorKind::Indeterminate, Self::NAME, message).with_source(failure.source)
        })
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
