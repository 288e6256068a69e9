//! Natural batches: an operation goes to the store at once while nothing is under way; what arrives in the meantime goes
//! together in the next call.
//!
//! * Alone, the caller itself polls the call: no hop through another task. Dropping the caller moves the unfinished call
//!   to the runtime, which finishes it (S15).
//! * Under load a short-lived task, the courier, takes what is queued, up to [`LARGEST_BATCH`], most urgent first, and
//!   brings it to the store until nothing is left.
//! * A courier whose call does not come back is not waited for: after a moment of patience another one starts, up to
//!   [`MOST_COURIERS`] (S24). Every item gives up by its own time, and a call is cut when all its items have.
//! * A batch that fails as a whole for a reason that lies in one of its items is halved and tried again (L7).

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    future::Future,
    pin::Pin,
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
/// How long an item stays behind a call that does not come back, at the most.
const LONGEST_PATIENCE: Duration = Duration::from_millis(50);

/// An answer, and when the call that brought it began (S1).
#[derive(Debug)]
pub(crate) struct Answered<A> {
    pub(crate) sent: Moment,
    pub(crate) result: Result<A>,
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
    /// When the newest call of a courier began.
    newest_call: Moment,
    /// By the time at which they give up, then in the order of their coming.
    queue: BTreeMap<Place, Item<O>>,
    arrivals: u64,
}

type Place = (Moment, u64);

struct Item<O: Operation> {
    request: O::Request,
    /// Asked just before it is sent.
    wanted: Wanted,
    done: Done<O::Answer>,
}

type Wanted = Box<dyn Fn() -> bool + Send>;

/// Told the outcome of an item as soon as it is known, whoever still waits for it.
type Done<A> = Box<dyn FnOnce(Answered<A>) + Send>;

impl<O: Operation> Lane<O> {
    pub(crate) fn new(store: Arc<dyn LeaseStore>, clock: Arc<dyn Clock>) -> Self {
        let traffic = Traffic {
            alone: false,
            couriers: 0,
            newest_call: Moment::from_origin(Duration::ZERO),
            queue: BTreeMap::new(),
            arrivals: 0,
        };
        Self { store, clock, traffic: Mutex::new(traffic) }
    }

