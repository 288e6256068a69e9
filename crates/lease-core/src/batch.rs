//! Natural batches: an operation goes to the store at once while nothing is under way; what arrives in the meantime goes
//! together in the next call.
//!
//! * Alone, the caller itself polls the call: no hop through another task. Dropping the caller moves the unfinished call
//!   to the runtime, which finishes it (S15).
//! * Under load a short-lived task, the courier, takes what is queued, up to [`LARGEST_BATCH`], most urgent first, and
//!   brings it to the store until nothing is left.
//! * A courier whose call does not come back is not waited for: after a moment of patience another one takes what is
//!   queued, up to [`MOST_COURIERS`] (S24). Every item gives up by its own time, and a call is cut when all its items have.
//!   Items that were in a call that hung go in smaller company when they are sent again (L7).
//! * A batch that fails as a whole for a reason that lies in one of its items is halved and tried again (L7).

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    AcquireRequest, Acquired, Clock, Error, ErrorKind, LeaseName, LeaseStore, Moment, ReleaseRequest, Released,
    RenewRequest, Renewed, Result,
};

/// The most items in one call of the store.
const LARGEST_BATCH: usize = 256;
/// The most couriers at a time, including those whose calls hang.
const MOST_COURIERS: usize = 8;
/// How often one batch is halved at the most: enough to find two poisonous items. What still fails then fails for all.
const MOST_HALVINGS: usize = 16;
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
    give_up_at: Moment,
    company: usize,
    wanted: Box<dyn Fn() -> bool + Send>,
}

impl<R> Errand<R> {
    /// A request that is of no use any more after `give_up_at`.
    pub(crate) fn new(request: R, give_up_at: Moment) -> Self {
        Self { request, give_up_at, company: LARGEST_BATCH, wanted: Box::new(|| true) }
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

    /// Sent only if this is still so when its turn comes.
    pub(crate) fn while_wanted(self, wanted: impl Fn() -> bool + Send + 'static) -> Self {
        Self { wanted: Box::new(wanted), ..self }
    }
}

/// One of the store's three operations that take many requests.
pub(crate) trait Operation: 'static {
    type Request: Clone + Send + Sync + 'static;
    type Answer: Send + 'static;
    const NAME: &'static str;
    /// Whether a request that is still queued when its caller is gone need not be sent.
    const DISPENSABLE: bool;

    fn lease(request: &Self::Request) -> &LeaseName;
    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [Self::Request]) -> StoreCall<'a, Self::Answer>;
}

type StoreCall<'a, A> = Pin<Box<dyn Future<Output = Vec<Result<A>>> + Send + 'a>>;

pub(crate) struct Acquire;
pub(crate) struct Renew;
pub(crate) struct Release;

impl Operation for Acquire {
    type Request = AcquireRequest;
    type Answer = Acquired;
    const NAME: &'static str = "acquire";
    const DISPENSABLE: bool = true;

    fn lease(request: &AcquireRequest) -> &LeaseName {
        &request.name
    }

    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [AcquireRequest]) -> StoreCall<'a, Acquired> {
        store.acquire(requests)
    }
}

impl Operation for Renew {
    type Request = RenewRequest;
    type Answer = Renewed;
    const NAME: &'static str = "renew";
    const DISPENSABLE: bool = false;

    fn lease(request: &RenewRequest) -> &LeaseName {
        &request.claim.name
    }

    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [RenewRequest]) -> StoreCall<'a, Renewed> {
        store.renew(requests)
    }
}

impl Operation for Release {
    type Request = ReleaseRequest;
    type Answer = Released;
    const NAME: &'static str = "release";
    const DISPENSABLE: bool = false;

    fn lease(request: &ReleaseRequest) -> &LeaseName {
        &request.claim.name
    }

    fn call<'a>(store: &'a dyn LeaseStore, requests: &'a [ReleaseRequest]) -> StoreCall<'a, Released> {
        store.release(requests)
    }
}

/// The way of one operation to the store.
pub(crate) struct Lane<O: Operation> {
    store: Arc<dyn LeaseStore>,
    clock: Arc<dyn Clock>,
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
}

/// Told the outcome of an item as soon as it is known, whoever still waits for it.
type Done<A> = Box<dyn FnOnce(Answered<A>) + Send>;

impl<O: Operation> Lane<O> {
    pub(crate) fn new(store: Arc<dyn LeaseStore>, clock: Arc<dyn Clock>) -> Self {
        let traffic = Traffic { alone: false, couriers: 0, away: 0, queue: BTreeMap::new(), arrivals: 0 };
        Self { store, clock, traffic: Mutex::new(traffic) }
    }

