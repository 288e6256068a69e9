//! The queue of requests of one operation, with similar timeouts, for one part of the store.
//!
//! * A lone request on the client's runtime is a direct call, polled by its caller: no hop through another task.
//! * Under load a short-lived task, the [`Dispatcher`], sends what is queued in batches, the most urgent requests first, until
//!   the queue is empty. Where the store takes several calls at a time, there are several dispatchers. Where it takes one,
//!   [`Pacing`] forms two groups of callers.
//! * Equal questions are sent once: requests for a name that is in the batch already, by the same holder, share its answer if
//!   another holder has the name, and are otherwise sent with the next call.
//! * A dispatcher whose call stalls is not waited for: after [`STALL_THRESHOLD`] another one takes what is queued, up to
//!   [`MAX_DISPATCHERS`] (S24). Every request is given up at its own time, and a call is cut off when all its requests are.
//!   Requests of a call that hung are sent in smaller batches when they are repeated (L7).

mod caller;
mod dispatcher;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use self::{
    caller::{DirectCall, QueuedCaller},
    dispatcher::Dispatcher,
};
use super::{
    Answered, Context, LARGEST_BATCH, Pacing, Request, SpawnOnDrop, catch_panic_async, operation::Operation,
    pacing::Counted,
};
use crate::{Error, ErrorKind, LeaseStore, Moment, Result};

/// The largest number of dispatchers of a queue, including those whose calls have stalled.
const MAX_DISPATCHERS: usize = 8;
/// The queue length from which a second concurrent call is worthwhile.
const SECOND_CALL_FROM: usize = 4;
/// A call that takes longer than this has stalled.
const STALL_THRESHOLD: Duration = Duration::from_millis(50);

pub(super) struct Queue<O: Operation> {
    context: Context,
    state: Mutex<State<O>>,
}

struct State<O: Operation> {
    has_direct_call: bool,
    dispatchers: usize,
    /// How many of the dispatchers have a stalled call.
    stalled: usize,
    items: BTreeMap<Place, Item<O>>,
    arrivals: u64,
}

/// The order of the queue: by the time at which a request is given up, then by arrival.
type Place = (Moment, u64);

struct Item<O: Operation> {
    request: Request<O::Request>,
    on_answer: OnAnswer<O::Answer>,
    /// Equal questions, which may share its answer.
    followers: Vec<(Place, Item<O>)>,
}

/// Called with the answer as soon as it arrives, even if the caller has stopped waiting.
type OnAnswer<A> = Box<dyn FnOnce(Answered<A>) + Send>;

impl<O: Operation> Queue<O> {
    pub(super) fn new(context: Context) -> Self {
        let state = State { has_direct_call: false, dispatchers: 0, stalled: 0, items: BTreeMap::new(), arrivals: 0 };
        Self { context, state: Mutex::new(state) }
    }

    /// Sends a request and waits for its answer, until it is given up. `on_answer` is called with the answer, or with the
    /// error that no call was made, even if the caller has stopped waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not cut off a call in flight: the client's runtime finishes it.
    pub(super) async fn submit(
        self: &Arc<Self>,
        request: Request<O::Request>,
        on_answer: impl FnOnce(&Answered<O::Answer>) + Send + 'static,
    ) -> Answered<O::Answer> {
        let is_current = self.context.runtime.is_current();
        let lease = O::lease(&request.body).clone();
        let place = {
            let mut state = self.lock();
            let is_idle = !state.has_direct_call && state.dispatchers == 0 && state.items.is_empty();
            if is_current && is_idle && !self.is_returning() {
                state.has_direct_call = true;
                None
            } else {
                Some(state.next_place(request.give_up_at))
            }
        };
        let waiting = self.count_waiting();
        let Some(place) = place else {
            let direct = DirectCall::new(self);
            let call = async move {
                let answered = direct.queue().call_one(request).await.of_lease(&lease);
                drop((direct, waiting));
                on_answer(&answered);
                answered
            };
            return SpawnOnDrop::new(call, &self.context.runtime).await;
        };
        let (sender, receiver) = oneshot::channel();
        let name = lease.clone();
        let on_answer = Box::new(move |answered: Answered<O::Answer>| {
            let answered = answered.of_lease(&name);
            on_answer(&answered);
            let _ = sender.send((answered, waiting.map(Counted::answered)));
        });
        self.insert(place, Item { request, on_answer, followers: Vec::new() });
        QueuedCaller::new(self, place).wait(receiver).await.of_lease(&lease)
    }

