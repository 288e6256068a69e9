//! Natural batches: an operation goes to the store at once while nothing is under way; what arrives in the meantime goes
//! together in the next call.
//!
//! * Alone, and on the client's runtime, the caller itself polls the call: no hop through another task. Dropping the caller
//!   moves the unfinished call to the runtime, which finishes it (S15).
//! * Under load a short-lived task, the courier, takes what is queued, up to [`LARGEST_BATCH`], most urgent first, and
//!   brings it to the store until nothing is left. Where the store takes several calls at a time, several couriers do;
//!   where it takes one, they see to it that there are two groups to work for: the [`Crowd`].
//! * What is the same question goes once: those who try for a name that is in the call already, as the same holder, are
//!   answered with it if somebody else has the name, and otherwise ask in the next call.
//! * Requests whose timeouts are alike go together: the [`Lanes`].
//! * A courier whose call does not come back is not waited for: after a moment of patience another one takes what is
//!   queued, up to [`MOST_COURIERS`] in each lane (S24). Every item gives up by its own time, and a call is cut when all its items have.
//!   Items that were in a call that hung go in smaller company when they are sent again (L7).
//! * A batch that fails as a whole for a reason that lies in one of its items is halved and tried again (L7).

mod caller;
mod caught;
mod courier;
mod crowd;
mod lanes;
mod operation;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

pub(crate) use self::{
    caller::Owned,
    caught::{caught, unwinding},
    crowd::Crowd,
    lanes::Lanes,
    operation::{Acquire, Operation, Release, Renew},
};
use self::{
    caller::{Alone, Queued},
    courier::Courier,
    crowd::Counted,
};
use crate::{
    Clock, Error, ErrorKind, LeaseStore, Moment, Result,
    home::{Home, ended},
};

/// The most items in one call of the store.
pub(crate) const LARGEST_BATCH: usize = 256;
/// The most couriers at a time, including those whose calls hang.
const MOST_COURIERS: usize = 8;
/// So many items are worth a call of their own while another one is under way.
const COMPANY: usize = 4;
/// How long items stay behind a call that does not come back.
const PATIENCE: Duration = Duration::from_millis(50);

/// An answer, and when the call that brought it began (S1).
#[derive(Debug)]
pub(crate) struct Answered<A> {
    pub(crate) sent: Moment,
    pub(crate) result: Result<A>,
    /// The call hung until it was cut. One of its items may be to blame.
    pub(crate) hung: bool,
}

/// A request on its way, and how it goes.
pub(crate) struct Errand<R> {
    request: R,
    timeout: Duration,
    give_up_at: Moment,
    company: usize,
    is_first: bool,
    wanted: Box<dyn Fn() -> bool + Send>,
}

impl<R> Errand<R> {
    /// A request that is of no use any more after this timeout.
    pub(crate) fn new(request: R, now: Moment, timeout: Duration) -> Self {
        let (give_up_at, company) = (now + timeout, LARGEST_BATCH);
        Self { request, timeout, give_up_at, company, is_first: false, wanted: Box::new(|| true) }
    }

    /// It was in so many calls that hung, one after the other: it goes in smaller company now, and in the end alone, so that
    /// whoever is to blame harms nobody else (L7).
    pub(crate) fn after_hanging(self, times: u32) -> Self {
        let company = match times {
            0 => LARGEST_BATCH,
            1 => 16,
            2 => 4,
            _ => 1,
        };
        Self { company, ..self }
    }

    /// It was never sent before: the store has nothing yet that it could be told of.
    pub(crate) fn for_the_first_time(self, is_first: bool) -> Self {
        Self { is_first, ..self }
    }

    /// Sent only if this is still so when its turn comes.
    pub(crate) fn while_wanted(self, wanted: impl Fn() -> bool + Send + 'static) -> Self {
        Self { wanted: Box::new(wanted), ..self }
    }
}

/// What all lanes of an operation share.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) store: Arc<dyn LeaseStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) home: Home,
    /// [`Capabilities::calls_at_once`](crate::Capabilities::calls_at_once).
    pub(crate) calls_at_once: usize,
    /// Shared with the lanes by which the same tasks come and go, if they have to take turns.
    pub(crate) crowd: Option<Arc<Crowd>>,
}

/// The way of requests of one operation, with timeouts that are alike, to the store.
pub(crate) struct Lane<O: Operation> {
    route: Route,
    traffic: Mutex<Traffic<O>>,
}

