//! Transactions change only keys of the claimed grant. Comparing revisions is not enough: they start again when the servers'
//! data is lost, and then the keys of two holders may have the same ones.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use integration_tests::{Direction, Etcd, Proxy};
use lease_core::{
    AcquireRequest, Acquired, Break, Claim, Grant, LeaseStore, LossReason, Metadata, MetadataUpdate, ReleaseRequest,
    Released, RenewRequest, Renewed,
};
use lease_etcd::EtcdStore;

use crate::common::*;

/// Simulates a server with lost data: a key keeps its revisions and its etcd lease, but has the value of another grant.
struct Bench {
    store: EtcdStore,
    network: Proxy,
    driver: Client,
}

/// The network delay of a request, where something must happen between two requests.
const DELAY: Duration = Duration::from_millis(400);

impl Bench {
    async fn new() -> Self {
        let etcd = Etcd::shared().await;
        let network = Proxy::start(etcd.address().unwrap()).await.unwrap();
        let store = options().connect([etcd.url_through(&network)]).await.unwrap();
        Self { store, network, driver: driver().await }
    }

    fn prefix(&self) -> String {
        self.store.key(&name("x")).trim_end_matches('x').to_owned()
    }

    fn block(&self, job: &str) -> String {
        format!("{} blocked", self.store.key(&name(job)))
    }

    async fn value(&mut self, key: &str) -> Option<Vec<u8>> {
        self.driver.get(key, None).await.unwrap().kvs().first().map(|pair| pair.value().to_vec())
    }

    async fn overwrite(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.driver.put(key, value, Some(PutOptions::new().with_ignore_lease())).await.unwrap();
    }

    /// A grant of another holder, and the value of its key.
    async fn rival(&mut self) -> (Claim, Vec<u8>) {
        let (claim, _) = granted(&self.store, &request("rival", LONG)).await;
        let value = self.value(&self.store.key(&name("rival"))).await.unwrap();
        (claim, value)
    }

    /// Returns the outcome of a call whose key gets this value after its first request, and before its second one.
    async fn overtaken<T>(&mut self, key: &str, value: &[u8], call: impl AsyncFnOnce(&EtcdStore) -> T) -> T {
        let store = self.store.clone();
        self.network.delay(Direction::Requests, DELAY);
        let (outcome, ()) = tokio::join!(call(&store), async {
            pass(DELAY + DELAY / 2).await;
            self.overwrite(key, value).await;
        });
        self.network.heal();
        outcome
    }

    /// Asserts that the key belongs to the rival, and stays unchanged.
    async fn assert_is_the_rivals(&mut self, key: &str, value: &[u8]) {
        assert_eq!(self.value(key).await.as_deref(), Some(value));
    }
}

#[tokio::test]
async fn s07_a_renewal_moves_no_key_of_another_grant() {
    let mut bench = Bench::new().await;
    let (claim, grant) = granted(&bench.store, &request("job", SHORT)).await;
    let (rival, value) = bench.rival().await;
    let key = bench.store.key(&name("job"));
    bench.overwrite(&key, value.clone()).await;
    let lease = pair(&mut bench.driver, &bench.store, "job").await.unwrap().lease();
    // Creates a newer bucket, to which the key would move.
    pass(SHORT / 4).await;
    let reason = lost(&bench.store, &claim, SHORT).await;
    assert_eq!(reason, LossReason::taken_over(rival.holder, grant.token));
    assert_eq!(pair(&mut bench.driver, &bench.store, "job").await.unwrap().lease(), lease);
    bench.assert_is_the_rivals(&key, &value).await;
}

