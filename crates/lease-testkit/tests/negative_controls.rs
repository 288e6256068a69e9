//! Negative controls: a store with one defect fails the case for it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, Clock, Error, ErrorKind, ExpiryJudge, FencingToken, Grant,
    LeaseName, LeaseRecord, LeaseStore, Metadata, ReleaseRequest, Released, RenewRequest, Renewed, Result, TokioClock,
    Wakeups,
};
use lease_memory::MemoryStore;
use lease_testkit::{Harness, Injection, cases, race, run};

/// The defect of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    /// The remaining time of a grant is too long.
    GrantsOverstate,
    RenewalsOverstate,
    /// All grants have the same token.
    TokensRepeat,
    AnswersOutOfOrder,
    /// A renewal of an expired lease succeeds.
    RenewalsRevive,
    /// A repeated request gets a new grant.
    NoncesAreForgotten,
    /// A release needs no valid claim.
    ReleasesWithoutClaim,
    /// The store declares push and sends no hints.
    NoHints,
    NamesAreFolded,
    MetadataIsLost,
    /// A list has leases that have ended.
    ListsAreEndless,
    BreaksWithoutToken,
    /// The store declares a server, and its harness injects no faults.
    FaultsAreMissing,
    /// The remaining time counts from the answer.
    CountsFromTheAnswer,
    /// After the clock was set back, the remaining time is too long by as much.
    FollowsTheClock,
    /// The store declares that grants survive a crash, and forgets them.
    ForgetsInACrash,
    /// The store declares what survives, and its harness cannot show it.
    EvidenceIsMissing,
    /// A request that was executed and whose answer was lost fails with `Unavailable`.
    DoneIsUnavailable,
    /// Each refused attempt makes a renewal fail.
    LosersDisturb,
    /// After the first grant the capabilities change.
    CapabilitiesChange,
    /// The store refuses its smallest ttl every other time.
    RefusesTheSmallest,
}

/// Injected faults, and counters.
#[derive(Debug, Default)]
struct Injected {
    delay: Duration,
    clock_is_back_by: Duration,
    answers_are_lost: bool,
    refused: usize,
    attempts: usize,
}

#[derive(Debug, Clone)]
struct DefectiveStore {
    inner: MemoryStore,
    defect: Defect,
    clock: TokioClock,
    injected: Arc<Mutex<Injected>>,
}

impl DefectiveStore {
    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn injected(&self) -> MutexGuard<'_, Injected> {
        self.injected.lock().unwrap()
    }

    /// Returns an error if answers are lost. Otherwise delays, and returns how much to add to the remaining time.
    async fn is_answered(&self) -> Result<Duration> {
        let kind = if self.is(Defect::DoneIsUnavailable) { ErrorKind::Unavailable } else { ErrorKind::Indeterminate };
        if self.injected().answers_are_lost {
            return Err(Error::new(kind, "test", "the answer is lost"));
        }
        let delay = self.injected().delay;
        self.clock.sleep_until(self.clock.now() + delay).await;
        Ok(if self.is(Defect::CountsFromTheAnswer) { delay } else { Duration::ZERO })
    }

    fn name(&self, name: &LeaseName) -> LeaseName {
        if self.is(Defect::NamesAreFolded) {
            LeaseName::new(name.as_str().to_lowercase()).unwrap()
        } else {
            name.clone()
        }
    }

    fn grant(&self, grant: Grant) -> Grant {
        match self.defect {
            Defect::GrantsOverstate => Grant::new(grant.token, grant.remaining * 2).with_handle(grant.handle),
            Defect::TokensRepeat => {
                Grant::new(FencingToken::new(7).unwrap(), grant.remaining).with_handle(grant.handle)
            }
            _ => grant,
        }
    }
}

