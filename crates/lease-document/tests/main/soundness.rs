//! Counter-examples: histories in which a simpler design has two holders, falling tokens, or says what it does not know.

use std::{sync::Arc, time::Duration};

use lease_core::{
    Acquired, ErrorKind, ExpiryJudge, FencingToken, GrantId, LeaseStore, LossReason, Released, Renewed, TokioClock,
};
use lease_document::{Document, DocumentStore, Version};
use lease_testkit::calls::{
    acquire, claim, extended, granted, inspected, is_held, lost, name, only, plain_release, release, renewal,
};
use tokio::sync::watch;

use crate::common::{Bed, MemoryDocuments, Request, Variant, request, store};

const TTL: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

fn bed() -> Bed {
    Bed::new(TokioClock::new())
}

fn watched() -> Variant {
    Variant { judge: ExpiryJudge::Contenders, resolution: None, tokens_from_versions: false, ..Variant::default() }
}

/// Holds back the next writes: they are executed when the returned value says so, and their callers get no answer.
fn hold_back(bed: &Bed) -> watch::Sender<bool> {
    let (sender, receiver) = watch::channel(true);
    bed.state().held_back = Some(receiver);
    sender
}

/// A write without an answer is still queued. Whatever comes after it, the attempt does not end with "nothing was done".
#[tokio::test(start_paused = true)]
async fn s15_an_attempt_whose_write_may_still_be_done_is_indeterminate() {
    for is_cut in [false, true] {
        let (bed, variant) = (bed(), Variant::default());
        let (own, rival) = (store(&bed, &variant), store(&bed, &variant));
        let queued = hold_back(&bed);
        let mine = request("job", "a", TTL);
        let cutting = async {
            if is_cut {
                // The read after the write.
                while bed.state().requests.len() < 3 {
                    tokio::task::yield_now().await;
                }
                bed.cut();
            }
        };
        let (answer, ()) = tokio::join!(acquire(&own, &mine), cutting);
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
        assert!(error.to_string().contains("lease job"), "{error}");
        {
            let mut state = bed.state();
            state.held_back = None;
            state.is_cut = false;
        }
        // The write arrives after all.
        queued.send_replace(false);
        bed.sleep(SECOND).await;
        assert!(is_held(&rival, &request("job", "b", TTL)).await);
        assert_eq!(release(&own, &mine.claim(0)).await, Released::Freed);
        granted(&rival, &request("job", "b", TTL)).await;
    }
}

/// The same for a release: it is not "not held" while its own write may still be done.
#[tokio::test(start_paused = true)]
async fn s19_a_release_whose_write_may_still_be_done_is_indeterminate() {
    let (bed, variant) = (bed(), Variant::default());
    let own = store(&bed, &variant);
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&own, &mine).await);
    let queued = hold_back(&bed);
    let error = only(own.release(&[plain_release(&held)]).await).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    bed.state().held_back = None;
    queued.send_replace(false);
    bed.sleep(SECOND).await;
    assert_eq!(inspected(&own, &mine.name).await, None);
}

/// A grant between the list and the deletion of a purge survives it.
#[tokio::test(start_paused = true)]
async fn s11_a_purge_that_is_overtaken_deletes_nothing() {
    for can_delete in [true, false] {
        let variant = Variant { can_delete, latency: SECOND / 10, ..Variant::default() };
        let bed = bed();
        // The rival is faster: it writes after the list and before the deletion.
        let (own, rival) = (store(&bed, &variant), store(&bed, &Variant { latency: SECOND / 20, ..variant.clone() }));
        let old = request("job", "a", TTL);
        let first = granted(&own, &old).await;
        release(&own, &claim(&old, first)).await;
        bed.sleep(TTL * 10).await;
        let new = request("job", "b", TTL);
        let (purged, second) = tokio::join!(own.purge("", TTL), granted(&rival, &new));
        let purged = purged.unwrap();
        assert_eq!((purged.deleted, purged.reduced), (0, 0));
        assert!(second.token > first.token);
        assert!(is_held(&own, &request("job", "c", TTL)).await);
        extended(&rival, &claim(&new, second), TTL).await;
    }
}

/// No age is too long.
#[tokio::test(start_paused = true)]
async fn a_purge_of_what_ended_longer_ago_than_time_lasts_removes_nothing() {
    for variant in [Variant::default(), watched()] {
        let bed = bed();
        let own = store(&bed, &variant);
        let old = request("job", "a", TTL);
        let grant = granted(&own, &old).await;
        release(&own, &claim(&old, grant)).await;
        bed.sleep(TTL * 1000).await;
        assert_eq!(own.purge("", Duration::MAX).await.unwrap(), lease_document::Purged::default());
    }
}

