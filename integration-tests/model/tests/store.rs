//! Checks that the store of the model answers like the memory store.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::executor::block_on;
use lease_core::{
    AcquireRequest, Acquired, Claim, Clock, GrantId, HolderId, LeaseName, LeaseStore, Metadata, Moment, ReleaseRequest,
    Released, RenewRequest, Renewed, Sleep,
};
use lease_memory::MemoryStore;
use model::{Answer, Nonce, Request, Rule, Store, TTL, Tick};
use proptest::{
    prelude::*,
    test_runner::{TestError, TestRunner},
};

/// A clock that the test sets, in ticks of a second.
#[derive(Debug, Clone, Default)]
struct Ticks(Arc<AtomicU64>);

impl Clock for Ticks {
    fn now(&self) -> Moment {
        Moment::from_origin(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }

    fn sleep_until(&self, _: Moment) -> Sleep {
        Box::pin(std::future::pending())
    }
}

fn seconds(ticks: Tick) -> Duration {
    Duration::from_secs(ticks.into())
}

fn ticks(duration: Duration) -> Tick {
    Tick::try_from(duration.as_secs()).unwrap()
}

/// Returns the answer of the memory store. It does not count grants: the number is that of the model.
fn answer(store: &MemoryStore, request: Request, count: &mut u8) -> Answer {
    let (Request::Acquire(nonce) | Request::Renew(nonce) | Request::Release(nonce)) = request;
    let claim = Claim::new(
        LeaseName::new("job").unwrap(),
        HolderId::new(format!("client-{}", nonce.client)).unwrap(),
        GrantId::from_u128(nonce.attempt.into()),
    );
    match request {
        Request::Acquire(_) => {
            let Claim { name, holder, grant, .. } = claim;
            let (ttl, metadata) = (seconds(TTL), Metadata::default());
            let request = AcquireRequest::new(name, holder, grant, ttl).with_metadata(metadata);
            match block_on(store.acquire(from_ref(&request))).remove(0).unwrap() {
                Acquired::Granted(grant) => {
                    let (token, remaining) = (u8::try_from(grant.token.get()).unwrap(), ticks(grant.remaining));
                    *count = token.max(*count);
                    Answer::Granted { token, remaining, number: *count }
                }
                Acquired::Held { .. } => Answer::Held,
                Acquired::Spent => Answer::Spent,
                other => panic!("unexpected answer: {other:?}"),
            }
        }
        Request::Renew(_) => {
            let request = RenewRequest::new(claim, seconds(TTL));
            match block_on(store.renew(&[request])).remove(0).unwrap() {
                Renewed::Extended { remaining } => Answer::Extended { remaining: ticks(remaining) },
                Renewed::Lost(_) => Answer::Lost,
                other => panic!("unexpected answer: {other:?}"),
            }
        }
        Request::Release(_) => {
            let request = ReleaseRequest::new(claim);
            match block_on(store.release(&[request])).remove(0).unwrap() {
                Released::Freed => Answer::Freed,
                Released::NotHeld => Answer::NotHeld,
                other => panic!("unexpected answer: {other:?}"),
            }
        }
    }
}

/// Sends both stores the same requests, each after some ticks. Their answers must be equal.
fn compare(left_out: &[Rule]) -> Result<(), TestError<Vec<(Tick, Request)>>> {
    let nonce = (0..2_u8, 1..3_u8).prop_map(|(client, attempt)| Nonce { client, attempt });
    let request = (nonce, 0..3).prop_map(|(nonce, operation)| match operation {
        0 => Request::Acquire(nonce),
        1 => Request::Renew(nonce),
        _ => Request::Release(nonce),
    });
    let requests = prop::collection::vec((0..=TTL, request), 1..30);
    let mut config = ProptestConfig::with_cases(2000);
    config.failure_persistence = None;
    TestRunner::new(config).run(&requests, |requests| {
        let clock = Ticks::default();
        let (memory, mut model) = (MemoryStore::with_clock(clock.clone()), Store::default());
        let (mut now, mut count) = (0, 0);
        for (pause, request) in requests {
            now += pause;
            clock.0.store(now.into(), Ordering::Relaxed);
            prop_assert_eq!(answer(&memory, request, &mut count), model.answer(request, now, left_out));
        }
        Ok(())
    })
}

#[test]
fn the_model_answers_as_the_memory_store_does() {
    compare(&[]).unwrap();
}

#[test]
fn a_store_without_a_rule_answers_differently() {
    for rule in [
        Rule::OnlyTheOwnerRenews,
        Rule::NoRenewalRevives,
        Rule::TokenSurvivesTheGrant,
        Rule::OnlyTheOwnerReleases,
        Rule::NoncesAreSpent,
    ] {
        assert!(compare(&[rule]).is_err(), "{rule:?} makes no difference");
    }
}
