//! A store that fails on purpose.

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

/// A store that hands every call to another one, unless a [`Rule`] has a [`Fault`] for it. The same seed, rules and calls
/// give the same faults, and delays are slept on the given clock. Clones are the same store.
///
/// A request that was sent stays sent: what a rule delays is delivered even if the caller has gone meanwhile, as on a
/// real network.
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
/// chaos.calm();
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

/// What becomes of the hints of a [`ChaosStore`] (S20). Decided when somebody subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hints {
    /// They arrive.
    Delivered,
    /// None ever arrives, although the store says that it has push.
    Dropped,
    /// Only those arrive that [`ChaosStore::forge_hint`] makes.
    Forged,
}

impl ChaosStore {
    /// A store that behaves, until it is told otherwise.
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

    /// Adds a rule. Of the rules that fit a call, the oldest that fires decides.
    pub fn inject(&self, rule: Rule) {
        self.schedule().rules.push(ActiveRule::new(rule));
    }

    /// Forgets all rules. What is under way comes to its end as it was going to.
    pub fn calm(&self) {
        self.schedule().rules.clear();
    }

    /// Stops answering: connections stay open, requests are kept, and delivered at [`ChaosStore::thaw`].
    pub fn freeze(&self) {
        self.schedule().is_frozen = true;
    }

    /// Answers again, first of all what was asked meanwhile.
    pub fn thaw(&self) {
        self.schedule().is_frozen = false;
        self.shared.thawed.notify_waiters();
    }

    /// Refuses every call at once: `Unavailable`.
    pub fn cut(&self) {
        self.schedule().is_cut = true;
    }

    /// Lets calls through again, and tells all who wait that they may have missed something.
    pub fn heal(&self) {
        self.schedule().is_cut = false;
        self.shared.forged_hints.wake_all();
    }

    /// Decides about the hints of subscriptions that begin from now on.
    pub fn set_hints(&self, hints: Hints) {
        self.schedule().hints = hints;
    }

    /// Gives a hint for which there is no reason, to subscriptions made under [`Hints::Forged`].
    pub fn forge_hint(&self, name: &LeaseName) {
        self.shared.forged_hints.wake(name);
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to a call, in the order in which calls are made.
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

    /// All who wait go on in the order of their coming, so that a schedule can be repeated.
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

    /// Delivers a call, or does to it what the rules say.
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

/// Runs a delivery to its end, whatever becomes of the caller.
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
        // More calls that can overtake each other.
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
