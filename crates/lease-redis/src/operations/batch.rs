//! Runs one operation for many requests, each of which fails by itself (L7).

use std::collections::BTreeMap;

use fred::prelude::Value;
use futures::future::join_all;
use lease_core::{ErrorKind, LeaseName, Result};

use super::answer::Answer;
use crate::{
    connections::{Answered, Attempts, CallOptions, Confirmed},
    error::redis_error,
    failure::Access,
    keys::slot,
    reply::{is_try_again, reply_error},
    scripts::Script,
    shared::Shared,
};

/// The largest number of keys in one call of a script. The server executes nothing else meanwhile.
const MAX_KEYS: usize = 256;

/// An operation that takes many requests.
pub(crate) trait Operation: Sync {
    const NAME: &'static str;
    const ACCESS: Access = Access::Write;
    /// Whether it may grant a lease.
    const GRANTS: bool = false;
    /// Whether replicas must confirm it, if [`wait_replicas`](crate::RedisStoreOptions::wait_replicas) is set.
    const IS_CONFIRMED: bool = false;
    type Request: Sync;
    type Answer: Send;

    fn script<'a>(&self, shared: &'a Shared) -> &'a Script;

    fn name<'a>(&self, request: &'a Self::Request) -> &'a LeaseName;

    /// Checks a request before anything is sent.
    fn check(&self, _shared: &Shared, _request: &Self::Request) -> Result<()> {
        Ok(())
    }

    /// Appends the arguments that are often the same for many requests. Their number is the same for each request. They are sent
    /// once if they are equal.
    fn common_arguments(&self, request: &Self::Request, into: &mut Vec<Value>);

    /// Returns the argument that is different for each request, if there is one.
    fn own_argument(&self, request: &Self::Request) -> Option<Value>;

    /// Parses the answer to a request. Returns `None` if the answer has no meaning.
    fn parse(&self, request: &Self::Request, answer: &Answer) -> Option<Self::Answer>;

    /// Returns whether the answer says that there was nothing to do, and an earlier attempt of this call may be the reason.
    fn may_be_own_effect(_answer: &Answer, _attempts: Attempts) -> bool {
        false
    }

    /// Returns whether the operation was done, but the server has refused to publish the hint.
    fn was_hint_refused(_answer: &Answer) -> bool {
        false
    }

    /// Replaces the answers that too few replicas have confirmed.
    fn unconfirmed(
        &self,
        _shared: &Shared,
        _requests: &[&Self::Request],
        answers: Vec<Result<Self::Answer>>,
        _confirmed: &Confirmed,
    ) -> impl Future<Output = Vec<Result<Self::Answer>>> + Send {
        async { answers }
    }
}

