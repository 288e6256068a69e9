//! Documents that another program writes, too: its leases are respected and taken over, and ours are lost to it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use lease_core::{
    Acquired, Break, ErrorKind, ExpiryJudge, FencingToken, LeaseClient, LeaseStore, LossReason, Released, Renewed,
    TokioClock,
};
use lease_document::{Change, Document, Foreign, Shown, Version};
use lease_testkit::calls::{
    acquire, acquired, claim, extended, granted, holder, inspected, is_held, name, only, plain_release, release,
    renewal,
};

use crate::common::{Bed, Variant, request, store};

const TTL: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

fn bed() -> Bed {
    Bed::new(TokioClock::new())
}

/// For both judges.
fn variants() -> [Variant; 2] {
    [Variant::default(), Variant { judge: ExpiryJudge::Contenders, resolution: None, ..Variant::default() }]
}

/// Another program writes the document of `job`, and leaves the record in it.
fn foreign_write(bed: &Bed, foreign: Foreign) {
    let mut state = bed.state();
    state.number += 1;
    let version = Version::new(format!("\"{}\"", state.number)).with_number(state.number);
    let value = state.documents.get(&name("job")).map(|document| document.value.clone()).unwrap_or_default();
    state.documents.insert(name("job"), Document::new(value, version).with_foreign(foreign));
}

fn held_by_other() -> Foreign {
    Foreign::held(holder("other"), TTL)
}

/// A lease of another program is respected while it is renewed, and taken over when it has been observed unchanged for as long as it
/// lasts, and not before.
#[tokio::test(start_paused = true)]
async fn s02_a_foreign_lease_is_respected_and_taken_over_after_its_duration() {
    for variant in variants() {
        let bed = bed();
        let own = store(&bed, &variant);
        foreign_write(&bed, held_by_other());
        let mine = request("job", "a", TTL / 2);
        for _ in 0..4 {
            match acquired(&own, &mine).await {
                Acquired::Held { by, retry_after } => {
                    let by = by.unwrap();
                    assert_eq!((by.holder, by.ttl), (holder("other"), TTL));
                    assert!(by.remaining <= TTL && retry_after.unwrap() >= TTL);
                }
                other => panic!("{other:?}"),
            }
            bed.sleep(TTL * 9 / 10).await;
            assert!(is_held(&own, &mine).await);
            foreign_write(&bed, held_by_other());
        }
        assert!(is_held(&own, &mine).await);
        let began = bed.clock.now();
        while is_held(&own, &mine).await {
            bed.sleep(5 * MS).await;
        }
        let watched = bed.clock.now().saturating_since(began);
        assert!(watched >= TTL.mul_f64(1.01) && watched <= TTL.mul_f64(1.1), "{watched:?}");
        // The first process has it now; nothing of the other program is left.
        assert_eq!(inspected(&own, &name("job")).await.unwrap().holder, holder("a"));
        assert!(is_held(&store(&bed, &variant), &request("job", "b", TTL)).await);
    }
}

/// The record is still in the document, and its time is over: it does not count.
#[tokio::test(start_paused = true)]
async fn s02_the_record_does_not_count_after_a_foreign_take_over() {
    for variant in variants() {
        let bed = bed();
        let (own, rival) = (store(&bed, &variant), store(&bed, &variant));
        let mine = request("job", "a", TTL);
        let grant = granted(&own, &mine).await;
        let first = claim(&mine, grant);
        assert!(is_held(&rival, &request("job", "b", TTL)).await);
        bed.sleep(TTL * 2).await;
        foreign_write(&bed, held_by_other());
        for _ in 0..5 {
            assert!(is_held(&rival, &request("job", "b", TTL)).await);
            assert!(!matches!(acquire(&own, &mine).await.unwrap(), Acquired::Granted(_)), "the nonce is spent");
            bed.sleep(TTL / 2).await;
            foreign_write(&bed, held_by_other());
        }
        // Neither by heart nor by reading.
        for process in [&own, &rival] {
            let answer = only(process.renew(&[renewal(&first, TTL)]).await).unwrap();
            assert_eq!(answer, Renewed::Lost(LossReason::taken_over(holder("other"), None)));
            assert_eq!(only(process.release(&[plain_release(&first)]).await).unwrap(), Released::NotHeld);
            let error = process.break_lease(&name("job"), grant.token, Break::Now).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("lease job is held by another program"), "{error}");
        }
        assert_eq!(inspected(&rival, &name("job")).await.unwrap().holder, holder("other"));
    }
}