    /// Sends a request, if it is still `wanted` when its turn comes, and waits for its answer until `give_up_at`. `outcome` sees what the store answers, or that the
    /// call was never made, also when the caller has stopped waiting.
    ///
    /// # Cancel safety
    ///
    /// Dropping it does not cut a call that is under way; see the module.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        runtime: &Handle,
        request: O::Request,
        give_up_at: Moment,
        wanted: impl Fn() -> bool + Send + 'static,
        outcome: impl FnOnce(&Answered<O::Answer>) + Send + 'static,
    ) -> Answered<O::Answer> {
        let place = {
            let mut traffic = self.lock();
            if !traffic.alone && traffic.couriers == 0 && traffic.queue.is_empty() {
                traffic.alone = true;
                None
            } else {
                Some(traffic.next_place(give_up_at))
            }
        };
        let Some(place) = place else {
            let alone = Alone { lane: Arc::clone(self) };
            let call = async move {
                let answered = alone.lane.call_one(request, give_up_at).await;
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
        self.enqueue_at(place, Item { request, wanted: Box::new(wanted), done }, runtime);
        let queued = Queued { lane: self, place, runtime };
        queued.wait(receiver).await
    }

    /// Queues a request whose outcome goes to `done`; nobody waits for it. It is sent only if it is still `wanted` then.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        runtime: &Handle,
        request: O::Request,
        give_up_at: Moment,
        wanted: impl Fn() -> bool + Send + 'static,
        done: impl FnOnce(Answered<O::Answer>) + Send + 'static,
    ) {
        let place = self.lock().next_place(give_up_at);
        let item = Item { request, wanted: Box::new(wanted), done: Box::new(done) };
        self.enqueue_at(place, item, runtime);
    }

    fn enqueue_at(self: &Arc<Self>, place: Place, item: Item<O>, runtime: &Handle) {
        let mut traffic = self.lock();
        traffic.queue.insert(place, item);
        self.send_courier(traffic, place.0, runtime);
    }

    /// Starts a courier if none is there, or if all that are there have been away for too long for an item that gives up
    /// at this time.
    fn send_courier(self: &Arc<Self>, mut traffic: MutexGuard<'_, Traffic<O>>, give_up_at: Moment, runtime: &Handle) {
        let now = self.clock.now();
        let away = now.saturating_since(traffic.newest_call);
        let none_is_near = traffic.couriers == 0 || away >= patience(now, give_up_at);
        if none_is_near && traffic.couriers < MOST_COURIERS && !traffic.queue.is_empty() {
            traffic.couriers += 1;
            traffic.newest_call = now;
            drop(traffic);
            runtime.spawn(Courier { lane: Arc::clone(self), on_duty: true }.run());
        }
    }

    async fn call_one(&self, request: O::Request, give_up_at: Moment) -> Answered<O::Answer> {
        let (sent, mut results) = self.call(&[request], give_up_at).await;
        Answered { sent, result: results.pop().unwrap_or_else(|| Err(self.error(ErrorKind::Internal, "no answer"))) }
    }

    /// Calls the store; answers one result per request, whatever the store does.
    async fn call(&self, requests: &[O::Request], give_up_at: Moment) -> (Moment, Vec<Result<O::Answer>>) {
        let sent = self.clock.now();
        let mut results = tokio::select! {
            biased;
            results = O::call(&*self.store, requests) => results,
            () = self.clock.sleep_until(give_up_at) => {
                let waited = self.clock.now().saturating_since(sent);
                let error = self.error(ErrorKind::Indeterminate, format!("no answer within {waited:?}"));
                requests.iter().map(|_| Err(error.clone())).collect()
            }
        };
        if results.len() != requests.len() {
            let message = format!("{} answers to {} requests", results.len(), requests.len());
            let error = self.error(ErrorKind::Internal, message);
            results = requests.iter().map(|_| Err(error.clone())).collect();
        }
        (sent, results)
    }

    fn never_sent(&self) -> Answered<O::Answer> {
        let error = self.error(ErrorKind::Unavailable, "it was not sent: it was given up while others were under way");
        Answered { sent: self.clock.now(), result: Err(error) }
    }

    fn error(&self, kind: ErrorKind, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(kind, O::NAME, message).in_store(self.store.capabilities().store)
    }

    fn lock(&self) -> MutexGuard<'_, Traffic<O>> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Operation> Traffic<O> {
    fn next_place(&mut self, give_up_at: Moment) -> Place {
        self.arrivals += 1;
        (give_up_at, self.arrivals)
    }

    /// The next batch: the most urgent items, each name once.
    fn take_batch(&mut self) -> Vec<(Place, Item<O>)> {
        let mut batch = Vec::with_capacity(self.queue.len().min(LARGEST_BATCH));
        if self.queue.len() == 1 {
            batch.extend(self.queue.pop_first());
            return batch;
        }
        let mut names = HashSet::new();
        let mut again = Vec::new();
        while batch.len() < LARGEST_BATCH {
            let Some((place, item)) = self.queue.pop_first() else { break };
            if names.insert(O::lease(&item.request).clone()) {
                batch.push((place, item));
            } else {
                again.push((place, item));
            }
        }
        self.queue.extend(again);
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
    lane: &'a Arc<Lane<O>>,
    place: Place,
    runtime: &'a Handle,
}

impl<O: Operation> Queued<'_, O> {
    async fn wait(self, mut answer: oneshot::Receiver<Answered<O::Answer>>) -> Answered<O::Answer> {
        let clock = &self.lane.clock;
        let (give_up_at, _) = self.place;
        let began = clock.now();
        let mut wake_at = began + patience(began, give_up_at);
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => return answered.unwrap_or_else(|_| Answered {
                    sent: began,
                    result: Err(self.lane.error(ErrorKind::Internal, "the store's call panicked, or its runtime has ended")),
                }),
                () = clock.sleep_until(wake_at) => {}
            }
            if clock.now() >= give_up_at {
                break;
            }
            self.lane.send_courier(self.lane.lock(), give_up_at, self.runtime);
            wake_at = give_up_at;
        }
        if let Some(item) = self.lane.lock().queue.remove(&self.place) {
            (item.done)(self.lane.never_sent());
            return self.lane.never_sent();
        }
        let waited = clock.now().saturating_since(began);
        let error = self.lane.error(ErrorKind::Indeterminate, format!("no answer within {waited:?}"));
        Answered { sent: began, result: Err(error) }
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
                traffic.newest_call = self.lane.clock.now();
                traffic.take_batch()
            };
            let now = self.lane.clock.now();
            let too_late = |place: &Place| place.0 <= now;
            for (_, item) in batch.extract_if(.., |(place, item)| too_late(place) || !(item.wanted)()) {
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
            let requests: Vec<_> = batch.iter().map(|(_, item)| item.request.clone()).collect();
            let (sent, results) =
                self.lane.call(&requests, give_up_at.unwrap_or(Moment::from_origin(Duration::ZERO))).await;
            if batch.len() > 1 && halvings > 0 && results.iter().all(is_failure_of_a_request) {
                halvings -= 1;
                let second_half = batch.split_off(batch.len() / 2);
                batches.extend([second_half, batch]);
                continue;
            }
            for ((_, item), result) in batch.into_iter().zip(results) {
                (item.done)(Answered { sent, result });
            }
        }
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

fn patience(now: Moment, give_up_at: Moment) -> Duration {
    (give_up_at.saturating_since(now) / 4).min(LONGEST_PATIENCE)
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