/// A purge removes what is over for long enough, and tokens keep rising. Where they could not, or where the store ignores the
/// condition of a deletion, records are reduced, once.
#[tokio::test(start_paused = true)]
async fn s09_tokens_rise_over_a_purge() {
    let cannot = Variant { can_delete: false, ..Variant::default() };
    for (variant, is_deleted) in [(Variant::default(), true), (cannot, false), (watched(), false)] {
        let bed = bed();
        let own = store(&bed, &variant);
        let old = request("job", "a", TTL);
        let mut token = FencingToken::new(1).unwrap();
        for _ in 0..3 {
            let again = lease_core::AcquireRequest::new(old.name.clone(), old.holder.clone(), GrantId::random(), TTL);
            let grant = granted(&own, &again).await;
            token = grant.token;
            release(&own, &claim(&again, grant)).await;
        }
        granted(&own, &request("held", "a", TTL * 1000)).await;
        assert_eq!(own.purge("", TTL).await.unwrap(), lease_document::Purged::default(), "it ended only now");
        bed.sleep(TTL * 2).await;
        let purged = own.purge("", TTL).await.unwrap();
        assert_eq!((purged.deleted, purged.reduced), (usize::from(is_deleted), 0), "nothing to reduce in {purged:?}");
        assert!(inspected(&own, &name("held")).await.is_some());
        let next = granted(
            &own,
            &request("job", "b", TTL).with_metadata(lease_core::Metadata::new([("key", "value")]).unwrap()),
        )
        .await;
        assert!(next.token > token, "{variant:?}");
        // A grant that has expired is reduced, where it cannot be deleted.
        bed.sleep(TTL * 2).await;
        assert_eq!(own.purge("other", TTL).await.unwrap(), lease_document::Purged::default());
        let first = own.purge("", TTL).await.unwrap();
        bed.sleep(TTL * 3).await;
        let then = own.purge("", TTL).await.unwrap();
        let (deleted, reduced) = (first.deleted + then.deleted, first.reduced + then.reduced);
        assert_eq!((deleted, reduced), (usize::from(is_deleted), usize::from(!is_deleted)));
        assert_eq!(own.purge("", TTL).await.unwrap(), lease_document::Purged::default(), "it is reduced already");
        assert!(granted(&own, &request("job", "c", TTL)).await.token > next.token);
    }
}

/// The numbers of versions begin anew, as after a restoration into a new cluster. The record has the proof of a greater token.
#[tokio::test(start_paused = true)]
async fn s09_a_token_from_a_version_is_never_below_the_last_one() {
    let bed = bed();
    bed.state().number = 900_000;
    let own = store(&bed, &Variant::default());
    let first = request("job", "a", TTL);
    let grant = granted(&own, &first).await;
    assert_eq!(grant.token.get(), 900_001);
    release(&own, &claim(&first, grant)).await;
    {
        let mut state = bed.state();
        state.number = 1_200;
        let value = state.documents[&first.name].value.clone();
        state.documents.insert(first.name.clone(), Document::new(value, Version::new("\"1200\"").with_number(1_200)));
    }
    // Another process: this one would take the old numbers for newer ones.
    let other = store(&bed, &Variant::default());
    let second = request("job", "b", TTL);
    let next = granted(&other, &second).await;
    assert_eq!(next.token.get(), 900_002, "{next:?}");
    extended(&other, &claim(&second, next), TTL).await;
    assert_eq!(inspected(&other, &second.name).await.unwrap().token, next.token);
}

/// Without a clock of the store, tokens are counted: no client's wall clock lifts them.
#[tokio::test(start_paused = true)]
async fn s03_no_clients_wall_clock_is_in_a_token() {
    let bed = bed();
    let own = store(&bed, &watched());
    for expected in 1..=3 {
        let request = request("job", "a", TTL);
        let grant = granted(&own, &request).await;
        assert_eq!(grant.token.get(), expected);
        release(&own, &claim(&request, grant)).await;
    }
    assert!(!own.capabilities().tokens_survive.removal);
}

/// Two servers whose clocks differ by 1.8 s. With a slack of 1 s on each side nobody is early; with none there are two holders,
/// which is what the declared slack is for.
#[tokio::test(start_paused = true)]
async fn s03_servers_that_agree_within_the_slack_have_one_holder() {
    for (slack, is_sound) in [(SECOND, true), (Duration::ZERO, false)] {
        let judge = ExpiryJudge::ServersWallClocks { slack };
        let variant = Variant { judge, ..Variant::default() };
        let bed = bed();
        let (holder, rival) = (store(&bed, &variant), store(&bed, &variant));
        let mine = request("job", "a", TTL);
        let sent = bed.clock.now();
        let grant = granted(&holder, &mine).await;
        // Every answer to the rival comes from the server that is ahead.
        bed.state().clock_ahead = Duration::from_millis(1800);
        let mut after = Duration::ZERO;
        while is_held(&rival, &request("job", "b", TTL)).await {
            bed.sleep(Duration::from_millis(20)).await;
            after = bed.clock.now().saturating_since(sent);
        }
        assert_eq!(after >= grant.remaining, is_sound, "taken over after {after:?} with a slack of {slack:?}");
    }
}

