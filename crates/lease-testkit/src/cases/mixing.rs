//! A store rejects the answer to another call (S25). The network swaps two answers.

use std::{fmt::Debug, sync::Arc};

use lease_core::{Acquired, Break, ErrorKind, LeaseStore, Released, Renewed, Result};

use crate::{
    AnswerSwap,
    bench::Bench,
    calls::{acquire, claim, granted, inspected, name, refused, release, renew, renewal},
};

/// Background calls may take part in a swap, so each case has several rounds.
const ROUNDS: usize = 4;

fn assert_swapped(swapped: usize) {
    assert!(swapped > 0, "no two answers were swapped in {ROUNDS} rounds");
}

/// An attempt for a free name gets the answer to an attempt for a held name, and the reverse: only the free name may be
/// granted.
pub async fn s25_mixed_up_answers_grant_nothing(bench: &Bench) {
    let Some(mixed) = bench.answer_swap().await else { return };
    let (store, other) = (mixed.store(), bench.store().await);
    let mut swapped = 0;
    for round in 0..ROUNDS {
        let held = bench.request(&name(&format!("held/{round}"))).with_ttl(bench.ttl * 30);
        let grant = granted(&*other, &held).await;
        let (free, rival) = (bench.request(&name(&format!("free/{round}"))), bench.request(&held.name));
        prepare(bench, &store).await;
        // Completes what the store does only at its first attempt for a name.
        let first = bench.request(&free.name);
        let grant_before = granted(&*store, &first).await;
        assert_eq!(release(&*store, &claim(&first, grant_before)).await, Released::Freed);
        refused(&*store, &bench.request(&held.name)).await;
        let calls = async || tokio::join!(acquire(&*store, &free), acquire(&*store, &rival));
        let Some((one, two)) = mix_up(bench, &*mixed, calls()).await else { continue };
        swapped += 1;
        for error in [one.as_ref().err(), two.as_ref().err()].into_iter().flatten() {
            // With another kind, a grant that was made would not be released.
            assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        }
        match answered(two) {
            None | Some(Acquired::Held { .. }) => {}
            Some(answer) => panic!("a held name was granted: {answer:?}"),
        }
        match answered(one) {
            None => {}
            Some(Acquired::Granted(grant)) => {
                let record = inspected(&*other, &free.name).await;
                assert_eq!(record.map(|record| record.token), Some(grant.token), "the token of another grant");
            }
            Some(answer) => panic!("a free name was refused: {answer:?}"),
        }
        let record = inspected(&*other, &held.name).await;
        assert_eq!(record.map(|record| record.token), Some(grant.token));
    }
    assert_swapped(swapped);
}

/// The renewal of a lease in force gets the answer to the renewal of a broken one, and the reverse.
pub async fn s25_mixed_up_answers_renew_nothing(bench: &Bench) {
    let Some(mixed) = bench.answer_swap().await else { return };
    let (store, other) = (mixed.store(), bench.store().await);
    let mut swapped = 0;
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
        swapped += 1;
        assert!(!matches!(answered(one), Some(Renewed::Lost(_))), "a lease in force was reported as lost");
        assert!(!matches!(answered(two), Some(Renewed::Extended { .. })), "a broken lease was renewed");
    }
    assert_swapped(swapped);
}

/// The inspection of a free name gets the answer to that of a held one, and the reverse (S19).
pub async fn s25_mixed_up_answers_show_no_other_lease(bench: &Bench) {
    let Some(mixed) = bench.answer_swap().await else { return };
    let (store, other) = (mixed.store(), bench.store().await);
    let mut swapped = 0;
    let held = bench.request(&name("held")).with_ttl(bench.ttl * 30);
    let grant = granted(&*other, &held).await;
    let free = name("free");
    for _ in 0..ROUNDS {
        prepare(bench, &store).await;
        let looks = async || tokio::join!(store.inspect(&free), store.inspect(&held.name));
        let Some((none, record)) = mix_up(bench, &*mixed, looks()).await else { continue };
        swapped += 1;
        if let Some(record) = answered(record) {
            assert_eq!(
                record.map(|record| record.token),
                Some(grant.token),
                "the inspection of a held name did not return its grant"
            );
        }
        if let Some(record) = answered(none) {
            assert!(record.is_none(), "the inspection of a free name returned a record: {record:?}");
        }
    }
    assert_swapped(swapped);
}

/// Completes what happens only at a first call: two connections, where calls do not share one, and their preparation.
async fn prepare(bench: &Bench, store: &Arc<dyn LeaseStore>) {
    let twice = async |store: &dyn LeaseStore| {
        // New names each time: a failed attempt may have left a grant.
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
        // After a swap connections were closed, and are opened again.
        bench
            .poll("two concurrent calls are answered", bench.ttl * 2 + bench.tolerance(), async || {
                twice(&**store).await
            })
            .await;
    }
}

/// Makes two concurrent calls whose answers are swapped. Returns `None` where they were not, because a connection was just
/// being opened.
async fn mix_up<T>(bench: &Bench, mixed: &dyn AnswerSwap, calls: impl Future<Output = T>) -> Option<T> {
    // Waits for background work of the preparation.
    bench.sleep(bench.ttl / 10).await;
    mixed.swap_next();
    let answers = bench.expect_within("both calls are answered", bench.ttl * 2 + bench.tolerance(), calls).await;
    mixed.has_swapped().then_some(answers)
}

/// Returns the answer if the call succeeded.
fn answered<T: Debug>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
    }
}