/// Performs an operation. Returns the answers in the order of the requests.
pub(crate) async fn perform<O: Operation>(
    operation: &O,
    shared: &Shared,
    requests: &[O::Request],
) -> Vec<Result<O::Answer>> {
    let mut results: Vec<Option<Result<O::Answer>>> =
        requests.iter().map(|request| operation.check(shared, request).err().map(Err)).collect();
    let valid: Vec<usize> = (0..requests.len()).filter(|&at| results[at].is_none()).collect();
    let calls = group(operation, shared, requests, valid);
    let outcomes = join_all(calls.iter().map(|(slot, positions)| {
        let together: Vec<&O::Request> = positions.iter().map(|&at| &requests[at]).collect();
        async move { perform_together(operation, shared, *slot, &together).await }
    }))
    .await;
    for ((_, positions), answers) in calls.iter().zip(outcomes) {
        for (&at, answer) in positions.iter().zip(answers) {
            results[at] = Some(answer);
        }
    }
    let missing = || Err(redis_error(ErrorKind::Internal, O::NAME, "the answer is missing"));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

/// Groups requests, by their positions, into calls: a Cluster needs a call for each slot, and a call has a largest number of
/// keys.
fn group<O: Operation>(
    operation: &O,
    shared: &Shared,
    requests: &[O::Request],
    valid: Vec<usize>,
) -> Vec<(Option<u16>, Vec<usize>)> {
    let groups: Vec<(Option<u16>, Vec<usize>)> = if shared.connections().is_cluster() {
        let mut by_slot: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for at in valid {
            by_slot.entry(slot(&shared.keys().key(operation.name(&requests[at])))).or_default().push(at);
        }
        by_slot.into_iter().map(|(slot, positions)| (Some(slot), positions)).collect()
    } else {
        vec![(None, valid)]
    };
    let chunks = groups.iter().flat_map(|(slot, positions)| positions.chunks(MAX_KEYS).map(|chunk| (*slot, chunk)));
    chunks.map(|(slot, chunk)| (slot, chunk.to_vec())).collect()
}

/// Returns the arguments of a script, which `each` of lease.lua reads.
fn arguments<O: Operation>(operation: &O, shared: &Shared, requests: &[&O::Request]) -> Vec<Value> {
    let mut common = Vec::new();
    requests.iter().for_each(|request| operation.common_arguments(request, &mut common));
    let own = requests.iter().map(|request| operation.own_argument(request));
    let common_of_one = common.len() / requests.len().max(1);
    let mut arguments = Vec::with_capacity(1 + common.len() + requests.len());
    arguments.push(shared.retention());
    if common.iter().zip(&common[common_of_one..]).all(|(one, next)| one == next) {
        common.truncate(common_of_one);
        arguments.append(&mut common);
        arguments.extend(own.flatten());
    } else {
        let mut common = common.into_iter();
        for own in own {
            arguments.extend(common.by_ref().take(common_of_one));
            arguments.extend(own);
        }
    }
    arguments
}

/// Calls the script once; or once for each key, if only some of the keys of a slot have been moved to another server.
async fn perform_together<O: Operation>(
    operation: &O,
    shared: &Shared,
    slot: Option<u16>,
    requests: &[&O::Request],
) -> Vec<Result<O::Answer>> {
    let arguments = || {
        let keys = requests.iter().map(|request| shared.keys().key(operation.name(request))).collect();
        (keys, arguments(operation, shared, requests))
    };
    if let Err(error) = shared.preflight().before_a_call(O::GRANTS).await {
        return requests.iter().map(|_| Err(error.clone())).collect();
    }
    let wait = shared.wait_replicas().filter(|_| O::IS_CONFIRMED);
    let options = CallOptions::new(O::ACCESS, wait);
    let Answered { values, attempts, confirmed } =
        match shared.connections().run(slot, operation.script(shared), options, arguments).await {
            Ok(answered) => answered,
            Err(failure) if requests.len() > 1 && is_try_again(&failure.source) => {
                let one_by_one = requests.chunks(1).map(|one| Box::pin(perform_together(operation, shared, slot, one)));
                return join_all(one_by_one).await.into_iter().flatten().collect();
            }
            Err(failure) => {
                let error = shared.error(O::NAME, failure);
                return requests.iter().map(|_| Err(error.clone())).collect();
            }
        };
    let server = shared.connections().server();
    let unknown = |message| redis_error(ErrorKind::Indeterminate, O::NAME, message);
    let answers = Answer::parse_all(values).filter(|answers| answers.len() == requests.len());
    let Some(answers) = answers else {
        let error = unknown(format!("the answer of {server} could not be parsed: the call may have been executed"));
        return requests.iter().map(|_| Err(error.clone())).collect();
    };
    let answers = requests.iter().zip(&answers).map(|(request, answer)| {
        let name = operation.name(request);
        if answer.kind() == "error" {
            shared.connections().leave_replica_after(answer.field(1));
            return Err(reply_error(O::NAME, server, answer.field(1)));
        }
        if O::may_be_own_effect(answer, attempts) {
            return Err(unknown(format!(
                "{server} answered the call for {name} with an error, and its repetition with \"nothing to do\": the first one \
                 may have been executed"
            )));
        }
        if O::was_hint_refused(answer) {
            shared.warn_of_refused_hint();
        }
        operation.parse(request, answer).ok_or_else(|| {
            let kind = answer.kind();
            unknown(format!("the answer of {server} for {name} could not be parsed ({kind:?}): the call may have been executed"))
        })
    });
    let answers = answers.collect();
    match (wait, confirmed) {
        (Some(wait), Some(confirmed)) if confirmed.replicas < wait.count => {
            operation.unconfirmed(shared, requests, answers, &confirmed).await
        }
        _ => answers,
    }
}