#[tokio::test]
async fn s07_a_renewal_that_reads_first_changes_no_key_of_another_grant() {
    let mut bench = Bench::new().await;
    let (claim, _) = granted(&bench.store, &request("job", LONG)).await;
    let (_, value) = bench.rival().await;
    let key = bench.store.key(&name("job"));
    let update = MetadataUpdate::new(1, Metadata::new([("is", "new")]).unwrap());
    let renewal = RenewRequest::new(claim, LONG).with_metadata(update);
    let renewed = bench.overtaken(&key, &value, async |store| only(store.renew(&[renewal]).await)).await.unwrap();
    assert!(matches!(renewed, Renewed::Lost(LossReason::TakenOver { .. })), "{renewed:?}");
    bench.assert_is_the_rivals(&key, &value).await;
}

#[tokio::test]
async fn s11_a_release_frees_no_key_of_another_grant() {
    let mut bench = Bench::new().await;
    let (claim, _) = granted(&bench.store, &request("job", LONG)).await;
    let (_, value) = bench.rival().await;
    let key = bench.store.key(&name("job"));
    bench.overwrite(&key, value.clone()).await;
    assert_eq!(release(&bench.store, &claim).await, Released::NotHeld);
    bench.assert_is_the_rivals(&key, &value).await;
}

/// A release that keeps its name blocked reads first, and so does one of a value in the earlier form.
#[tokio::test]
async fn s11_a_release_that_reads_first_frees_no_key_of_another_grant() {
    let mut bench = Bench::new().await;
    let (_, value) = bench.rival().await;
    for (job, hold_for, is_of_earlier_form) in
        [("new", LONG, false), ("earlier", Duration::ZERO, true), ("both", LONG, true)]
    {
        let (claim, _) = granted(&bench.store, &request(job, LONG)).await;
        let key = bench.store.key(&name(job));
        if is_of_earlier_form {
            bench.overwrite(&key, earlier_form(&claim)).await;
        }
        let wish = ReleaseRequest::new(claim).with_hold_for(hold_for);
        let released = bench.overtaken(&key, &value, async |store| only(store.release(&[wish]).await)).await;
        assert_eq!(released.unwrap(), Released::NotHeld, "{job}");
        bench.assert_is_the_rivals(&key, &value).await;
        assert_eq!(bench.value(&bench.block(job)).await, None, "{job}");
    }
}

/// A break ends only the grant that it has read.
#[tokio::test]
async fn s22_a_break_hits_nothing_but_what_it_has_read() {
    let mut bench = Bench::new().await;
    let (_, value) = bench.rival().await;
    for how in [Break::Now, Break::AfterExpiry] {
        let job = format!("job/{how:?}");
        let (claim, grant) = granted(&bench.store, &request(&job, LONG)).await;
        let key = bench.store.key(&name(&job));
        // So that a second read finds another token.
        let (mut driver, mut other) = (bench.driver.clone(), bench.driver.clone());
        let before = pair(&mut driver, &bench.store, &job).await.unwrap();
        let watched = key.clone();
        let replaced = async move {
            // The key is deleted after the first attempt has failed.
            pass(DELAY * 2 + DELAY / 2).await;
            let is_there = !other.get(watched.as_str(), None).await.unwrap().kvs().is_empty();
            other.delete(watched.as_str(), None).await.unwrap();
            is_there
        };
        let token = grant.token;
        let (broken, is_there) = tokio::join!(
            bench.overtaken(&key, &value, async |store| store.break_lease(&claim.name, token, how).await),
            replaced
        );
        assert!(is_there, "{how:?} has hit what it has not read");
        assert_eq!(broken.unwrap(), Released::NotHeld, "{how:?}");
        assert!(before.create_revision() > 0);
    }
}

