//! A store that injects faults.

use std::{
    future::{Future, pending},
    panic::{panic_any, resume_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Clock, Error, ErrorKind, FencingToken, LeaseName, LeaseRecord,
    LeaseStore, ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, WakeupRegistry, Wakeups,
};
use tokio::sync::Notify;

use crate::{Fault, Operation, Rule, SeededRng, fault::ActiveRule};

/// A store that passes each call on to another store, unless a [`Rule`] injects a [`Fault`] into it. The same seed, rules
/// and calls give the same faults. Delays are measured by the given clock. Clones are the same store.
///
/// A request that was sent stays sent, as on a real network: a delayed request is executed even if the caller has dropped
/// the call.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use lease_core::{Clock, LeaseStore, TokioClock};
/// use lease_testkit::{ChaosStore, Fault, Operation};
///
/// # fn example(store: Arc<dyn LeaseStore>, clock: Arc<dyn Clock>) {
/// let chaos = ChaosStore::new(store, clock, 7);
/// chaos.inject(Fault::LoseAnswer.on(Operation::Renew).every(2));
/// chaos.inject(Fault::DelayAnswer(Duration::from_secs(5)).on(Operation::Acquire).once());
/// chaos.inject(Fault::LoseRequest.on(Operation::Release).with_chance(0.1));
/// chaos.clear_rules();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ChaosStore {
    inner: Arc<dyn LeaseStore>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    schedule: Mutex<Schedule>,
    thawed: Notify,
    forged_hints: WakeupRegistry,
}

#[derive(Debug)]
struct Schedule {
    rules: Vec<ActiveRule>,
    rng: SeededRng,
    is_cut: bool,
    is_frozen: bool,
    hints: Hints,
}

/// Which hints of a [`ChaosStore`] arrive (S20). Applies to subscriptions made afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hints {
    /// All hints arrive.
    Delivered,
    /// No hint arrives, although the store declares push.
    Dropped,
    /// Only the hints from [`ChaosStore::forge_hint`] arrive.
    Forged,
}

impl ChaosStore {
    /// Creates a store without faults. `seed` decides the rules [with a chance](Rule::with_chance).
    #[must_use]
    pub fn new(inner: Arc<dyn LeaseStore>, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let schedule = Schedule {
            rules: Vec::new(),
            rng: SeededRng::new(seed),
            is_cut: false,
            is_frozen: false,
            hints: Hints::Delivered,
        };
        let shared =
            Shared { schedule: Mutex::new(schedule), thawed: Notify::new(), forged_hints: WakeupRegistry::default() };
        Self { inner, clock, shared: Arc::new(shared) }
    }

    /// Adds a rule. Of several rules that match a call, the oldest decides.
    pub fn inject(&self, rule: Rule) {
        self.schedule().rules.push(ActiveRule::new(rule));
    }

    /// Removes all rules. Calls in flight keep the fault that was injected into them.
    pub fn clear_rules(&self) {
        self.schedule().rules.clear();
    }

    /// Stops answering. Calls stay in flight, and their requests are executed at [`ChaosStore::thaw`].
    pub fn freeze(&self) {
        self.schedule().is_frozen = true;
    }

    /// Answers again, and first executes the requests that were sent in the meantime.
    pub fn thaw(&self) {
        self.schedule().is_frozen = false;
        self.shared.thawed.notify_waiters();
    }

    /// Fails each call at once with `Unavailable`.
    pub fn cut(&self) {
        self.schedule().is_cut = true;
    }

    /// Ends [`ChaosStore::cut`]. Sends a hint to all subscriptions made under [`Hints::Forged`], because they may have
    /// missed one.
    pub fn heal(&self) {
        self.schedule().is_cut = false;
        self.shared.forged_hints.wake_all();
    }

    /// Sets which hints arrive at subscriptions that are made from now on.
    pub fn set_hints(&self, hints: Hints) {
        self.schedule().hints = hints;
    }

