//! No answer is believed that is another call's (S25).

use std::{fmt::Debug, sync::Arc};

use lease_core::{Acquired, Break, ErrorKind, LeaseStore, Released, Renewed, Result};

use crate::{
    MixedUp,
    bench::Bench,
    calls::{acquire, claim, granted, inspected, name, refused, release, renew, renewal},
};

/// Whatever comes up in the background takes part, so it is tried several times.
const ROUNDS: usize = 4;

fn assert_seen(seen: usize) {
    assert!(seen > 0, "in {ROUNDS} rounds no two answers of calls at once were seen");
}

/// The answer to who tries for a free name goes to who tries for a held one: only the free name is granted, if any.
pub async fn s25_mixed_up_answers_grant_nothing(bench: &Bench) {
    let Some(mixed) = bench.mixed_up().await else { return };
    let (store, other) = (mixed.store(), bench.store().await);
    let mut seen = 0;
    for round in 0..ROUNDS {
        let held = bench.request(&name(&format!("held/{round}"))).with_ttl(bench.ttl * 30);
        let grant = granted(&*other, &held).await;
        let (free, rival) = (bench.request(&name(&format!("free/{round}"))), bench.request(&held.name));
        prepare(bench, &store).await;
        // What a store does at its first try for a name is done.
        let first = bench.request(&free.name);
        let grant_before = granted(&*store, &first).await;
        assert_eq!(release(&*store, &claim(&first, grant_before)).await, Released::Freed);
        refused(&*store, &bench.request(&held.name)).await;
        let calls = async || tokio::join!(acquire(&*store, &free), acquire(&*store, &rival));
        let Some((one, two)) = mix_up(bench, &*mixed, calls()).await else { continue };
        seen += 1;
        for error in [one.as_ref().err(), two.as_ref().err()].into_iter().flatten() {
            // Else what was granted unseen would not be released.
            assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        }
        match known(two) {
            None | Some(Acquired::Held { .. }) => {}
            Some(answer) => panic!("a name that is held was granted: {answer:?}"),
        }
        match known(one) {
            None => {}
            Some(Acquired::Granted(grant)) => {
                let record = inspected(&*other, &free.name).await;
                assert_eq!(record.map(|record| record.token), Some(grant.token), "another one's token");
            }
            Some(answer) => panic!("a free name was refused: {answer:?}"),
        }
        let record = inspected(&*other, &held.name).await;
        assert_eq!(record.map(|record| record.token), Some(grant.token));
    }
    assert_seen(seen);
}

/// The answer to who renews a lease goes to who has lost one.
pub async fn s25_mixed_up_answers_renew_nothing(bench: &Bench) {
    let Some(mixed) = bench.mixed_up().await else { return };
    let (store, other) = (mixed.store(), bench.store().await);
    let mut seen = 0;
    for round in 0..ROUNDS {
        let [kept, broken] = ["kept", "broken"].map(|what| {
            let request = bench.request(&name(&format!("{what}/{round}")));
            let ttl = request.ttl;
            request.with_ttl(ttl * 30)
        });
        let kept = claim(&kept, granted(&*other, &kept).await);
        let grant = granted(&*other, &broken).await;
        let ended = other.break_lease(&broken.name, grant.token, Break::AfterExpiry).await;
        assert_eq!(ended.expect("a break is answered"), Released::Freed);
        let broken = claim(&broken, grant);
        prepare(bench, &store).await;
        let (long, longer) = (renewal(&kept, bench.ttl * 30), renewal(&broken, bench.ttl * 30));
        let calls = async || tokio::join!(renew(&*store, &long), renew(&*store, &longer));
        let Some((one, two)) = mix_up(bench, &*mixed, calls()).await else { continue };
        seen += 1;
        assert!(!matches!(known(one), Some(Renewed::Lost(_))), "a lease was lost by another one's loss");
        assert!(!matches!(known(two), Some(Renewed::Extended { .. })), "a broken lease was renewed");
    }
    assert_seen(seen);
}

/// The answer to who asks for a free name goes to who asks for a held one (S19).
pub async fn s25_mixed_up_answers_show_no_other_lease(bench: &Bench) {
    let Some(mixed) = bench.mixed_up().await else { return };
    let (store, other) = (mixed.store(), bench.store().await);
    let mut seen = 0;
    let held = bench.request(&name("held")).with_ttl(bench.ttl * 30);
    let grant = granted(&*other, &held).await;
    let free = name("free");
    for _ in 0..ROUNDS {
        prepare(bench, &store).await;
        let looks = async || tokio::join!(store.inspect(&free), store.inspect(&held.name));
        let Some((none, record)) = mix_up(bench, &*mixed, looks()).await else { continue };
        seen += 1;
        if let Some(record) = known(record) {
            assert_eq!(record.map(|record| record.token), Some(grant.token), "held by nobody");
        }
        if let Some(record) = known(none) {
            assert!(record.is_none(), "another one's lease: {record:?}");
        }
    }
    assert_seen(seen);
}

/// All that is made at a first call is made: two connections, where calls do not share one, and whatever is prepared on them.
async fn prepare(bench: &Bench, store: &Arc<dyn LeaseStore>) {
    let twice = async |store: &dyn LeaseStore| {
        // Names of their own: what an attempt that failed was granted unseen is in nobody's way.
        let [one, two] = ["one", "two"].map(|one| bench.request(&name(&format!("{one}/{}", bench.holder()))));
        let (first, second) = tokio::join!(acquire(store, &one), acquire(store, &two));
        let (Ok(Acquired::Granted(first)), Ok(Acquired::Granted(second))) = (first, second) else { return None };
        let (one, two) = (claim(&one, first), claim(&two, second));
        let (first, second) = (renewal(&one, bench.ttl), renewal(&two, bench.ttl));
        let (first, second) = tokio::join!(renew(store, &first), renew(store, &second));
        let (shown, also) = tokio::join!(store.inspect(&one.name), store.inspect(&two.name));
        let (freed, done) = tokio::join!(release(store, &one), release(store, &two));
        let all = first.is_ok() && second.is_ok() && shown.is_ok() && also.is_ok();
        (all && [freed, done] == [Released::Freed; 2]).then_some(())
    };
    for _ in 0..2 {
        // After a mix-up connections have ended, and are made anew.
        bench
            .poll("two calls at once are answered", bench.ttl * 2 + bench.patience(), async || twice(&**store).await)
            .await;
    }
}

/// Two calls at once whose answers go to each other; nothing where they did not, because a connection was made anew just then.
async fn mix_up<T>(bench: &Bench, mixed: &dyn MixedUp, calls: impl Future<Output = T>) -> Option<T> {
    // What the preparation has left to do in the background.
    bench.pass(bench.ttl / 10).await;
    mixed.mix_up();
    let answers = bench.within("both are answered", bench.ttl * 2 + bench.patience(), calls).await;
    mixed.is_done().then_some(answers)
}

/// An answer, if it was believed.
fn known<T: Debug>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
    }
}