    /// Sends a request and waits for its answer, until it is given up. `outcome` sees what the store answers, or that the call
    /// was never made, also when the caller has stopped waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping it does not cut a call that is under way; see the module.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        runtime: &Handle,
        errand: Errand<O::Request>,
        outcome: impl FnOnce(&Answered<O::Answer>) + Send + 'static,
    ) -> Answered<O::Answer> {
        let place = {
            let mut traffic = self.lock();
            if !traffic.alone && traffic.couriers == 0 && traffic.queue.is_empty() {
                traffic.alone = true;
                None
            } else {
                Some(traffic.next_place(errand.give_up_at))
            }
        };
        let Some(place) = place else {
            let alone = Alone { lane: Arc::clone(self) };
            let call = async move {
                let answered = alone.lane.call_one(errand).await;
                drop(alone);
                outcome(&answered);
                answered
            };
            return Owned { call: Some(Box::pin(call)), runtime: runtime.clone() }.await;
        };
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |answered: Answered<O::Answer>| {
            outcome(&answered);
            let _ = sender.send(answered);
        });
        self.enqueue_at(place, Item { errand, done }, runtime);
        Queued { lane: self, place }.wait(receiver).await
    }

    /// Queues a request whose outcome goes to `done`; nobody waits for it.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        runtime: &Handle,
        errand: Errand<O::Request>,
        done: impl FnOnce(Answered<O::Answer>) + Send + 'static,
    ) {
        let place = self.lock().next_place(errand.give_up_at);
        self.enqueue_at(place, Item { errand, done: Box::new(done) }, runtime);
    }

    fn enqueue_at(self: &Arc<Self>, place: Place, item: Item<O>, runtime: &Handle) {
        let mut traffic = self.lock();
        traffic.queue.insert(place, item);
        let urgent = place.0.saturating_since(self.clock.now()) < PATIENCE * 2;
        if urgent {
            self.send_courier(traffic, runtime);
        } else {
            self.send_courier_if_all_are_away(traffic, runtime);
        }
    }

    /// Starts a courier if there is none, or none that will come back soon.
    fn send_courier_if_all_are_away(self: &Arc<Self>, traffic: MutexGuard<'_, Traffic<O>>, runtime: &Handle) {
        if traffic.couriers == traffic.away {
            self.send_courier(traffic, runtime);
        }
    }

    fn send_courier(self: &Arc<Self>, mut traffic: MutexGuard<'_, Traffic<O>>, runtime: &Handle) {
        if traffic.couriers < MOST_COURIERS && !traffic.queue.is_empty() {
            traffic.couriers += 1;
            drop(traffic);
            let courier = Courier { lane: Arc::clone(self), runtime: runtime.clone(), on_duty: true };
            runtime.spawn(courier.run());
        }
    }

    async fn call_one(&self, errand: Errand<O::Request>) -> Answered<O::Answer> {
        let Called { sent, mut results, hung } = self.call(&[errand.request], errand.give_up_at).await;
        let result = results.pop().unwrap_or_else(|| Err(self.error(ErrorKind::Internal, "no answer")));
        Answered { sent, result, hung }
    }

    /// Calls the store; answers one result per request, whatever the store does.
    async fn call(&self, requests: &[O::Request], give_up_at: Moment) -> Called<O::Answer> {
        let sent = self.clock.now();
        let all = |error: Error| requests.iter().map(|_| Err(error.clone())).collect();
        tokio::select! {
            biased;
            results = O::call(&*self.store, requests) => {
                let (answers, asked) = (results.len(), requests.len());
                let message = || format!("{answers} answers to {asked} requests");
                let results = if answers == asked { results } else { all(self.error(ErrorKind::Internal, message())) };
                Called { sent, results, hung: false }
            }
            () = self.clock.sleep_until(give_up_at) => {
                Called { sent, results: all(self.no_answer(sent)), hung: true }
            }
        }
    }

    fn no_answer(&self, since: Moment) -> Error {
        let waited = self.clock.now().saturating_since(since);
        self.error(ErrorKind::Indeterminate, format!("no answer within {waited:?}"))
    }

    fn never_sent(&self) -> Answered<O::Answer> {
        let error = self.error(ErrorKind::Unavailable, "it was not sent: it was given up while others were under way");
        Answered { sent: self.clock.now(), result: Err(error), hung: false }
    }

    fn error(&self, kind: ErrorKind, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(kind, O::NAME, message).in_store(self.store.capabilities().store)
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
    fn take_batch(&mut self) -> Vec<(Place, Item<O>)> {
        let mut batch = Vec::with_capacity(self.queue.len().min(LARGEST_BATCH));
        if self.queue.len() == 1 {
            batch.extend(self.queue.pop_first());
            return batch;
        }
        let mut names = HashSet::new();
        let mut left = Vec::new();
        let mut company = LARGEST_BATCH;
        while batch.len() < company {
            let Some((place, item)) = self.queue.pop_first() else { break };
            let fits = batch.len() < item.errand.company;
            if fits && names.insert(O::lease(&item.errand.request).clone()) {
                company = company.min(item.errand.company);
                batch.push((place, item));
            } else {
                left.push((place, item));
            }
        }
        self.queue.extend(left);
        batch
    }
}

/// While it lives, a caller is polling a call of its own.
struct Alone<O: Operation> {
    lane: Arc<Lane<O>>,
}

impl<O: Operation> Drop for Alone<O> {
    fn drop(&mut self) {
        self.lane.lock().alone = false;
    }
}