/// A name that was reserved before the other program took it is not reserved any more.
#[tokio::test(start_paused = true)]
async fn a_reservation_does_not_outlast_a_foreign_take_over() {
    let bed = bed();
    let own = store(&bed, &Variant::default());
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&own, &mine).await);
    let hold = plain_release(&held).with_hold_for(TTL * 9).with_reserved_for(holder("b"));
    assert_eq!(only(own.release(&[hold]).await).unwrap(), Released::Freed);
    foreign_write(&bed, held_by_other());
    assert!(is_held(&own, &request("job", "b", TTL)).await);
}

/// A grant without an answer, which the other program has taken over before it is read, is over.
#[tokio::test(start_paused = true)]
async fn s13_an_own_write_that_was_taken_over_is_no_grant() {
    let variant = Variant { latency: 10 * MS, ..Variant::default() };
    let bed = bed();
    let own = store(&bed, &variant);
    bed.state().breaks_every = 1;
    let taking_over = async {
        while bed.state().puts == 0 {
            bed.sleep(MS).await;
        }
        foreign_write(&bed, held_by_other());
    };
    let mine = request("job", "a", TTL);
    let (answer, ()) = tokio::join!(acquire(&own, &mine), taking_over);
    assert_eq!(answer.unwrap(), Acquired::Spent);
}

/// A holder finds out by its renewal by heart, in the middle of its lease.
#[tokio::test(start_paused = true)]
async fn s06_a_holder_loses_its_lease_to_a_foreign_write() {
    let bed = bed();
    let own = store(&bed, &Variant::default());
    for (foreign, reason) in
        [(held_by_other(), LossReason::taken_over(holder("other"), None)), (Foreign::Free, LossReason::Gone)]
    {
        foreign_write(&bed, Foreign::Free);
        let mine = request("job", "a", TTL);
        let held = claim(&mine, granted(&own, &mine).await);
        extended(&own, &held, TTL).await;
        foreign_write(&bed, foreign);
        assert_eq!(only(own.renew(&[renewal(&held, TTL)]).await).unwrap(), Renewed::Lost(reason));
    }
}

/// Tokens go on from the record that the other program has left in the document, and show that they do.
#[tokio::test(start_paused = true)]
async fn s09_tokens_rise_over_a_foreign_lease() {
    for renews in [false, true] {
        let bed = bed();
        let own = store(&bed, &Variant::default());
        let mine = request("job", "a", TTL);
        let grant = granted(&own, &mine).await;
        let first = claim(&mine, grant);
        if renews {
            extended(&own, &first, TTL).await;
        }
        foreign_write(&bed, held_by_other());
        let shown = inspected(&own, &name("job")).await.unwrap().token;
        assert!(shown > grant.token);
        foreign_write(&bed, Foreign::Free);
        assert_eq!(inspected(&own, &name("job")).await, None);
        let next = request("job", "b", TTL);
        let next_grant = granted(&own, &next).await;
        let second = claim(&next, next_grant);
        assert!(next_grant.token > grant.token);
        release(&own, &second).await;
    }
    // The data go back to where numbers are small; the record knows better.
    let bed = bed();
    let own = store(&bed, &Variant::default());
    bed.state().number = 900_000;
    let mine = request("job", "a", TTL);
    let grant = granted(&own, &mine).await;
    let first = claim(&mine, grant);
    extended(&own, &first, TTL).await;
    bed.state().number = 1_200;
    foreign_write(&bed, Foreign::Free);
    let restored = store(&bed, &Variant::default());
    assert!(granted(&restored, &request("job", "b", TTL)).await.token > grant.token);
}

