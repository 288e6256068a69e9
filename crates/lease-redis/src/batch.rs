//! Many requests at once, each of which fails by itself (L7).

use std::collections::BTreeMap;

use fred::prelude::Value;
use futures::future::join_all;
use lease_core::{ErrorKind, LeaseName, Result};

use crate::{
    answer::Answer,
    call::{Access, Answered, Asked, Confirmed},
    error::{here, is_try_again, said_by_server},
    keys::slot,
    scripts::Script,
    store::Inner,
};

/// The most names in one call of a script: a server does nothing else meanwhile.
const LARGEST_SCRIPT: usize = 256;

/// An operation that takes many requests.
pub(crate) trait Operation: Sync {
    const NAME: &'static str;
    const ACCESS: Access = Access::Write;
    /// Whether something new may be had by it.
    const GRANTS: bool = false;
    /// Whether replicas must have it, where that is asked for.
    const IS_CONFIRMED: bool = false;
    type Request: Sync;
    type Answer: Send;

    fn script<'a>(&self, store: &'a Inner) -> &'a Script;

    fn name<'a>(&self, request: &'a Self::Request) -> &'a LeaseName;

    /// Whether it can be asked at all.
    fn check(&self, _store: &Inner, _request: &Self::Request) -> Result<()> {
        Ok(())
    }

    /// What many requests say alike, always so many words. Goes only once where they do.
    fn said_of_all(&self, request: &Self::Request, into: &mut Vec<Value>);

    /// What only this one says, if anything.
    fn word(&self, request: &Self::Request) -> Option<Value>;

    /// What an answer means; nothing when it means nothing.
    fn read(&self, request: &Self::Request, answer: &Answer) -> Option<Self::Answer>;

    /// Whether there was nothing to do, perhaps because it was done when it was asked for the first time.
    fn may_be_own_doing(_answer: &Answer, _asked: Asked) -> bool {
        false
    }

    /// Whether it was done, and those who wait could not be told.
    fn is_in_silence(_answer: &Answer) -> bool {
        false
    }

    /// What becomes of answers that too few replicas have.
    fn unconfirmed(
        &self,
        _store: &Inner,
        _requests: &[&Self::Request],
        answers: Vec<Result<Self::Answer>>,
        _confirmed: &Confirmed,
    ) -> impl Future<Output = Vec<Result<Self::Answer>>> + Send {
        async { answers }
    }
}

/// Answers each request, in order.
pub(crate) async fn perform<O: Operation>(
    operation: &O,
    store: &Inner,
    requests: &[O::Request],
) -> Vec<Result<O::Answer>> {
    let mut slots: Vec<Option<Result<O::Answer>>> =
        requests.iter().map(|request| operation.check(store, request).err().map(Err)).collect();
    let open: Vec<usize> = (0..requests.len()).filter(|&at| slots[at].is_none()).collect();
    let groups = group(operation, store, requests, open);
    let outcomes = join_all(groups.iter().map(|(slot, places)| {
        let together: Vec<&O::Request> = places.iter().map(|&at| &requests[at]).collect();
        async move { perform_together(operation, store, *slot, &together).await }
    }))
    .await;
    for ((_, places), answers) in groups.iter().zip(outcomes) {
        for (&at, answer) in places.iter().zip(answers) {
            slots[at] = Some(answer);
        }
    }
    let missing = || Err(here(ErrorKind::Internal, O::NAME, "there was no answer"));
    slots.into_iter().map(|slot| slot.unwrap_or_else(missing)).collect()
}

/// Which requests go together: all of them, and in Cluster those whose keys share a slot, which are few.
fn group<O: Operation>(
    operation: &O,
    store: &Inner,
    requests: &[O::Request],
    open: Vec<usize>,
) -> Vec<(Option<u16>, Vec<usize>)> {
    let shared: Vec<(Option<u16>, Vec<usize>)> = if store.connections().cluster().is_some() {
        let mut by_slot: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for at in open {
            by_slot.entry(slot(&store.keys().key(operation.name(&requests[at])))).or_default().push(at);
        }
        by_slot.into_iter().map(|(slot, places)| (Some(slot), places)).collect()
    } else {
        vec![(None, open)]
    };
    let chunks = shared.iter().flat_map(|(slot, places)| places.chunks(LARGEST_SCRIPT).map(|chunk| (*slot, chunk)));
    chunks.map(|(slot, chunk)| (slot, chunk.to_vec())).collect()
}

