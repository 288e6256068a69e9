//! Under a lock of other software: what counts is what is there after the wait (S7, S9, S11, S22).
//!
//! Where no other software can lock a record there is nothing to wait for, and nothing to prove.

use std::{slice::from_ref, time::Duration};

use lease_core::{Acquired, Break, Claim, FencingToken, LeaseStore, Moment, Released, Renewed, Result};

use crate::{
    Hold,
    bench::Bench,
    calls::{acquire, claim, granted, inspected, lost, name, only, plain_release, refused, renew, renewal},
};

/// How often: on a busy machine a request may be too late to wait, or too early to be waited for.
const ROUNDS: usize = 4;

/// A grant that expires while a request for it waits.
struct Expiring {
    claim: Claim,
    token: FencingToken,
    hold: Box<dyn Hold>,
    over: Moment,
}

impl Expiring {
    async fn new(bench: &Bench, store: &dyn LeaseStore, round: usize) -> Option<Self> {
        let capabilities = store.capabilities();
        let ttl = bench.rounded(capabilities.min_ttl.max(Duration::from_millis(250)), &capabilities);
        let request = bench.request(&name(&format!("job/{round}"))).with_ttl(ttl);
        let sent = bench.now();
        let grant = granted(store, &request).await;
        let hold = bench.hold(&request.name).await?;
        Some(Self { claim: claim(&request, grant), token: grant.token, hold, over: sent + ttl })
    }

    /// The outcome of this request, which is made just before the expiry, and can be done just after it.
    async fn meanwhile<T>(self, bench: &Bench, other: &dyn LeaseStore, asked: impl Future<Output = T>) -> T {
        // Some stores do not wait for long, but for so long.
        bench.pass(self.over.saturating_since(bench.now()).saturating_sub(Duration::from_millis(25))).await;
        let let_go = async {
            bench.free(other, &self.claim.name).await;
            self.hold.let_go().await;
        };
        tokio::join!(asked, let_go).0
    }
}

/// Whether it was answered; a wait may be too long for a store.
fn answered<T>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
    }
}

/// The lease expires while its renewal waits: it is lost.
pub async fn s07_a_renewal_that_waited_past_the_expiry_revives_nothing(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for round in 0..ROUNDS {
        let Some(expiring) = Expiring::new(bench, &*store, round).await else { return };
        let renewing = renewal(&expiring.claim, bench.ttl * 30);
        let answer = expiring.meanwhile(bench, &*other, renew(&*store, &renewing)).await;
        if let Some(answer) = answered(answer) {
            assert!(matches!(answer, Renewed::Lost(_)), "revived: {answer:?}");
        }
        assert_eq!(inspected(&*other, &renewing.claim.name).await, None);
    }
}

/// The lease expires while its release waits: nothing is released, and nothing blocked.
pub async fn s11_a_release_that_waited_past_the_expiry_is_not_held(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for round in 0..ROUNDS {
        let Some(expiring) = Expiring::new(bench, &*store, round).await else { return };
        let releasing = plain_release(&expiring.claim).with_hold_for(bench.ttl * 30);
        let answer = expiring.meanwhile(bench, &*other, store.release(from_ref(&releasing))).await;
        if let Some(answer) = answered(only(answer)) {
            assert_eq!(answer, Released::NotHeld);
        }
        granted(&*other, &bench.request(&releasing.claim.name)).await;
    }
}

/// The lease expires while its break waits: there is nothing left to break.
pub async fn s22_a_break_that_waited_past_the_expiry_is_not_held(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for round in 0..ROUNDS {
        let Some(expiring) = Expiring::new(bench, &*store, round).await else { return };
        let (job, token) = (expiring.claim.name.clone(), expiring.token);
        let answer = expiring.meanwhile(bench, &*other, store.break_lease(&job, token, Break::AfterExpiry)).await;
        if let Some(answer) = answered(answer) {
            assert_eq!(answer, Released::NotHeld);
        }
        granted(&*other, &bench.request(&job)).await;
    }
}

/// The lease is taken over, or its record deleted, while its renewal waits: it is lost.
pub async fn s07_a_renewal_that_waited_for_its_loss_is_refused(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for (round, is_deleted) in [false, true, false, true].into_iter().enumerate() {
        let request = bench.request(&name(&format!("job/{round}"))).with_ttl(bench.ttl * 30);
        let claim = claim(&request, granted(&*store, &request).await);
        let Some(mut hold) = bench.hold(&request.name).await else { return };
        let renewing = renewal(&claim, bench.ttl * 30);
        let taken = async {
            bench.pass(Duration::from_millis(15)).await;
            if is_deleted {
                hold.delete().await;
            } else {
                hold.take_over().await;
            }
            hold.let_go().await;
        };
        let (answer, ()) = tokio::join!(renew(&*store, &renewing), taken);
        // What was answered before the loss was true then.
        answered(answer);
        lost(&*store, &claim, bench.ttl).await;
        let next = bench.request(&request.name);
        if is_deleted {
            granted(&*other, &next).await;
        } else {
            refused(&*other, &next).await;
        }
    }
}

/// A record is made by others, granted and deleted while an attempt waits for it: the token is greater than theirs.
pub async fn s09_a_grant_that_waited_for_a_deletion_has_a_greater_token(bench: &Bench) {
    let store = bench.store().await;
    for round in 0..ROUNDS * 2 {
        let request = bench.request(&name(&format!("job/{round}")));
        let Some(mut hold) = bench.hold(&request.name).await else { return };
        let deleted = async {
            bench.pass(Duration::from_millis(15)).await;
            let token = hold.take_over().await;
            hold.delete().await;
            hold.let_go().await;
            token
        };
        let (answer, theirs) = tokio::join!(acquire(&*store, &request), deleted);
        if let Some(Acquired::Granted(grant)) = answered(answer) {
            assert!(grant.token > theirs, "{} is not greater than {theirs}", grant.token);
        }
    }
}

/// Of a batch with a locked name, that one alone may fail (L7), and it is granted once it is free.
pub async fn l07_a_locked_element_fails_alone(bench: &Bench) {
    let store = bench.store().await;
    let requests: Vec<_> = (0..9).map(|number| bench.request(&name(&format!("job/{number}")))).collect();
    let locked = &requests[4];
    let Some(mut hold) = bench.hold(&locked.name).await else { return };
    let answers = bench.soon("the batch is answered", store.acquire(&requests)).await;
    for (request, answer) in requests.iter().zip(answers) {
        if request.name == locked.name {
            assert!(answered(answer).is_none(), "nobody knows what becomes of it");
        } else {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{}: {answer:?}", request.name);
        }
    }
    hold.delete().await;
    hold.let_go().await;
    granted(&*store, locked).await;
}