/// The clock jumps ahead by an hour. A process that has seen it before believes neither reading for as long as a lease may last, so
/// it is not early by one of them; afterwards it believes the new one.
#[tokio::test(start_paused = true)]
async fn s03_a_clock_that_jumps_is_not_believed_until_every_lease_is_over() {
    let bed = bed();
    let (holder, rival) = (store(&bed, &Variant::default()), store(&bed, &Variant::default()));
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&holder, &mine).await);
    assert!(is_held(&rival, &request("job", "b", TTL)).await);
    bed.state().clock_ahead = SECOND * 3600;
    assert!(is_held(&rival, &request("job", "b", TTL)).await, "early by an hour");
    assert!(rival.clock_uncertainty().unwrap() > SECOND * 3599);
    bed.sleep(TTL / 2).await;
    extended(&holder, &held, TTL).await;
    bed.sleep(TTL / 2).await;
    assert!(is_held(&rival, &request("job", "b", TTL)).await);
    assert!(rival.clock_uncertainty().unwrap() < SECOND);
    // The holder has crashed. Its last lease was written while it knew nothing of the jump, or by both readings.
    let mut waited = Duration::ZERO;
    while is_held(&rival, &request("job", "b", TTL)).await {
        bed.sleep(SECOND / 10).await;
        waited += SECOND / 10;
        assert!(waited <= TTL, "late by more than a ttl");
    }
}

/// The data goes back, and a rival's record gets the version that the old holder remembers. A renewal displaces the rival, which is
/// declared; the rival is told at its next renewal. A release reads first, unless the store answered a moment ago.
#[tokio::test(start_paused = true)]
async fn s11_after_a_loss_of_data_a_release_by_heart_frees_no_rival() {
    for is_renewal in [true, false] {
        let bed = bed();
        let (own, rival) = (store(&bed, &Variant::default()), store(&bed, &Variant::default()));
        assert!(own.capabilities().displaces_after_data_loss);
        let (mine, theirs) = (request("job", "a", TTL), request("job", "b", TTL));
        let held = claim(&mine, granted(&own, &mine).await);
        {
            let mut state = bed.state();
            state.documents.clear();
            state.number = 0;
        }
        let taken = claim(&theirs, granted(&rival, &theirs).await);
        bed.sleep(TTL / 2).await;
        if is_renewal {
            extended(&own, &held, TTL).await;
            assert!(matches!(lost(&rival, &taken, TTL).await, LossReason::TakenOver { .. }));
        } else {
            assert_eq!(release(&own, &held).await, Released::NotHeld);
            extended(&rival, &taken, TTL).await;
        }
    }
}

/// The same with tags that are no numbers: nothing coincides.
#[tokio::test(start_paused = true)]
async fn after_a_loss_of_data_a_rival_with_another_tag_stays() {
    let bed = bed();
    let own = store(&bed, &Variant { tokens_from_versions: false, numbers: false, ..Variant::default() });
    assert!(!own.capabilities().displaces_after_data_loss);
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&own, &mine).await);
    let mut forged = bed.state().documents[&mine.name].clone();
    forged.version = Version::new("another");
    let text = String::from_utf8(forged.value).unwrap().replace("\"holder\":\"a\"", "\"holder\":\"b\"");
    forged.value = text.into_bytes();
    bed.state().documents.insert(mine.name.clone(), forged);
    assert!(matches!(lost(&own, &held, TTL).await, LossReason::TakenOver { .. }));
}

/// Reads that are older than what this process has written show no loss of its own grant, and grant nothing.
#[tokio::test(start_paused = true)]
async fn s06_a_stale_read_is_no_loss() {
    let bed = bed();
    let (own, other) = (store(&bed, &Variant::default()), store(&bed, &Variant::default()));
    let first = request("job", "b", TTL);
    release(&other, &claim(&first, granted(&other, &first).await)).await;
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&own, &mine).await);
    // The answer to a renewal is lost, and the next reads show the record before it, or even before the grant.
    bed.state().stale_percent = 70;
    bed.state().breaks_every = 2;
    for _ in 0..30 {
        match only(own.renew(&[renewal(&held, TTL)]).await) {
            Ok(Renewed::Extended { .. }) => {}
            Err(error) => assert!(error.is_transient(), "{error}"),
            other => panic!("{other:?}"),
        }
        match acquire(&other, &request("job", "c", TTL)).await {
            Ok(Acquired::Held { .. }) => {}
            Err(error) => assert!(error.is_transient(), "{error}"),
            other => panic!("{other:?}"),
        }
        bed.sleep(TTL / 5).await;
    }
}