/// A purge leaves what another program may still use, and a document without any record is a lease as well.
#[tokio::test(start_paused = true)]
async fn a_foreign_lease_without_a_record_is_listed_and_not_purged() {
    let bed = bed();
    let own = store(&bed, &Variant::default());
    foreign_write(&bed, held_by_other());
    let listed = own.list("", None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|lease| &lease.holder).collect::<Vec<_>>(), [&holder("other")]);
    assert_eq!(listed[0].token, FencingToken::new(1).unwrap());
    for _ in 0..3 {
        bed.sleep(TTL * 10).await;
        let purged = own.purge("", TTL).await.unwrap();
        assert_eq!((purged.deleted, purged.reduced), (0, 0));
    }
    granted(&own, &request("job", "a", TTL)).await;
}

/// What each write shows to other programs: from when on, for how long, for whom.
#[tokio::test(start_paused = true)]
async fn a_record_shows_what_other_programs_must_see() {
    let bed = bed();
    let own = store(&bed, &Variant::default());
    let shown = |bed: &Bed| Shown::read(&bed.state().documents[&name("job")].value).unwrap();
    let mine = request("job", "a", TTL);
    let grant = granted(&own, &mine).await;
    let held = claim(&mine, grant);
    let first = shown(&bed);
    assert_eq!((&first.holder, first.lasts, first.has_ended, first.token), (&holder("a"), TTL, false, None));
    assert!(first.acquired_at > SystemTime::UNIX_EPOCH);
    extended(&own, &held, TTL * 2).await;
    let second = shown(&bed);
    assert_eq!((second.lasts, second.has_ended, second.token), (TTL * 2, false, Some(grant.token.get())));
    assert_eq!(second.acquired_at, first.acquired_at);
    let hold = plain_release(&held).with_hold_for(TTL).with_reserved_for(holder("b"));
    assert_eq!(only(own.release(&[hold]).await).unwrap(), Released::Freed);
    let blocked = shown(&bed);
    assert_eq!((blocked.lasts, blocked.has_ended, blocked.reserved_for), (TTL, true, Some(holder("b"))));
    let theirs = request("job", "b", TTL);
    let next = granted(&own, &theirs).await;
    bed.sleep(TTL / 4).await;
    own.break_lease(&name("job"), next.token, Break::AfterExpiry).await.unwrap();
    let broken = shown(&bed);
    assert!(broken.has_ended && broken.lasts <= TTL && broken.lasts >= TTL / 2, "{broken:?}");
    own.break_lease(&name("job"), next.token, Break::Now).await.unwrap();
    assert_eq!((shown(&bed).lasts, shown(&bed).has_ended), (Duration::ZERO, true));
    assert_eq!(Shown::read(b"{}"), None);
    assert_eq!(Shown::read(b""), None);
}

/// Waiters are woken when the other program gives its lease up, and not by its renewals; a holder is told when it takes over.
#[tokio::test(start_paused = true)]
async fn s20_foreign_changes_are_hints() {
    let bed = bed();
    let own = store(&bed, &Variant { push: true, ..Variant::default() });
    let mut wakeups = own.subscribe(&name("job"));
    let hints = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&hints);
    let counting = tokio::spawn(async move {
        loop {
            wakeups.next().await;
            *counted.lock().unwrap() += 1;
        }
    });
    bed.sleep(MS).await;
    *hints.lock().unwrap() = 0;
    bed.changes.notify(&name("job"), Change::Foreign(&held_by_other()));
    bed.sleep(MS).await;
    assert_eq!(*hints.lock().unwrap(), 0);
    bed.changes.notify(&name("job"), Change::Foreign(&Foreign::Free));
    bed.sleep(MS).await;
    assert_eq!(*hints.lock().unwrap(), 1);
    counting.abort();

    let client = LeaseClient::builder(own).clock(Arc::clone(&bed.clock)).build();
    let lease = client.acquire("job", TTL).await.unwrap();
    bed.sleep(TTL / 5).await;
    assert!(lease.is_held());
    foreign_write(&bed, held_by_other());
    bed.changes.notify(&name("job"), Change::Foreign(&held_by_other()));
    bed.sleep(MS).await;
    assert!(!lease.is_held());
}