/// A reserved name is granted to no other holder, even if the reservation changes meanwhile.
#[tokio::test]
async fn s11_a_reservation_is_what_was_read() {
    let mut bench = Bench::new().await;
    let reserve = async |bench: &Bench, job: &str, successor: &AcquireRequest| {
        let (claim, _) = granted(&bench.store, &request(job, LONG)).await;
        let reserved_for = Some(successor.holder.clone());
        only(
            bench
                .store
                .release(&[ReleaseRequest::new(claim).with_hold_for(LONG).with_reserved_for(reserved_for)])
                .await,
        )
        .unwrap();
    };
    let successor = request("job", LONG);
    reserve(&bench, "job", &successor).await;
    reserve(&bench, "other", &request("other", LONG)).await;
    let (key, other) = (bench.block("job"), bench.block("other"));
    let value = bench.value(&other).await.unwrap();
    let acquired = bench.overtaken(&key, &value, async |store| acquire(store, &successor).await).await.unwrap();
    assert!(matches!(acquired, Acquired::Held { .. }), "{acquired:?}");
    bench.assert_is_the_rivals(&key, &value).await;
}

/// Returns a value as earlier versions wrote it: the nonce is not its first field.
fn earlier_form(claim: &Claim) -> String {
    let Claim { holder, grant, .. } = claim;
    format!(
        r#"{{"holder":"{holder}","grant":"{grant}","ttl_seconds":300,"acquired_at_us":1,"metadata_revision":0,"metadata":{{"is":"old"}}}}"#
    )
}

async fn granted_in_the_earlier_form(bench: &mut Bench, request: &AcquireRequest) -> (Claim, Grant) {
    let (claim, grant) = granted(&bench.store, request).await;
    let key = bench.store.key(&request.name);
    bench.overwrite(&key, earlier_form(&claim)).await;
    (claim, grant)
}

