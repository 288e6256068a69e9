//! Many requests in one call, each of which fails by itself (L7).

use lease_core::{AcquireRequest, Error, ErrorKind, LeaseName, ReleaseRequest, RenewRequest, Result};

use crate::{error::store_error, failure::Failure};

/// An operation of the store that takes many requests.
pub(crate) trait Operation: Sync {
    const NAME: &'static str;
    type Request: Named + Sync;
    type Answer: Send;

    /// Answers one request, with the plain statement.
    fn one(&self, request: &Self::Request, wait: LockWait) -> impl Future<Output = Result<Self::Answer>> + Send;

    /// Answers many requests with one statement. Requests without an answer are repeated one by one.
    fn many(&self, requests: &[&Self::Request]) -> impl Future<Output = Result<Answers<Self::Answer>, Failure>> + Send;
}

/// How long a statement of one request waits for a row that another transaction has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockWait {
    /// No other request waits for it. A contended row is nearly always locked, and its owner must be able to renew and release it.
    Long,
    /// Other requests of the batch wait for it.
    Short,
}

/// Answers with the index of their request.
pub(crate) type Answers<A> = Vec<(usize, Result<A>)>;

/// A request for a lease.
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

/// The part of a store that a batch uses.
pub(crate) trait Rows: Sync {
    /// Returns the indexes of those names whose rows other transactions have locked.
    fn locked(&self, names: &[&str]) -> impl Future<Output = Result<Vec<usize>, Failure>> + Send;

    /// Returns the error for a failed call.
    fn error(&self, operation: &'static str, failure: Failure) -> Error;
}

/// Answers each request, in order.
pub(crate) async fn perform<O: Operation>(
    operation: &O,
    rows: &impl Rows,
    requests: &[O::Request],
) -> Vec<Result<O::Answer>> {
    match requests {
        [] => Vec::new(),
        [request] => vec![operation.one(request, LockWait::Long).await],
        _ => perform_many(operation, rows, requests).await,
    }
}

async fn perform_many<O: Operation>(
    operation: &O,
    rows: &impl Rows,
    requests: &[O::Request],
) -> Vec<Result<O::Answer>> {
    let mut answers: Vec<Option<Result<O::Answer>>> = requests.iter().map(|_| None).collect();
    let mut groups: Vec<Vec<usize>> = vec![(0..requests.len()).collect()];
    while let Some(group) = groups.pop() {
        if let [at] = group[..] {
            answers[at] = Some(operation.one(&requests[at], LockWait::Short).await);
            continue;
        }
        let failure = match operation.many(&pick(requests, &group)).await {
            Ok(answered) => {
                for (index, answer) in answered {
                    answers[group[index]] = Some(answer);
                }
                continue;
            }
            Err(failure) => failure,
        };
        // Nothing was done for any request of the group.
        let outcome = if failure.is_locked() {
            leave_out_locked::<O>(rows, requests, group, &failure, &mut answers, &mut groups).await
        } else if failure.is_about_data() {
            // One request is at fault; the others must not fail with it.
            groups.extend(halves(&group));
            Ok(())
        } else {
            Err(failure)
        };
        if let Err(failure) = outcome {
            let error = rows.error(O::NAME, failure);
            return answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(error.clone()))).collect();
        }
    }
    let mut complete = Vec::with_capacity(requests.len());
    for (request, answer) in requests.iter().zip(answers) {
        complete.push(match answer {
            Some(answer) => answer,
            None => operation.one(request, LockWait::Short).await,
        });
    }
    complete
}

/// Answers the requests of a group whose rows other transactions have locked, and queues the others again. If no row is locked,
/// another transaction has inserted a row and not committed yet: each request then waits by itself, instead of all again and
/// again.
async fn leave_out_locked<O: Operation>(
    rows: &impl Rows,
    requests: &[O::Request],
    group: Vec<usize>,
    failure: &Failure,
    answers: &mut [Option<Result<O::Answer>>],
    groups: &mut Vec<Vec<usize>>,
) -> Result<(), Failure> {
    let names: Vec<_> = group.iter().map(|at| requests[*at].name().as_str()).collect();
    let locked = rows.locked(&names).await?;
    for index in &locked {
        let message = format!("the row of {} is locked by another transaction", names[*index]);
        answers[group[*index]] = Some(Err(store_error(ErrorKind::Unavailable, O::NAME, message)));
    }
    let free: Vec<usize> = group.into_iter().filter(|at| answers[*at].is_none()).collect();
    if locked.is_empty() && failure.is_out_of_time() {
        // Too many requests for one statement.
        groups.extend(halves(&free));
    } else if locked.is_empty() {
        groups.extend(free.into_iter().map(|at| vec![at]));
    } else if !free.is_empty() {
        groups.push(free);
    }
    Ok(())
}

fn halves(group: &[usize]) -> [Vec<usize>; 2] {
    let (one, other) = group.split_at(group.len() / 2);
    [one.to_vec(), other.to_vec()]
}

fn pick<'a, R>(requests: &'a [R], indexes: &[usize]) -> Vec<&'a R> {
    indexes.iter().map(|at| &requests[*at]).collect()
}