/// A call that its caller polls, and that the runtime finishes if the caller is dropped (S15).
struct Owned<F: Future<Output: Send> + Send + 'static> {
    call: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> Future for Owned<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out while it is polled: a call that panics is not polled again.
        let Some(mut call) = self.call.take() else { return Poll::Pending };
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => {
                self.call = Some(call);
                Poll::Pending
            }
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Owned<F> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.runtime.spawn(call);
        }
    }
}

/// Waits for the answer to an item in the queue; when it is dropped, the item need not be sent any more.
struct Queued<'a, O: Operation> {
    lane: &'a Lane<O>,
    place: Place,
}

impl<O: Operation> Queued<'_, O> {
    async fn wait(self, answer: oneshot::Receiver<Answered<O::Answer>>) -> Answered<O::Answer> {
        let (give_up_at, _) = self.place;
        let began = self.lane.clock.now();
        tokio::select! {
            biased;
            answered = answer => answered.unwrap_or_else(|_| {
                let message = "the store's call panicked, or its runtime has ended";
                Answered { sent: began, result: Err(self.lane.error(ErrorKind::Internal, message)), hung: false }
            }),
            () = self.lane.clock.sleep_until(give_up_at) => match self.lane.lock().queue.remove(&self.place) {
                Some(item) => {
                    (item.done)(self.lane.never_sent());
                    self.lane.never_sent()
                }
                None => Answered { sent: began, result: Err(self.lane.no_answer(began)), hung: true },
            },
        }
    }
}

impl<O: Operation> Drop for Queued<'_, O> {
    fn drop(&mut self) {
        let item = if O::DISPENSABLE { self.lane.lock().queue.remove(&self.place) } else { None };
        if let Some(item) = item {
            (item.done)(self.lane.never_sent());
        }
    }
}

/// A task that brings what is queued to the store until nothing is left.
struct Courier<O: Operation> {
    lane: Arc<Lane<O>>,
    runtime: Handle,
    on_duty: bool,
}

impl<O: Operation> Courier<O> {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch() {
            self.deliver(batch).await;
        }
    }

    /// What to bring next. With nothing left the courier is off duty, under the same lock: what arrives after that sends
    /// another one.
    fn next_batch(&mut self) -> Option<Vec<(Place, Item<O>)>> {
        loop {
            let mut batch = {
                let mut traffic = self.lane.lock();
                if traffic.queue.is_empty() {
                    traffic.couriers -= 1;
                    self.on_duty = false;
                    return None;
                }
                traffic.take_batch()
            };
            let now = self.lane.clock.now();
            let too_late = |place: &Place| place.0 <= now;
            for (_, item) in batch.extract_if(.., |(place, item)| too_late(place) || !(item.errand.wanted)()) {
                (item.done)(self.lane.never_sent());
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    async fn deliver(&self, batch: Vec<(Place, Item<O>)>) {
        let mut batches = vec![batch];
        let mut halvings = MOST_HALVINGS;
        while let Some(mut batch) = batches.pop() {
            let give_up_at = batch.iter().map(|((give_up_at, _), _)| *give_up_at).max();
            let requests: Vec<_> = batch.iter().map(|(_, item)| item.errand.request.clone()).collect();
            let call = self.lane.call(&requests, give_up_at.unwrap_or(Moment::from_origin(Duration::ZERO)));
            let Called { sent, results, hung } = self.relieved_after_patience(call).await;
            if batch.len() > 1 && halvings > 0 && results.iter().all(is_failure_of_a_request) {
                halvings -= 1;
                let second_half = batch.split_off(batch.len() / 2);
                batches.extend([second_half, batch]);
                continue;
            }
            for ((_, item), result) in batch.into_iter().zip(results) {
                (item.done)(Answered { sent, result, hung });
            }
        }
    }

    /// Waits for the call. If it takes long, another courier takes what is queued.
    async fn relieved_after_patience<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let clock = &self.lane.clock;
        tokio::select! {
            biased;
            called = &mut call => return called,
            () = clock.sleep_until(clock.now() + PATIENCE) => {}
        }
        // From now on nobody counts on this one: whatever comes while it is away finds somebody else.
        let _away = Away::begin(&self.lane);
        self.lane.send_courier_if_all_are_away(self.lane.lock(), &self.runtime);
        call.await
    }
}

/// While it lives, the call of a courier is taking long.
struct Away<'a, O: Operation>(&'a Lane<O>);

impl<'a, O: Operation> Away<'a, O> {
    fn begin(lane: &'a Lane<O>) -> Self {
        lane.lock().away += 1;
        Self(lane)
    }
}

impl<O: Operation> Drop for Away<'_, O> {
    fn drop(&mut self) {
        self.0.lock().away -= 1;
    }
}

impl<O: Operation> Drop for Courier<O> {
    fn drop(&mut self) {
        if self.on_duty {
            self.lane.lock().couriers -= 1;
        }
    }
}

/// Whether it failed for a reason that may lie in one request, not in the connection (L7).
fn is_failure_of_a_request<A>(result: &Result<A>) -> bool {
    use ErrorKind::{Internal, Invalid, Unsupported};
    matches!(result, Err(error) if matches!(error.kind(), Invalid | Unsupported | Internal))
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
