//! Many requests at once, each of which fails by itself (L7).

use std::future::Future;

use lease_core::{AcquireRequest, ErrorKind, LeaseName, ReleaseRequest, RenewRequest, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{connections::Failure, error::here, store::Inner};

/// An operation of the store that takes many requests.
pub(crate) trait Operation: Sync {
    const NAME: &'static str;
    type Request: Named + Sync;
    type Answer: Send;

    /// The plain form.
    fn one(&self, request: &Self::Request) -> impl Future<Output = Result<Self::Answer>> + Send;

    /// One statement for all. Those without an answer are asked again, one by one.
    fn many(&self, requests: &[&Self::Request]) -> impl Future<Output = Result<Answers<Self::Answer>, Failure>> + Send;
}

/// What a statement answered to the request at each place.
pub(crate) type Answers<A> = Vec<(usize, Result<A>)>;

pub(crate) trait Named {
    fn name(&self) -> &LeaseName;
}

impl Named for AcquireRequest {
    fn name(&self) -> &LeaseName {
        &self.name
    }
}

impl Named for RenewRequest {
    fn name(&self) -> &LeaseName {
        &self.claim.name
    }
}

impl Named for ReleaseRequest {
    fn name(&self) -> &LeaseName {
        &self.claim.name
    }
}

/// Answers each request, in order.
pub(crate) async fn perform<O: Operation>(
    operation: &O,
    store: &Inner,
    requests: &[O::Request],
) -> Vec<Result<O::Answer>> {
    match requests {
        [] => Vec::new(),
        [request] => vec![operation.one(request).await],
        _ => perform_many(operation, store, requests).await,
    }
}

async fn perform_many<O: Operation>(operation: &O, store: &Inner, requests: &[O::Request]) -> Vec<Result<O::Answer>> {
    let mut slots = Slots(requests.iter().map(|_| None).collect());
    let mut open: Vec<usize> = (0..requests.len()).collect();
    let mut outcome = operation.many(&pick(requests, &open)).await;
    if outcome.as_ref().is_err_and(is_locked) {
        // Nothing was done. The rows that somebody else has locked are left out, and the others tried again.
        let names: Vec<_> = requests.iter().map(|request| request.name().as_str()).collect();
        match store.locked(&names).await {
            Ok(locked) => {
                for at in locked {
                    let message = format!("the lease {} is locked by another transaction", names[at]);
                    slots.0[at] = Some(Err(here(ErrorKind::Unavailable, O::NAME, message)));
                }
                open = slots.open();
                outcome = if open.is_empty() { Ok(Vec::new()) } else { operation.many(&pick(requests, &open)).await };
            }
            Err(failure) => outcome = Err(failure),
        }
    }
    match outcome {
        Ok(answers) => {
            for (place, answer) in answers {
                slots.0[open[place]] = Some(answer);
            }
        }
        // One of them is to blame, or is locked in a way that cannot be seen: the others must not suffer.
        Err(failure) if is_locked(&failure) || is_about_data(&failure) => {}
        Err(failure) => {
            let error = store.error(O::NAME, failure);
            return slots.0.into_iter().map(|slot| slot.unwrap_or_else(|| Err(error.clone()))).collect();
        }
    }
    let mut answers = Vec::with_capacity(requests.len());
    for (request, slot) in requests.iter().zip(slots.0) {
        answers.push(match slot {
            Some(answer) => answer,
            None => operation.one(request).await,
        });
    }
    answers
}

/// Where a row's request is among those that the statement was given.
pub(crate) fn place(row: &PgRow) -> Result<usize, Failure> {
    let position: i64 = row.try_get("position").map_err(Failure::unreadable)?;
    // Counted from 1 by the server.
    usize::try_from(position - 1).map_err(|error| Failure::unreadable(sqlx::Error::Decode(error.into())))
}

struct Slots<A>(Vec<Option<Result<A>>>);

impl<A> Slots<A> {
    fn open(&self) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, slot)| slot.is_none()).map(|(at, _)| at).collect()
    }
}

fn pick<'a, R>(requests: &'a [R], places: &[usize]) -> Vec<&'a R> {
    places.iter().map(|at| &requests[*at]).collect()
}

fn is_locked(failure: &Failure) -> bool {
    failure.sqlstate().as_deref() == Some("55P03")
}

/// A value or a constraint: the class of the error says that data is meant, not the connection or the table.
fn is_about_data(failure: &Failure) -> bool {
    failure.sqlstate().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