/// The numbers of versions begin anew with the data: what looks like a stale read at first is the truth after some minutes.
#[tokio::test(start_paused = true)]
async fn after_a_loss_of_data_names_can_be_had_again() {
    let bed = bed();
    let (own, rival) = (store(&bed, &Variant::default()), store(&bed, &Variant::default()));
    for _ in 0..5 {
        let one = request("job", "a", TTL);
        release(&own, &claim(&one, granted(&own, &one).await)).await;
    }
    {
        let mut state = bed.state();
        state.documents.clear();
        state.number = 0;
    }
    let theirs = request("job", "b", TTL);
    release(&rival, &claim(&theirs, granted(&rival, &theirs).await)).await;
    let mine = request("job", "a", TTL);
    assert_eq!(acquire(&own, &mine).await.unwrap_err().kind(), ErrorKind::Unavailable);
    bed.sleep(Duration::from_secs(300)).await;
    granted(&own, &mine).await;
}

/// What is no record of this library is an error that names the lease and says what to do. It is never overwritten.
#[tokio::test(start_paused = true)]
async fn s21_a_foreign_document_is_an_error() {
    let bed = bed();
    let own = store(&bed, &Variant::default());
    granted(&own, &request("other", "a", TTL)).await;
    let other = bed.state().documents[&name("other")].clone();
    let foreign = Document::new(b"hello".to_vec(), Version::new("\"x\""));
    for (document, hint) in [(foreign, "another program"), (other, "same key")] {
        bed.state().documents.insert(name("job"), document.clone());
        let mine = request("job", "a", TTL);
        let errors = [
            acquire(&own, &mine).await.unwrap_err(),
            only(own.renew(&[renewal(&mine.claim(0), TTL)]).await).unwrap_err(),
            only(own.release(&[plain_release(&mine.claim(0))]).await).unwrap_err(),
            own.inspect(&mine.name).await.unwrap_err(),
            own.list("", None, 10).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            let text = error.to_string();
            assert!(text.contains("lease job") && text.contains(hint) && text.contains("delete"), "{text}");
        }
        assert_eq!(bed.state().documents[&name("job")], document);
    }
}

/// Others always write first: the attempt ends, with an error that says so.
#[tokio::test(start_paused = true)]
async fn a_crowd_is_an_error_and_no_lie() {
    let bed = bed();
    let own = store(&bed, &Variant { latency: SECOND / 100, ..Variant::default() });
    let documents = MemoryDocuments { bed: bed.clone(), variant: Variant::default() };
    let rival = DocumentStore::builder(documents).clock(Arc::clone(&bed.clock)).build();
    let crowd = async {
        loop {
            let mine = request("job", "b", TTL);
            if let Acquired::Granted(grant) = acquire(&rival, &mine).await.unwrap() {
                release(&rival, &claim(&mine, grant)).await;
            }
            bed.sleep(SECOND / 1000).await;
        }
    };
    let attempt = request("job", "a", TTL);
    let error = tokio::select! {
        () = crowd => unreachable!("it does not end"),
        answer = acquire(&own, &attempt) => answer.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let gets = bed.take_requests().into_iter().filter(|request| *request == Request::Get).count();
    assert!(gets >= 16);
}

/// The write was done at once, and its answer took long. Who asks again with the same nonce may rely on what is left of the grant, not
/// on what would be left if it had been made when the answer came.
#[tokio::test(start_paused = true)]
async fn s01_a_grant_counts_from_before_its_write_when_it_is_asked_for_again() {
    for variant in [Variant::default(), watched()] {
        let bed = bed();
        let own = store(&bed, &variant);
        let mine = request("job", "a", TTL);
        bed.state().answer_delay = TTL / 4;
        granted(&own, &mine).await;
        bed.state().answer_delay = Duration::ZERO;
        let again = granted(&own, &mine).await;
        assert!(again.remaining <= TTL * 3 / 4, "{:?} is left", again.remaining);
    }
}

/// The answer to a renewal shows that the store's clock has jumped ahead: for others the end that was written is earlier than for the
/// holder, and is written again.
#[tokio::test(start_paused = true)]
async fn s01_an_end_that_a_jump_of_the_clock_makes_too_early_is_written_again() {
    let (bed, variant) = (bed(), Variant::default());
    let own = store(&bed, &variant);
    let mine = request("job", "a", TTL);
    let held = claim(&mine, granted(&own, &mine).await);
    bed.state().clock_ahead = TTL / 2;
    extended(&own, &held, TTL).await;
    bed.sleep(TTL * 3 / 4).await;
    let rival = store(&bed, &variant);
    assert!(is_held(&rival, &request("job", "b", TTL)).await);
}