struct Traffic<O: Operation> {
    /// Whether a caller is polling a call of its own.
    alone: bool,
    couriers: usize,
    /// Those of them whose calls have been under way for longer than [`PATIENCE`].
    away: usize,
    /// By the time at which they give up, then in the order of their coming.
    queue: BTreeMap<Place, Item<O>>,
    arrivals: u64,
}

type Place = (Moment, u64);

struct Item<O: Operation> {
    errand: Errand<O::Request>,
    done: Done<O::Answer>,
    /// Those who may be content with its answer.
    followers: Vec<(Place, Item<O>)>,
}

/// Told the outcome of an item as soon as it is known, whoever still waits for it.
type Done<A> = Box<dyn FnOnce(Answered<A>) + Send>;

impl<O: Operation> Lane<O> {
    fn new(route: Route) -> Self {
        let traffic = Traffic { alone: false, couriers: 0, away: 0, queue: BTreeMap::new(), arrivals: 0 };
        Self { route, traffic: Mutex::new(traffic) }
    }

    /// Sends a request and waits for its answer, until it is given up. `outcome` sees what the store answers, or that the call
    /// was never made, also when the caller has stopped waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping it does not cut a call that is under way; see the module.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        errand: Errand<O::Request>,
        outcome: impl FnOnce(&Answered<O::Answer>) + Send + 'static,
    ) -> Answered<O::Answer> {
        let is_here = self.route.home.is_here();
        let place = {
            let mut traffic = self.lock();
            let nobody = !traffic.alone && traffic.couriers == 0 && traffic.queue.is_empty();
            if is_here && nobody && !self.is_returning() {
                traffic.alone = true;
                None
            } else {
                Some(traffic.next_place(errand.give_up_at))
            }
        };
        let waiting = self.waiting();
        let Some(place) = place else {
            let alone = Alone::new(self);
            let call = async move {
                let answered = alone.lane().call_one(errand).await;
                drop((alone, waiting));
                outcome(&answered);
                answered
            };
            return Owned::new(call, &self.route.home).await;
        };
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |answered: Answered<O::Answer>| {
            outcome(&answered);
            let _ = sender.send((answered, waiting.map(Counted::answered)));
        });
        self.enqueue_at(place, Item { errand, done, followers: Vec::new() });
        Queued::new(self, place).wait(receiver).await
    }

    /// Queues a request whose outcome goes to `done`; nobody waits for it.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        errand: Errand<O::Request>,
        done: impl FnOnce(Answered<O::Answer>) + Send + 'static,
    ) {
        let place = self.lock().next_place(errand.give_up_at);
        let waiting = self.waiting();
        let done = Box::new(move |answered| {
            drop(waiting);
            done(answered);
        });
        self.enqueue_at(place, Item { errand, done, followers: Vec::new() });
    }

    fn enqueue_at(self: &Arc<Self>, place: Place, item: Item<O>) {
        let mut traffic = self.lock();
        traffic.queue.insert(place, item);
        let urgent = place.0.saturating_since(self.route.clock.now()) < PATIENCE * 2;
        if urgent {
            self.send_courier(traffic);
        } else {
            self.send_courier_if_wanted(traffic);
        }
    }

    /// Starts a courier if there is none, or none that will come back soon, or if there are enough items for one more.
    fn send_courier_if_wanted(self: &Arc<Self>, traffic: MutexGuard<'_, Traffic<O>>) {
        let about = traffic.couriers - traffic.away;
        if about == 0 || (about < self.route.calls_at_once && traffic.queue.len() >= COMPANY) {
            self.send_courier(traffic);
        }
    }

    fn send_courier(self: &Arc<Self>, mut traffic: MutexGuard<'_, Traffic<O>>) {
        if traffic.couriers < MOST_COURIERS && !traffic.queue.is_empty() {
            traffic.couriers += 1;
            drop(traffic);
            self.route.home.spawn(Courier::new(self).run());
        }
    }

    async fn call_one(&self, errand: Errand<O::Request>) -> Answered<O::Answer> {
        let Called { sent, mut results, hung } = self.call(&[errand.request], errand.give_up_at).await;
        let result = results.pop().unwrap_or_else(|| Err(self.error(ErrorKind::Internal, "no answer")));
        Answered { sent, result, hung }
    }

    /// Calls the store; answers one result per request, whatever the store does.
    async fn call(&self, requests: &[O::Request], give_up_at: Moment) -> Called<O::Answer> {
        let sent = self.route.clock.now();
        let all = |error: Error| requests.iter().map(|_| Err(error.clone())).collect();
        tokio::select! {
            biased;
            outcome = caught(O::NAME, async { O::call(&*self.route.store, requests).await }) => {
                let asked = requests.len();
                let results = match outcome {
                    Ok(results) if results.len() == asked => results,
                    Ok(results) => {
                        let message = format!("{} answers to {asked} requests", results.len());
                        all(self.error(ErrorKind::Internal, message))
                    }
                    Err(panic) => all(self.error(ErrorKind::Internal, panic)),
                };
                Called { sent, results, hung: false }
            }
            // No timer for a call that is answered at once.
            () = async { self.route.clock.sleep_until(give_up_at).await } => {
                Called { sent, results: all(self.no_answer(sent)), hung: true }
            }
        }
    }

    /// Tells the outcome of an item, and its followers, if it is theirs, too; otherwise they are queued again.
    fn finish(&self, item: Item<O>, answered: Answered<O::Answer>) {
        let Item { done, followers, .. } = item;
        let for_all = answered.result.as_ref().ok().filter(|answer| O::is_for_all(answer)).cloned();
        let Answered { sent, hung, .. } = answered;
        done(answered);
        match for_all {
            Some(answer) => {
                for (_, follower) in followers {
                    (follower.done)(Answered { sent, result: Ok(answer.clone()), hung });
                }
            }
            None => self.lock().queue.extend(followers),
        }
    }

    fn waiting(&self) -> Option<Counted> {
        self.route.crowd.as_ref().map(Crowd::waiting)
    }

    fn is_returning(&self) -> bool {
        self.route.crowd.as_ref().is_some_and(|crowd| crowd.is_returning())
    }

    fn no_answer(&self, since: Moment) -> Error {
        let waited = self.route.clock.now().saturating_since(since);
        self.error(ErrorKind::Indeterminate, format!("no answer within {waited:?}"))
    }

    fn never_sent(&self) -> Answered<O::Answer> {
        let error = self.error(
            ErrorKind::Unavailable,
            "it was not sent, since too little time was left: others were under way, or the client's runtime is blocked",
        );
        Answered { sent: self.route.clock.now(), result: Err(error), hung: false }
    }

    /// The runtime of the client has ended, with the call or before it.
    fn ended(&self) -> Answered<O::Answer> {
        Answered { sent: self.route.clock.now(), result: Err(ended(O::NAME)), hung: false }
    }

    fn error(&self, kind: ErrorKind, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(kind, O::NAME, message).in_store(self.route.store.capabilities().store)
    }

    fn lock(&self) -> MutexGuard<'_, Traffic<O>> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call of the store brought.