    /// Queues a request whose answer is passed to `on_answer`.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        request: Request<O::Request>,
        on_answer: impl FnOnce(Answered<O::Answer>) + Send + 'static,
    ) {
        let place = self.lock().next_place(request.give_up_at);
        let waiting = self.count_waiting();
        let lease = O::lease(&request.body).clone();
        let on_answer = Box::new(move |answered: Answered<O::Answer>| {
            drop(waiting);
            on_answer(answered.of_lease(&lease));
        });
        self.insert(place, Item { request, on_answer, followers: Vec::new() });
    }

    fn insert(self: &Arc<Self>, place: Place, item: Item<O>) {
        let mut state = self.lock();
        state.items.insert(place, item);
        let is_urgent = place.0.saturating_since(self.context.clock.now()) < STALL_THRESHOLD * 2;
        if is_urgent {
            self.start_dispatcher(state);
        } else {
            self.start_dispatcher_if_needed(state);
        }
    }

    /// Starts a dispatcher if all others have stalled calls, or if enough requests for one more call are queued.
    fn start_dispatcher_if_needed(self: &Arc<Self>, state: MutexGuard<'_, State<O>>) {
        let responsive = state.dispatchers - state.stalled;
        if responsive == 0 || (responsive < self.context.calls_at_once && state.items.len() >= SECOND_CALL_FROM) {
            self.start_dispatcher(state);
        }
    }

    fn start_dispatcher(self: &Arc<Self>, mut state: MutexGuard<'_, State<O>>) {
        if state.dispatchers < MAX_DISPATCHERS && !state.items.is_empty() {
            state.dispatchers += 1;
            drop(state);
            self.context.runtime.spawn(Dispatcher::new(self).run());
        }
    }

    async fn call_one(&self, request: Request<O::Request>) -> Answered<O::Answer> {
        let Called { sent, mut results, hung } = self.call(&[request.body], request.give_up_at).await;
        let result = results.pop().unwrap_or_else(|| Err(self.error(ErrorKind::Internal, "no answer")));
        Answered { sent, result, hung }
    }

    /// Calls the store. Returns one result per request, whatever the store does.
    async fn call(&self, requests: &[O::Request], give_up_at: Moment) -> Called<O::Answer> {
        let sent = self.context.clock.now();
        self.context.contact.called(sent);
        let all = |error: Error| requests.iter().map(|_| Err(error.clone())).collect();
        tokio::select! {
            biased;
            outcome = catch_panic_async(O::NAME, async { O::call(&*self.context.store, requests).await }) => {
                let asked = requests.len();
                let results = match outcome {
                    Ok(results) if results.len() == asked => results,
                    Ok(results) => {
                        let message = format!("{} answers to {asked} requests", results.len());
                        all(self.error(ErrorKind::Internal, message))
                    }
                    Err(panic) => all(self.error(ErrorKind::Internal, panic)),
                };
                self.context.contact.returned(&results);
                Called { sent, results, hung: false }
            }
            // Within a future of its own: a call that is answered at once needs no timer.
            () = async { self.context.clock.sleep_until(give_up_at).await } => {
                Called { sent, results: all(self.no_answer(sent)), hung: true }
            }
        }
    }

    /// Passes on the answer of an item. Its followers share the answer if it is theirs, too; otherwise they are queued again.
    fn finish(&self, item: Item<O>, answered: Answered<O::Answer>) {
        let Item { on_answer, followers, .. } = item;
        let for_all = answered.result.as_ref().ok().filter(|answer| O::is_for_all(answer)).cloned();
        let Answered { sent, hung, .. } = answered;
        on_answer(answered);
        match for_all {
            Some(answer) => {
                for (_, follower) in followers {
                    (follower.on_answer)(Answered { sent, result: Ok(answer.clone()), hung });
                }
            }
            None => self.lock().items.extend(followers),
        }
    }

    fn count_waiting(&self) -> Option<Counted> {
        self.context.pacing.as_ref().map(Pacing::waiting)
    }

    fn is_returning(&self) -> bool {
        self.context.pacing.as_ref().is_some_and(|pacing| pacing.is_returning())
    }

    fn no_answer(&self, since: Moment) -> Error {
        let waited = self.context.clock.now().saturating_since(since);
        self.error(ErrorKind::Indeterminate, format!("no answer within {waited:?}"))
    }

    fn never_sent(&self) -> Answered<O::Answer> {
        let error = self.error(
            ErrorKind::Unavailable,
            "the request was not sent, because too little time was left: earlier calls are still in flight, or the \
             client's runtime is blocked",
        );
        Answered { sent: self.context.clock.now(), result: Err(error), hung: false }
    }

    fn runtime_ended(&self) -> Answered<O::Answer> {
        Answered { sent: self.context.clock.now(), result: Err(Error::runtime_ended(O::NAME)), hung: false }
    }

    fn error(&self, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(kind, O::NAME, message).in_store(self.context.store.capabilities().store)
    }

    fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of a store call.
struct Called<A> {
    sent: Moment,
    results: Vec<Result<A>>,
    hung: bool,
}

impl<O: Operation> State<O> {
    fn next_place(&mut self, give_up_at: Moment) -> Place {
        self.arrivals += 1;
        (give_up_at, self.arrivals)
    }

    /// Takes the next batch: the most urgent requests, each name once, within the limit of the store and of each of them.
    fn take_batch(&mut self, context: &Context) -> Vec<(Place, Item<O>)> {
        let queued = self.items.len();
        let largest = context.largest_call.clamp(1, LARGEST_BATCH);
        let mut limit = context.pacing.as_ref().map_or(queued, |pacing| pacing.share(queued)).min(largest);
        let mut batch = Vec::with_capacity(queued.min(limit));
        if queued == 1 {
            batch.extend(self.items.pop_first());
            return batch;
        }
        let mut names = HashMap::with_capacity(batch.capacity());
        let mut left = Vec::new();
        while batch.len() < limit {
            let Some((place, item)) = self.items.pop_first() else { break };
            let fits = batch.len() < item.request.batch_limit;
            match names.entry(O::lease(&item.request.body).clone()) {
                Entry::Vacant(name) if fits => {
                    name.insert(batch.len());
                    limit = limit.min(item.request.batch_limit);
                    batch.push((place, item));
                }
                Entry::Occupied(leader) if item.request.is_first => {
                    let (_, leader): &mut (Place, Item<O>) = &mut batch[*leader.get()];
                    if O::is_same_question(&leader.request.body, &item.request.body) {
                        leader.followers.push((place, item));
                    } else {
                        left.push((place, item));
                    }
                }
                _ => left.push((place, item)),
            }
        }
        self.items.extend(left);
        batch
    }
}

impl<O: Operation> fmt::Debug for Queue<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Queue")
            .field("operation", &O::NAME)
            .field("dispatchers", &state.dispatchers)
            .field("queued", &state.items.len())
            .finish_non_exhaustive()
    }
}
