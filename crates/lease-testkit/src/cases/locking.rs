//! Calls that wait for a record which other software has locked: the state after the wait decides (S7, S9, S11, S22).
//!
//! Where no other software can lock a record, these cases have nothing to test.

use std::{slice::from_ref, time::Duration};

use lease_core::{Acquired, Break, Claim, FencingToken, LeaseStore, Moment, Released, Renewed, Result};

use crate::{
    RecordLock,
    bench::Bench,
    calls::{acquire, claim, granted, inspected, lost, name, only, plain_release, refused, renew, renewal},
};

/// Number of attempts. On a busy machine the request may come too late to wait, or the lock may be released too late.
const ROUNDS: usize = 4;

/// A grant that expires while a request waits for the lock.
struct Expiring {
    claim: Claim,
    token: FencingToken,
    hold: Box<dyn RecordLock>,
    over: Moment,
}

impl Expiring {
    async fn new(bench: &Bench, store: &dyn LeaseStore, round: usize) -> Option<Self> {
        let capabilities = store.capabilities();
        let ttl = bench.rounded(capabilities.min_ttl.max(Duration::from_millis(250)), &capabilities);
        let request = bench.request(&name(&format!("job/{round}"))).with_ttl(ttl);
        let sent = bench.now();
        let grant = granted(store, &request).await;
        let hold = bench.lock_record(&request.name).await?;
        Some(Self { claim: claim(&request, grant), token: grant.token, hold, over: sent + ttl })
    }

    /// Returns the outcome of this request, which is sent just before the expiry and can be executed just after it.
    async fn meanwhile<T>(self, bench: &Bench, other: &dyn LeaseStore, asked: impl Future<Output = T>) -> T {
        // Some stores wait for a lock for a short time only, but for that long.
        bench.sleep(self.over.saturating_since(bench.now()).saturating_sub(Duration::from_millis(25))).await;
        let commit = async {
            bench.wait_until_free(other, &self.claim.name).await;
            self.hold.commit().await;
        };
        tokio::join!(asked, commit).0
    }
}

/// Returns the answer, or `None` if the store did not wait so long.
fn answered<T>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
    }
}

/// A lease that expires while its renewal waits is lost.
pub async fn s07_a_renewal_that_waited_past_the_expiry_revives_nothing(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for round in 0..ROUNDS {
        let Some(expiring) = Expiring::new(bench, &*store, round).await else { return };
        let renewing = renewal(&expiring.claim, bench.ttl * 30);
        let answer = expiring.meanwhile(bench, &*other, renew(&*store, &renewing)).await;
        if let Some(answer) = answered(answer) {
            assert!(matches!(answer, Renewed::Lost(_)), "an expired lease was renewed: {answer:?}");
        }
        assert_eq!(inspected(&*other, &renewing.claim.name).await, None);
    }
}

/// A lease that expires while its release waits is not released, and its name is not blocked.
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

/// A lease that expires while its break waits is not broken.
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

/// A lease that is taken over, or whose record is deleted, while its renewal waits is lost.
pub async fn s07_a_renewal_that_waited_for_its_loss_is_refused(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for (round, is_deleted) in [false, true, false, true].into_iter().enumerate() {
        let request = bench.request(&name(&format!("job/{round}"))).with_ttl(bench.ttl * 30);
        let claim = claim(&request, granted(&*store, &request).await);
        let Some(mut hold) = bench.lock_record(&request.name).await else { return };
        let renewing = renewal(&claim, bench.ttl * 30);
        let taken = async {
            bench.sleep(Duration::from_millis(15)).await;
            if is_deleted {
                hold.delete().await;
            } else {
                hold.take_over().await;
            }
            hold.commit().await;
        };
        let (answer, ()) = tokio::join!(renew(&*store, &renewing), taken);
        // An answer from before the loss was right then.
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

/// While an attempt waits, other software creates the record, grants the lease and deletes the record: the attempt gets a
/// greater token.
pub async fn s09_a_grant_that_waited_for_a_deletion_has_a_greater_token(bench: &Bench) {
    let store = bench.store().await;
    for round in 0..ROUNDS * 2 {
        let request = bench.request(&name(&format!("job/{round}")));
        let Some(mut hold) = bench.lock_record(&request.name).await else { return };
        let deleted = async {
            bench.sleep(Duration::from_millis(15)).await;
            let token = hold.take_over().await;
            hold.delete().await;
            hold.commit().await;
            token
        };
        let (answer, theirs) = tokio::join!(acquire(&*store, &request), deleted);
        if let Some(Acquired::Granted(grant)) = answered(answer) {
            assert!(grant.token > theirs, "{} is not greater than {theirs}", grant.token);
        }
    }
}

/// Of a batch with a locked name only that name may fail (L7). It is granted when it is free.
pub async fn l07_a_locked_element_fails_alone(bench: &Bench) {
    let store = bench.store().await;
    let requests: Vec<_> = (0..9).map(|number| bench.request(&name(&format!("job/{number}")))).collect();
    let locked = &requests[4];
    let Some(mut hold) = bench.lock_record(&locked.name).await else { return };
    let answers = bench.expect_soon("the batch is answered", store.acquire(&requests)).await;
    for (request, answer) in requests.iter().zip(answers) {
        if request.name == locked.name {
            assert!(answered(answer).is_none(), "the locked name was answered under the lock");
        } else {
            assert!(matches!(answer, Ok(Acquired::Granted(_))), "{}: {answer:?}", request.name);
        }
    }
    hold.delete().await;
    hold.commit().await;
    granted(&*store, locked).await;
}