/// During an update of a fleet, grants of the earlier version exclude others, and can be renewed and released.
#[tokio::test]
async fn s07_a_grant_of_an_earlier_version_is_renewed() {
    let mut bench = Bench::new().await;
    let wish = request("job", SHORT);
    let (claim, grant) = granted_in_the_earlier_form(&mut bench, &wish).await;
    assert!(!is_free(&bench.store, "job").await);
    assert!(matches!(acquire(&bench.store, &wish).await, Ok(Acquired::Granted(again)) if again.token == grant.token));
    for _ in 0..8 {
        pass(SHORT / 4).await;
        extended(&bench.store, &claim, SHORT).await;
    }
    let after = pair(&mut bench.driver, &bench.store, "job").await.unwrap();
    let text = String::from_utf8(after.value().to_vec()).unwrap();
    assert!(text.starts_with(&format!(r#"{{"grant":"{}","holder":"#, claim.grant)), "{text}");
    assert!(text.contains(r#""is":"old""#) && after.create_revision() == i64::try_from(grant.token.get()).unwrap());
    assert_eq!(release(&bench.store, &claim).await, Released::Freed);
    assert!(is_free(&bench.store, "job").await);
}

#[tokio::test]
async fn s11_a_grant_of_an_earlier_version_is_released_or_broken() {
    let mut bench = Bench::new().await;
    let (claim, _) = granted_in_the_earlier_form(&mut bench, &request("job", LONG)).await;
    assert_eq!(release(&bench.store, &claim).await, Released::Freed);
    assert_eq!(release(&bench.store, &claim).await, Released::NotHeld);

    let (claim, _) = granted_in_the_earlier_form(&mut bench, &request("held", LONG)).await;
    let wish = ReleaseRequest::new(claim).with_hold_for(LONG);
    assert_eq!(only(bench.store.release(&[wish]).await).unwrap(), Released::Freed);
    assert!(!is_free(&bench.store, "held").await);

    for how in [Break::Now, Break::AfterExpiry] {
        let job = format!("job/{how:?}");
        let (claim, grant) = granted_in_the_earlier_form(&mut bench, &request(&job, LONG)).await;
        assert_eq!(bench.store.break_lease(&claim.name, grant.token, how).await.unwrap(), Released::Freed);
        assert!(matches!(lost(&bench.store, &claim, LONG).await, LossReason::Gone | LossReason::Broken));
    }
}

/// A grant in the earlier form can be renewed and released only by its own holder.
#[tokio::test]
async fn s07_a_grant_of_an_earlier_version_is_its_holders_alone() {
    let mut bench = Bench::new().await;
    let (claim, _) = granted(&bench.store, &request("job", LONG)).await;
    let (rival, _) = bench.rival().await;
    let key = bench.store.key(&name("job"));
    bench.overwrite(&key, earlier_form(&rival)).await;
    assert!(matches!(lost(&bench.store, &claim, LONG).await, LossReason::TakenOver { .. }));
    assert_eq!(release(&bench.store, &claim).await, Released::NotHeld);
    bench.assert_is_the_rivals(&key, earlier_form(&rival).as_bytes()).await;
}

/// Changes of a key between two requests of a read.
impl Bench {
    /// Returns the outcome of a call. After its first request, the key is moved to another etcd lease, and the one that it
    /// was on is revoked.
    async fn moved<T>(&mut self, job: &str, call: impl AsyncFnOnce(&EtcdStore) -> T) -> T {
        let key = self.store.key(&name(job));
        let before = pair(&mut self.driver, &self.store, job).await.unwrap().lease();
        // A store that has not created that etcd lease, and looks up the time left of it.
        let store = self.store.clone();
        self.network.delay(Direction::Requests, DELAY);
        let (outcome, ()) = tokio::join!(call(&store), async {
            pass(DELAY + DELAY / 2).await;
            let next = self.driver.lease_grant(300, None).await.unwrap().id();
            let options = PutOptions::new().with_ignore_value().with_lease(next);
            self.driver.put(key, "", Some(options)).await.unwrap();
            self.driver.lease_revoke(before).await.unwrap();
        });
        self.network.heal();
        outcome
    }
}

/// S19: only a missing key shows that a name is free. A key that was moved to another etcd lease is held.
#[tokio::test]
async fn s19_a_grant_that_moves_while_it_is_looked_at_is_held() {
    let mut bench = Bench::new().await;
    let holder = options().with_key_prefix(bench.prefix()).connect([Etcd::shared().await.url()]).await.unwrap();
    // Creates the bucket beforehand.
    granted(&bench.store, &request("other", LONG)).await;
    for (job, what) in [("inspect", 0), ("list", 1), ("again", 2)] {
        let wish = request(job, LONG);
        let (_, grant) = granted(&holder, &wish).await;
        let is_seen = bench
            .moved(job, async |store| match what {
                0 => store.inspect(&name(job)).await.unwrap().is_some(),
                1 => !store.list(job, None, 9).await.unwrap().is_empty(),
                _ => matches!(acquire(store, &wish).await, Ok(Acquired::Granted(again)) if again.token == grant.token),
            })
            .await;
        assert!(is_seen, "{job}");
    }
}

/// Moves the key to an etcd lease that lasts longer, between two requests of a call. The later request must not move it back.
async fn moved_to_a_longer_one<T>(
    bench: &mut Bench,
    after: Duration,
    call: impl AsyncFnOnce(&EtcdStore) -> T,
) -> (T, i64) {
    let (key, store) = (bench.store.key(&name("job")), bench.store.clone());
    let longer = bench.driver.lease_grant(3000, None).await.unwrap().id();
    bench.network.delay(Direction::Requests, DELAY);
    let (outcome, ()) = tokio::join!(call(&store), async {
        pass(after).await;
        let options = PutOptions::new().with_ignore_value().with_lease(longer);
        bench.driver.put(key, "", Some(options)).await.unwrap();
    });
    bench.network.heal();
    (outcome, longer)
}

#[tokio::test]
async fn s07_a_renewal_that_reads_first_moves_nothing_back() {
    let mut bench = Bench::new().await;
    let (claim, _) = granted_in_the_earlier_form(&mut bench, &request("job", LONG)).await;
    // A bucket, the attempt, a read; and then the key is moved.
    let (renewed, longer) =
        moved_to_a_longer_one(&mut bench, DELAY * 3 + DELAY / 2, async |store| extended(store, &claim, LONG * 2).await)
            .await;
    assert!(renewed > LONG * 3, "{renewed:?}");
    assert_eq!(pair(&mut bench.driver, &bench.store, "job").await.unwrap().lease(), longer);
}

/// S22: the name is blocked for the time left of the grant, not for the time that was left before the last renewal.
#[tokio::test]
async fn s22_a_break_after_expiry_blocks_for_the_time_of_the_last_renewal() {
    let mut bench = Bench::new().await;
    let (claim, grant) = granted(&bench.store, &request("job", LONG)).await;
    let (broken, longer) = moved_to_a_longer_one(&mut bench, DELAY + DELAY / 2, async |store| {
        store.break_lease(&claim.name, grant.token, Break::AfterExpiry).await
    })
    .await;
    assert_eq!(broken.unwrap(), Released::Freed);
    let block = bench.driver.get(bench.block("job"), None).await.unwrap();
    assert_eq!(block.kvs()[0].lease(), longer);
}

/// The requests of the earlier version, which compared the create revision only.
struct Earlier {
    driver: Client,
}

impl Earlier {
    async fn commit(&mut self, when: Vec<Compare>, then: Vec<TxnOp>) -> bool {
        self.driver.txn(Txn::new().when(when).and_then(then)).await.unwrap().succeeded()
    }

    async fn acquire(&mut self, key: &str, claim: &Claim) -> bool {
        let lease = self.driver.lease_grant(300, None).await.unwrap().id();
        let attached = Some(PutOptions::new().with_lease(lease));
        let free = |key: String| Compare::create_revision(key, CompareOp::Equal, 0);
        let when = vec![free(key.to_owned()), free(format!("{key} blocked"))];
        self.commit(when, vec![TxnOp::put(key, earlier_form(claim), attached)]).await
    }

    async fn renew(&mut self, key: &str, token: i64) -> bool {
        // Greater than the ids of all buckets of the test.
        let lease = self.driver.lease_grant(300, None).await.unwrap().id().max(1 << 62);
        let when =
            vec![Compare::create_revision(key, CompareOp::Equal, token), Compare::lease(key, CompareOp::Less, lease)];
        let options = PutOptions::new().with_ignore_value().with_ignore_lease();
        self.commit(when, vec![TxnOp::put(key, "", Some(options))]).await
    }

    async fn release(&mut self, key: &str, token: i64) -> bool {
        self.commit(vec![Compare::create_revision(key, CompareOp::Equal, token)], vec![TxnOp::delete(key, None)]).await
    }
}

/// Both versions side by side on one server.
#[tokio::test]
async fn s09_an_earlier_version_and_this_one_exclude_each_other() {
    let bench = Bench::new().await;
    let mut earlier = Earlier { driver: driver().await };
    let key = bench.store.key(&name("job"));
    let theirs = claim(&request("job", LONG), Grant::new(token(1), LONG));
    let mut last = 0;
    for _ in 0..3 {
        let (claim, grant) = granted(&bench.store, &request("job", LONG)).await;
        let token = i64::try_from(grant.token.get()).unwrap();
        assert!(token > last);
        assert!(!earlier.acquire(&key, &theirs).await, "the earlier version was granted what this one holds");
        assert!(!earlier.release(&key, last).await && !earlier.renew(&key, last).await);
        assert!(earlier.renew(&key, token).await, "a grant of this version, renewed by the earlier one");
        extended(&bench.store, &claim, LONG).await;
        assert_eq!(release(&bench.store, &claim).await, Released::Freed);

        assert!(earlier.acquire(&key, &theirs).await);
        assert!(!is_free(&bench.store, "job").await);
        assert!(matches!(lost(&bench.store, &claim, LONG).await, LossReason::TakenOver { .. }));
        assert_eq!(release(&bench.store, &claim).await, Released::NotHeld);
        last = i64::try_from(bench.store.inspect(&name("job")).await.unwrap().unwrap().token.get()).unwrap();
        assert!(last > token && earlier.renew(&key, last).await && earlier.release(&key, last).await);
    }
}