struct Called<A> {
    sent: Moment,
    results: Vec<Result<A>>,
    hung: bool,
}

impl<O: Operation> Traffic<O> {
    fn next_place(&mut self, give_up_at: Moment) -> Place {
        self.arrivals += 1;
        (give_up_at, self.arrivals)
    }

    /// The next batch: the most urgent items, each name once, none in larger company than it should be.
    fn take_batch(&mut self, crowd: Option<&Crowd>) -> Vec<(Place, Item<O>)> {
        let queued = self.queue.len();
        let mut company = crowd.map_or(queued, |crowd| crowd.share(queued)).min(LARGEST_BATCH);
        let mut batch = Vec::with_capacity(queued.min(company));
        if queued == 1 {
            batch.extend(self.queue.pop_first());
            return batch;
        }
        let mut names = HashMap::with_capacity(batch.capacity());
        let mut left = Vec::new();
        while batch.len() < company {
            let Some((place, item)) = self.queue.pop_first() else { break };
            let fits = batch.len() < item.errand.company;
            match names.entry(O::lease(&item.errand.request).clone()) {
                Entry::Vacant(name) if fits => {
                    name.insert(batch.len());
                    company = company.min(item.errand.company);
                    batch.push((place, item));
                }
                Entry::Occupied(leader) if item.errand.is_first => {
                    let (_, leader): &mut (Place, Item<O>) = &mut batch[*leader.get()];
                    if O::is_same_question(&leader.errand.request, &item.errand.request) {
                        leader.followers.push((place, item));
                    } else {
                        left.push((place, item));
                    }
                }
                _ => left.push((place, item)),
            }
        }
        self.queue.extend(left);
        batch
    }
}

impl<O: Operation> fmt::Debug for Lane<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traffic = self.lock();
        f.debug_struct("Lane")
            .field("operation", &O::NAME)
            .field("couriers", &traffic.couriers)
            .field("queued", &traffic.queue.len())
            .finish_non_exhaustive()
    }
}