#[async_trait]
impl LeaseStore for DefectiveStore {
    fn capabilities(&self) -> Capabilities {
        let capabilities = self.inner.capabilities();
        let expiry_judge =
            if self.is(Defect::FaultsAreMissing) { ExpiryJudge::ServerWallClock } else { capabilities.expiry_judge };
        let survive = capabilities.tokens_survive;
        let says_all = self.is(Defect::EvidenceIsMissing);
        capabilities
            .with_expiry_judge(expiry_judge)
            .with_grants_survive_crash(says_all || self.is(Defect::ForgetsInACrash))
            .with_tokens_survive(if says_all { survive.data_loss() } else { survive })
            .with_push(!self.is(Defect::CapabilitiesChange) || self.injected().attempts == 0)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        let mut requests = requests.to_vec();
        for request in &mut requests {
            request.name = self.name(&request.name);
            if self.is(Defect::MetadataIsLost) {
                request.metadata = Metadata::default();
            }
            if self.is(Defect::NoncesAreForgotten) {
                request.grant = lease_core::GrantId::random();
            }
        }
        self.injected().attempts += 1;
        let shortest = requests.iter().any(|request| request.ttl == self.capabilities().min_ttl);
        if shortest && self.is(Defect::RefusesTheSmallest) && self.injected().attempts.is_multiple_of(2) {
            return requests.iter().map(|_| Err(Error::new(ErrorKind::Invalid, "test", "too short"))).collect();
        }
        let mut answers = self.inner.acquire(&requests).await;
        let late = match self.is_answered().await {
            Ok(late) => late,
            Err(error) => return answers.iter().map(|_| Err(error.clone())).collect(),
        };
        for answer in &mut answers {
            match answer {
                Ok(Acquired::Granted(grant)) => {
                    *grant = self.grant(Grant::new(grant.token, grant.remaining + late).with_handle(grant.handle));
                }
                Ok(Acquired::Held { .. }) => self.injected().refused += 1,
                _ => {}
            }
        }
        if self.is(Defect::AnswersOutOfOrder) {
            answers.reverse();
        }
        answers
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        if self.is(Defect::LosersDisturb) && std::mem::take(&mut self.injected().refused) > 0 {
            return requests.iter().map(|_| Err(Error::new(ErrorKind::Unavailable, "test", "locked"))).collect();
        }
        let mut answers = self.inner.renew(requests).await;
        let late = match self.is_answered().await {
            Ok(late) => late,
            Err(error) => return answers.iter().map(|_| Err(error.clone())).collect(),
        };
        let ahead = if self.is(Defect::FollowsTheClock) { self.injected().clock_is_back_by } else { Duration::ZERO };
        for (request, answer) in requests.iter().zip(&mut answers) {
            match answer {
                Ok(Renewed::Extended { remaining }) if self.is(Defect::RenewalsOverstate) => *remaining *= 2,
                Ok(renewed @ Renewed::Lost(lease_core::LossReason::Expired)) if self.is(Defect::RenewalsRevive) => {
                    *renewed = Renewed::Extended { remaining: request.ttl };
                }
                Ok(Renewed::Extended { remaining }) => *remaining += late + ahead,
                _ => {}
            }
        }
        answers
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        for request in requests.iter().filter(|_| self.is(Defect::ReleasesWithoutClaim)) {
            if let Some(record) = self.inner.inspect(&request.claim.name).await.unwrap() {
                self.inner.break_lease(&record.name, record.token, Break::Now).await.unwrap();
            }
        }
        let answers = self.inner.release(requests).await;
        match self.is_answered().await {
            Ok(_) => answers,
            Err(error) => answers.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.inner.inspect(&self.name(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        let limit = if self.is(Defect::ListsAreEndless) { usize::MAX } else { limit };
        self.inner.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        let record = self.inner.inspect(name).await?;
        let token = record.filter(|_| self.is(Defect::BreaksWithoutToken)).map_or(token, |record| record.token);
        let answer = self.inner.break_lease(name, token, how).await;
        self.is_answered().await?;
        answer
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        if self.is(Defect::NoHints) { Wakeups::never() } else { self.inner.subscribe(name) }
    }
}

struct DefectiveHarness {
    clock: TokioClock,
    store: DefectiveStore,
}

#[async_trait]
impl Harness for DefectiveHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock)
    }

    fn tolerance(&self) -> Duration {
        Duration::from_millis(100)
    }