    /// Sends a hint without a reason to subscriptions made under [`Hints::Forged`].
    pub fn forge_hint(&self, name: &LeaseName) {
        self.shared.forged_hints.wake(name);
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the fault for a call. Called in the order of the calls.
    fn decide(&self, operation: Operation, names: &[&LeaseName]) -> Option<Fault> {
        let Schedule { rules, rng, is_cut, .. } = &mut *self.schedule();
        if *is_cut {
            return Some(Fault::Fail(ErrorKind::Unavailable));
        }
        let fired = rules.iter_mut().position(|rule| rule.fires(operation, names, rng))?;
        let fault = rules[fired].fault();
        if rules[fired].is_used_up() {
            rules.remove(fired);
        }
        Some(fault)
    }

    /// Waits for the thaw. Calls continue in the order in which they began, so that a schedule is reproducible.
    async fn until_thawed(&self) {
        loop {
            let mut thawed = pin!(self.shared.thawed.notified());
            thawed.as_mut().enable();
            if !self.schedule().is_frozen {
                return;
            }
            thawed.await;
        }
    }

    /// Executes a call, with the fault that the rules inject.
    async fn pass<T: Send + 'static>(
        &self,
        operation: Operation,
        names: &[&LeaseName],
        deliver: impl Fn() -> Delivery<T> + Send + Sync + 'static,
        fail: impl Fn(Error) -> T + Send + Sync,
    ) -> T {
        let failed = |kind| fail(Error::new(kind, operation.as_str(), "injected by the test").in_store("chaos"));
        let fault = self.decide(operation, names);
        if self.schedule().is_frozen {
            let frozen = self.clone();
            return in_background(async move {
                frozen.until_thawed().await;
                deliver().await
            })
            .await;
        }
        let clock = Arc::clone(&self.clock);
        match fault {
            None => deliver().await,
            Some(Fault::Fail(kind)) => failed(kind),
            Some(Fault::Panic) => panic_any("injected by the test"),
            Some(Fault::LoseRequest) => failed(ErrorKind::Indeterminate),
            Some(Fault::LoseAnswer) => {
                in_background(deliver()).await;
                failed(ErrorKind::Indeterminate)
            }
            Some(Fault::DelayRequest(delay)) => {
                let late = async move {
                    clock.sleep_until(clock.now() + delay).await;
                    deliver().await
                };
                in_background(late).await
            }
            Some(Fault::DelayAnswer(delay)) => {
                let sent = clock.now();
                let answer = in_background(deliver()).await;
                clock.sleep_until(sent + delay).await;
                answer
            }
            Some(Fault::Duplicate(delay)) => {
                let again = deliver();
                let sent = clock.now();
                let answer = in_background(deliver()).await;
                tokio::spawn(async move {
                    clock.sleep_until(sent + delay).await;
                    again.await;
                });
                answer
            }
        }
    }
}

type Delivery<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a delivery to its end, even if the caller drops the call.
async fn in_background<T: Send + 'static>(delivery: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(delivery).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => pending().await,
        },
    }
}

fn fail_each<T>(elements: usize) -> impl Fn(Error) -> Vec<Result<T>> + Send + Sync {
    move |error| (0..elements).map(|_| Err(error.clone())).collect()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LeaseStore for ChaosStore {
    fn capabilities(&self) -> Capabilities {
        // Several calls in flight, so that one can overtake another.
        self.inner.capabilities().with_calls_at_once(4)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let names: Vec<_> = requests.iter().map(|request| &request.name).collect();
        let (inner, sent) = (Arc::clone(&self.inner), Arc::<[AcquireRequest]>::from(requests));
        let deliver = move || -> Delivery<_> {
            let (inner, sent) = (Arc::clone(&inner), Arc::clone(&sent));
            Box::pin(async move { inner.acquire(&sent).await })
        };
        self.pass(Operation::Acquire, &names, deliver, fail_each(requests.len())).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        let names: Vec<_> = requests.iter().map(|request| &request.claim.name).collect();
        let (inner, sent) = (Arc::clone(&self.inner), Arc::<[RenewRequest]>::from(requests));
        let deliver = move || -> Delivery<_> {
            let (inner, sent) = (Arc::clone(&inner), Arc::clone(&sent));
            Box::pin(async move { inner.renew(&sent).await })
        };
        self.pass(Operation::Renew, &names, deliver, fail_each(requests.len())).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        let names: Vec<_> = requests.iter().map(|request| &request.claim.name).collect();
        let (inner, sent) = (Arc::clone(&self.inner), Arc::<[ReleaseRequest]>::from(requests));
        let deliver = move || -> Delivery<_> {
            let (inner, sent) = (Arc::clone(&inner), Arc::clone(&sent));
            Box::pin(async move { inner.release(&sent).await })
        };
        self.pass(Operation::Release, &names, deliver, fail_each(requests.len())).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        let (inner, sent) = (Arc::clone(&self.inner), name.clone());
        let deliver = move || -> Delivery<_> {
            let (inner, sent) = (Arc::clone(&inner), sent.clone());
            Box::pin(async move { inner.inspect(&sent).await })
        };
        self.pass(Operation::Inspect, &[name], deliver, Err).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        let (inner, sent) = (Arc::clone(&self.inner), (prefix.to_owned(), after.cloned()));
        let deliver = move || -> Delivery<_> {
            let (inner, (prefix, after)) = (Arc::clone(&inner), sent.clone());
            Box::pin(async move { inner.list(&prefix, after.as_ref(), limit).await })
        };
        self.pass(Operation::List, &[], deliver, Err).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        let (inner, sent) = (Arc::clone(&self.inner), name.clone());
        let deliver = move || -> Delivery<_> {
            let (inner, sent) = (Arc::clone(&inner), sent.clone());
            Box::pin(async move { inner.break_lease(&sent, token, how).await })
        };
        self.pass(Operation::Break, &[name], deliver, Err).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let hints = self.schedule().hints;
        match hints {
            Hints::Delivered => self.inner.subscribe(name),
            Hints::Dropped => Wakeups::never(),
            Hints::Forged => self.shared.forged_hints.subscribe(name),
        }
    }

    fn revocations(&self) -> Revocations {
        let hints = self.schedule().hints;
        match hints {
            Hints::Delivered => self.inner.revocations(),
            Hints::Dropped | Hints::Forged => Revocations::default(),
        }
    }

    fn part_of(&self, name: &LeaseName) -> u16 {
        self.inner.part_of(name)
    }
}
