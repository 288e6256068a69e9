//! Many requests at once, each of which fails by itself (L7).

use std::future::Future;

use lease_core::{AcquireRequest, ErrorKind, LeaseName, ReleaseRequest, RenewRequest, Result};
use sqlx::{Row, postgres::PgRow};

use crate::{
    connections::Failure,
    error::{class_of, here},
    statements::{LOCK_TIMEOUT, LOCK_TIMEOUT_ALONE},
    store::Inner,
};

/// An operation of the store that takes many requests.
pub(crate) trait Operation: Sync {
    const NAME: &'static str;
    type Request: Named + Sync;
    type Answer: Send;

    /// The plain form.
    fn one(&self, request: &Self::Request, patience: Patience) -> impl Future<Output = Result<Self::Answer>> + Send;

    /// One statement for all. Those without an answer are asked again, one by one.
    fn many(&self, requests: &[&Self::Request]) -> impl Future<Output = Result<Answers<Self::Answer>, Failure>> + Send;
}

/// How long a request that goes by itself waits for a row that somebody else has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Nobody waits for it but its caller. A row that many contend for is hardly ever without a lock, and its owner must get it.
    Alone,
    /// Others wait behind it.
    InTurn,
}

impl Patience {
    pub(crate) fn lock_timeout(self) -> &'static str {
        match self {
            Self::Alone => LOCK_TIMEOUT_ALONE,
            Self::InTurn => LOCK_TIMEOUT,
        }
    }
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
        [request] => vec![operation.one(request, Patience::Alone).await],
        _ => perform_many(operation, store, requests).await,
    }
}

async fn perform_many<O: Operation>(operation: &O, store: &Inner, requests: &[O::Request]) -> Vec<Result<O::Answer>> {
    let mut answers: Vec<Option<Result<O::Answer>>> = requests.iter().map(|_| None).collect();
    let mut groups: Vec<Vec<usize>> = vec![(0..requests.len()).collect()];
    while let Some(group) = groups.pop() {
        if let [at] = group[..] {
            answers[at] = Some(operation.one(&requests[at], Patience::InTurn).await);
            continue;
        }
        let failure = match operation.many(&pick(requests, &group)).await {
            Ok(answered) => {
                for (place, answer) in answered {
                    answers[group[place]] = Some(answer);
                }
                continue;
            }
            Err(failure) => failure,
        };
        // Nothing of the group was done.
        let outcome = if failure.is_locked() {
            leave_out_locked::<O>(store, requests, group, &failure, &mut answers, &mut groups).await
        } else if is_about_data(&failure) {
            // One of them is to blame; the others must not suffer.
            let (one, other) = group.split_at(group.len() / 2);
            groups.extend([one.to_vec(), other.to_vec()]);
            Ok(())
        } else {
            Err(failure)
        };
        if let Err(failure) = outcome {
            let error = store.error(O::NAME, failure);
            return answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(error.clone()))).collect();
        }
    }
    let mut complete = Vec::with_capacity(requests.len());
    for (request, answer) in requests.iter().zip(answers) {
        complete.push(match answer {
            Some(answer) => answer,
            None => operation.one(request, Patience::InTurn).await,
        });
    }
    complete
}

/// Answers those of a group whose rows somebody else has locked, and queues the others again. Where no lock is to be seen,
/// somebody has a new row that is not committed: then each waits for itself, rather than all again and again.
async fn leave_out_locked<O: Operation>(
    store: &Inner,
    requests: &[O::Request],
    group: Vec<usize>,
    failure: &Failure,
    answers: &mut [Option<Result<O::Answer>>],
    groups: &mut Vec<Vec<usize>>,
) -> Result<(), Failure> {
    let names: Vec<_> = group.iter().map(|at| requests[*at].name().as_str()).collect();
    let locked = store.locked(&names).await?;
    for place in &locked {
        let message = format!("the lease {} is locked by another transaction", names[*place]);
        answers[group[*place]] = Some(Err(here(ErrorKind::Unavailable, O::NAME, message)));
    }
    let free: Vec<usize> = group.into_iter().filter(|at| answers[*at].is_none()).collect();
    if locked.is_empty() && failure.is_out_of_time() {
        // Too much for one statement.
        let (one, other) = free.split_at(free.len() / 2);
        groups.extend([one.to_vec(), other.to_vec()]);
    } else if locked.is_empty() {
        groups.extend(free.into_iter().map(|at| vec![at]));
    } else if !free.is_empty() {
        groups.push(free);
    }
    Ok(())
}

/// Where a row's request is among those that the statement was given.
pub(crate) fn place(row: &PgRow) -> Result<usize, Failure> {
    let position: i64 = row.try_get("position").map_err(Failure::unreadable)?;
    // Counted from 1 by the server.
    usize::try_from(position - 1).map_err(|error| Failure::unreadable(sqlx::Error::Decode(error.into())))
}

fn pick<'a, R>(requests: &'a [R], places: &[usize]) -> Vec<&'a R> {
    places.iter().map(|at| &requests[*at]).collect()
}

/// A value, a constraint, or a trigger of other software: the class of the error says that data is meant, not the connection or the
/// table.
fn is_about_data(failure: &Failure) -> bool {
    let code = failure.sqlstate().unwrap_or_default();
    matches!(class_of(&code), "09" | "22" | "23" | "27" | "38" | "39" | "44" | "P0")
}