    async fn lose_answers(&self) -> Injection {
        self.store.injected().answers_are_lost = true;
        Injection::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Injection {
        self.store.injected().delay = delay;
        Injection::Done
    }

    async fn heal(&self) {
        self.store.injected().answers_are_lost = false;
        self.store.injected().delay = Duration::ZERO;
    }

    async fn set_clock_back(&self, by: Duration) -> Injection {
        self.store.injected().clock_is_back_by = by;
        Injection::Done
    }

    async fn crash(&self) -> Injection {
        if self.store.is(Defect::EvidenceIsMissing) {
            return Injection::Unsupported;
        }
        for record in self.store.inner.list("", None, 100).await.unwrap() {
            self.store.inner.remove(&record.name);
        }
        Injection::Done
    }
}

fn harness(defect: Defect) -> DefectiveHarness {
    let clock = TokioClock::new();
    let inner = MemoryStore::with_clock(clock);
    DefectiveHarness { clock, store: DefectiveStore { inner, defect, clock, injected: Arc::default() } }
}

macro_rules! caught {
    ($($defect:ident by $module:ident::$case:ident,)*) => {
        $(
            let case = || run::paused(|| harness(Defect::None), cases::$module::$case);
            assert!(catch_unwind(AssertUnwindSafe(case)).is_ok(), "{} fails a correct store", stringify!($case));
            let case = || run::paused(|| harness(Defect::$defect), cases::$module::$case);
            assert!(catch_unwind(AssertUnwindSafe(case)).is_err(), "{} is not caught", stringify!($defect));
        )*
    };
}

#[test]
fn stores_with_a_defect_are_caught() {
    caught! {
        GrantsOverstate by granting::s01_nobody_gets_the_name_before_what_is_left_has_passed,
        RenewalsOverstate by granting::s01_nobody_gets_the_name_before_a_renewal_has_passed,
        TokensRepeat by granting::s09_tokens_rise_over_releases,
        TokensRepeat by granting::s09_tokens_rise_over_expiry,
        TokensRepeat by trying::s09_the_history_of_many_clients_is_sound,
        AnswersOutOfOrder by batching::acquires_of_every_outcome_in_one_batch,
        RenewalsRevive by renewing::s07_a_renewal_never_revives_an_expired_lease,
        NoncesAreForgotten by repeating::s13_a_repeated_request_meets_its_own_grant,
        NoncesAreForgotten by trying::s13_a_lost_answer_costs_no_ttl,
        ReleasesWithoutClaim by releasing::s11_a_release_never_frees_a_successor,
        ReleasesWithoutClaim by releasing::s11_a_strangers_release_changes_nothing,
        NoHints by waking::l01_a_release_is_hinted,
        NoHints by waking::s20_the_first_hint_comes_with_the_subscription,
        NoHints by waiting::l01_a_waiter_wins_as_soon_as_the_lease_is_released,
        NamesAreFolded by naming::s21_names_are_byte_exact,
        MetadataIsLost by renewing::metadata_is_kept_with_the_grant,
        ListsAreEndless by looking::a_list_comes_in_pages,
        BreaksWithoutToken by breaking::s22_a_break_must_name_the_token,
        FaultsAreMissing by failing::s19_a_store_that_is_frozen_says_nothing,
        FaultsAreMissing by granting::s09_tokens_rise_over_a_restart,
        NoncesAreForgotten by repeating::s13_a_nonce_is_spent_after_a_break,
        CountsFromTheAnswer by granting::s01_nobody_gets_the_name_before_what_a_late_answer_promised_has_passed,
        FollowsTheClock by granting::s01_no_more_than_the_ttl_is_left_after_the_servers_clock_went_back,
        ForgetsInACrash by crashing::s01_a_grant_outlives_a_crash_of_the_server,
        ForgetsInACrash by crashing::s01_a_renewal_outlives_a_crash_of_the_server,
        EvidenceIsMissing by crashing::s01_a_grant_outlives_a_crash_of_the_server,
        EvidenceIsMissing by crashing::s09_tokens_rise_after_an_older_backup_was_put_back,
        DoneIsUnavailable by failing::s13_what_was_perhaps_done_is_indeterminate,
        LosersDisturb by losing::l07_a_lease_that_a_hundred_clients_try_for_is_renewed_as_one_that_nobody_wants,
        CapabilitiesChange by granting::capabilities_make_sense,
        RefusesTheSmallest by granting::s23_a_ttl_beyond_the_limits_is_an_error,
    }
}

#[tokio::test]
async fn races_with_a_defect_are_caught() {
    let raced = async |stores: Vec<Arc<dyn LeaseStore>>| {
        let twice = ["job", "job"].map(|job| LeaseName::new(job).unwrap());
        tokio::spawn(async move { race(&stores, 8, twice).await.len() }).await
    };
    assert_eq!(raced(vec![Arc::new(harness(Defect::None).store)]).await.unwrap(), 2);
    // Two stores that know nothing of each other have a winner each.
    assert!(raced(vec![Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())]).await.is_err());
    assert!(raced(vec![Arc::new(harness(Defect::TokensRepeat).store)]).await.is_err());
}