/// What a script is told besides the keys; `each` of lease.lua reads it.
fn arguments<O: Operation>(operation: &O, store: &Inner, requests: &[&O::Request]) -> Vec<Value> {
    let mut said = Vec::new();
    requests.iter().for_each(|request| operation.said_of_all(request, &mut said));
    let words = requests.iter().map(|request| operation.word(request));
    let said_by_one = said.len() / requests.len().max(1);
    let mut arguments = Vec::with_capacity(1 + said.len() + requests.len());
    arguments.push(store.retention());
    if said.iter().zip(&said[said_by_one..]).all(|(one, next)| one == next) {
        said.truncate(said_by_one);
        arguments.append(&mut said);
        arguments.extend(words.flatten());
    } else {
        let mut said = said.into_iter();
        for word in words {
            arguments.extend(said.by_ref().take(said_by_one));
            arguments.extend(word);
        }
    }
    arguments
}

/// One call of the script. While a slot moves, some of its keys may have moved and some not: then there is one for each.
async fn perform_together<O: Operation>(
    operation: &O,
    store: &Inner,
    slot: Option<u16>,
    requests: &[&O::Request],
) -> Vec<Result<O::Answer>> {
    let words = || {
        let keys = requests.iter().map(|request| store.keys().key(operation.name(request))).collect();
        (keys, arguments(operation, store, requests))
    };
    if let Err(error) = store.preflight().before_a_call(O::GRANTS).await {
        return requests.iter().map(|_| Err(error.clone())).collect();
    }
    let wait = store.wait_replicas().filter(|_| O::IS_CONFIRMED);
    let outcome = store.connections().run(slot, operation.script(store), O::ACCESS, words, wait).await;
    let Answered { values, asked, confirmed } = match outcome {
        Ok(answered) => answered,
        Err(failure) if requests.len() > 1 && is_try_again(&failure.source) => {
            let alone = requests.chunks(1).map(|alone| Box::pin(perform_together(operation, store, slot, alone)));
            return join_all(alone).await.into_iter().flatten().collect();
        }
        Err(failure) => {
            let error = store.error(O::NAME, failure);
            return requests.iter().map(|_| Err(error.clone())).collect();
        }
    };
    let place = store.connections().place();
    let answers = Answer::read_all(values).filter(|answers| answers.len() == requests.len());
    let Some(answers) = answers else {
        // It may have been done.
        let error = here(ErrorKind::Indeterminate, O::NAME, format!("the answer of {place} could not be read"));
        return requests.iter().map(|_| Err(error.clone())).collect();
    };
    let answers = requests.iter().zip(&answers).map(|(request, answer)| {
        if answer.kind() == "error" {
            store.connections().notice(answer.word(1));
            return Err(said_by_server(O::NAME, place, answer.word(1)));
        }
        let unreadable = || {
            let message = format!("the answer of {place} could not be read: {:?}", answer.kind());
            here(ErrorKind::Indeterminate, O::NAME, message)
        };
        if O::may_be_own_doing(answer, asked) {
            let message = format!("{place} answered with an error, and then that there was nothing to do any more");
            return Err(here(ErrorKind::Indeterminate, O::NAME, message));
        }
        if O::is_in_silence(answer) {
            store.hints_are_refused();
        }
        operation.read(request, answer).ok_or_else(unreadable)
    });
    let answers = answers.collect();
    match (wait, confirmed) {
        (Some(wait), Some(confirmed)) if confirmed.replicas < wait.count => {
            operation.unconfirmed(store, requests, answers, &confirmed).await
        }
        _ => answers,
    }
}
