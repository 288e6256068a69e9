//! Which holder gets a name, for how long, and with which token.

use std::{sync::Arc, time::Duration};

use lease_core::{Acquired, Break, ErrorKind, ExpiryJudge};
use tokio::task::JoinSet;

use crate::{
    Injection,
    bench::Bench,
    calls::{acquire, acquired, claim, extended, granted, inspected, lost, name, only, refused, release},
};

/// A free name is granted, for about the requested ttl.
pub async fn a_free_name_is_granted(bench: &Bench) {
    let (store, request) = (bench.store().await, bench.request(&name("job")));
    let grant = granted(&*store, &request).await;
    let longest = bench.rounded(bench.ttl, &store.capabilities());
    assert!(grant.remaining <= longest, "{:?} left, of {longest:?} at most", grant.remaining);
    assert!(grant.remaining >= bench.ttl / 2, "only {:?} left of a new grant", grant.remaining);
}

/// A held name is refused to every other holder. What the answer says of the current holder is true.
pub async fn s14_a_held_name_is_refused(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    let capabilities = store.capabilities();
    let (longest, longest_retry) =
        (bench.rounded(bench.ttl, &capabilities), bench.longest_retry(bench.ttl, &capabilities));
    let rival = bench.request(&request.name);
    match acquired(&*other, &rival).await {
        Acquired::Held { by, retry_after } => {
            assert!(
                retry_after.is_none_or(|after| after <= longest_retry),
                "retry after {retry_after:?} is longer than {longest_retry:?}"
            );
            if let Some(by) = by {
                assert_eq!((by.holder, by.token), (request.holder.clone(), grant.token));
                assert!(by.remaining <= longest, "{:?} left, of {longest:?} at most", by.remaining);
            }
        }
        other => panic!("the held name was not refused: {other:?}"),
    }
}

/// Of many concurrent acquirers exactly one wins.
pub async fn s14_exactly_one_of_many_concurrent_acquirers_wins(bench: &Bench) {
    let stores = [bench.store().await, bench.store().await, bench.store().await];
    for round in 0..8 {
        let job = name(&format!("job-{round}"));
        let mut attempts = JoinSet::new();
        for number in 0..24 {
            let (store, request) = (Arc::clone(&stores[number % stores.len()]), bench.request(&job));
            attempts.spawn(async move { (acquire(&*store, &request).await, request.holder) });
        }
        let winners: Vec<_> = attempts
            .join_all()
            .await
            .into_iter()
            .filter_map(|(acquired, holder)| match acquired {
                Ok(Acquired::Granted(grant)) => Some((holder, grant.token)),
                Ok(_) => None,
                Err(error) => {
                    bench.assert_is_locked(&error);
                    None
                }
            })
            .collect();
        let record = inspected(&*stores[0], &job).await.expect("the name is held");
        assert_eq!(winners, [(record.holder, record.token)]);
    }
}

/// No other holder gets the name before the remaining time of a grant has passed, and one gets it soon afterwards.
pub async fn s01_nobody_gets_the_name_before_what_is_left_has_passed(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let sent = bench.now();
    let grant = granted(&*store, &request).await;
    let limit = bench.rounded(bench.ttl, &store.capabilities()) + bench.tolerance();
    bench
        .poll("a rival acquires the name after the expiry (L1)", limit, async || {
            let acquired = acquired(&*other, &bench.request(&request.name)).await;
            matches!(acquired, Acquired::Granted(_)).then_some(())
        })
        .await;
    let after = bench.now().saturating_since(sent);
    // One per cent for the difference between the two clocks.
    assert!(after >= grant.remaining.mul_f64(0.99), "taken over after {after:?}, with {:?} left", grant.remaining);
}

/// No other holder gets the name before the remaining time of a renewal has passed.
pub async fn s01_nobody_gets_the_name_before_a_renewal_has_passed(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*store, &request).await);
    bench.sleep(bench.ttl / 2).await;
    let sent = bench.now();
    let remaining = extended(&*store, &claim, bench.ttl).await;
    assert!(remaining <= bench.rounded(bench.ttl, &store.capabilities()), "{remaining:?} left");
    assert!(remaining >= bench.ttl / 2, "only {remaining:?} left after a renewal");
    let limit = bench.ttl * 2 + bench.tolerance();
    bench
        .poll("a rival acquires the name after the expiry", limit, async || {
            let acquired = acquired(&*other, &bench.request(&request.name)).await;
            matches!(acquired, Acquired::Granted(_)).then_some(())
        })
        .await;
    let after = bench.now().saturating_since(sent);
    assert!(after >= remaining.mul_f64(0.99), "taken over after {after:?}, with {remaining:?} left");
}

/// The remaining time of a grant or a renewal counts from the start of the call, even if the answer is late.
pub async fn s01_nobody_gets_the_name_before_what_a_late_answer_promised_has_passed(bench: &Bench) {
    let (store, other) = (bench.chaos_store().await, bench.chaos_store().await);
    let capabilities = bench.capabilities().await;
    for is_renewal in [false, true] {
        // Opens the connections beforehand: a store may have some for renewals alone.
        for store in [&store, &other] {
            let request = bench.request(&name(&format!("warm-up/{}", lease_core::GrantId::random())));
            let claim = claim(&request, granted(store, &request).await);
            extended(store, &claim, bench.ttl).await;
        }
        let request = bench.request(&name(if is_renewal { "renewed" } else { "granted" }));
        let mut held = None;
        if is_renewal {
            held = Some(claim(&request, granted(&store, &request).await));
        }
        bench.delay_answers(bench.ttl / 4).await;
        let sent = bench.now();
        let remaining = match &held {
            Some(claim) => extended(&store, claim, bench.ttl).await,
            None => granted(&store, &request).await.remaining,
        };
        bench.heal().await;
        for store in [&store, &other] {
            store.clear_rules();
        }
        let longest = bench.rounded(bench.ttl, &capabilities);
        assert!(remaining <= longest, "{remaining:?} left, of {longest:?} at most");
        bench
            .poll("a rival acquires the name after the expiry", bench.ttl * 2 + bench.tolerance(), async || {
                let acquired = acquired(&other, &bench.request(&request.name)).await;
                matches!(acquired, Acquired::Granted(_)).then_some(())
            })
            .await;
        let after = bench.now().saturating_since(sent);
        assert!(after >= remaining.mul_f64(0.99), "taken over after {after:?}, with {remaining:?} left");
    }
}

/// After the wall clock of the server was set back, every expiry is further away. The store must still report no more than
/// the ttl, because the clock may return to the right time.
pub async fn s01_no_more_than_the_ttl_is_left_after_the_servers_clock_went_back(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let held = claim(&request, granted(&*store, &request).await);
    if bench.set_clock_back(bench.ttl * 1000).await == Injection::Unsupported {
        return;
    }
    let longest = bench.rounded(bench.ttl, &store.capabilities());
    let renewed = extended(&*store, &held, bench.ttl).await;
    let again = granted(&*store, &request).await.remaining;
    assert_eq!(bench.set_clock_back(Duration::ZERO).await, Injection::Done);
    assert!(renewed <= longest, "{renewed:?} left of {longest:?} after a renewal");
    assert!(again <= longest, "{again:?} left of {longest:?} for a repeated request");
}

/// One clock judges expiry: a lease that has expired for one process has expired for all. Where each process judges, it expires for
/// the others soon.
pub async fn s03_all_processes_see_one_expiry(bench: &Bench) {
    let (one, two, three) = (bench.store().await, bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let claim = claim(&request, granted(&*one, &request).await);
    assert!(inspected(&*two, &request.name).await.is_some() && inspected(&*three, &request.name).await.is_some());
    bench.wait_until_free(&*two, &request.name).await;
    lost(&*one, &claim, bench.ttl).await;
    bench.granted_after_expiry(&*three, &bench.request(&request.name)).await;
}

/// Where contenders judge expiry, a process that finds the record of a crashed holder takes over only when it has itself observed it
/// unchanged for long enough, and is told how long that is. A renewal meanwhile begins the watch anew. With any other judge it takes
/// over at once.
pub async fn s02_a_newcomer_takes_over_only_what_it_has_watched(bench: &Bench) {
    let store = bench.store().await;
    let capabilities = store.capabilities();
    let request = bench.request(&name("job"));
    let held = claim(&request, granted(&*store, &request).await);
    bench.sleep(bench.ttl / 2).await;
    extended(&*store, &held, bench.ttl).await;
    if capabilities.expiry_judge != ExpiryJudge::Contenders {
        bench.wait_until_free(&*store, &request.name).await;
        bench.granted_after_expiry(&*bench.store().await, &bench.request(&request.name)).await;
        return;
    }
    let newcomer = bench.store().await;
    let watch = async || match acquired(&*newcomer, &bench.request(&request.name)).await {
        Acquired::Held { retry_after: Some(left), .. } => left,
        other => panic!("taken over without a watch: {other:?}"),
    };
    assert!(watch().await >= bench.ttl.mul_f64(1.01));
    bench.sleep(bench.ttl / 2).await;
    assert!(watch().await < bench.ttl, "half of the ttl was watched");
    extended(&*store, &held, bench.ttl).await;
    // The holder crashes. What was watched before its renewal does not count.
    let (began, left) = (bench.now(), watch().await);
    assert!(left >= bench.ttl.mul_f64(1.01), "{left:?} to be watched after a renewal");
    bench.granted_after_expiry(&*newcomer, &bench.request(&request.name)).await;
    let after = bench.now().saturating_since(began);
    assert!(after >= bench.ttl.mul_f64(1.01), "taken over after {after:?}");
    // Another process has watched nothing yet.
    let late = bench.store().await;
    refused(&*late, &bench.request(&request.name)).await;
}

/// Each grant after a release has a greater token, for every holder and process.
pub async fn s09_tokens_rise_over_releases(bench: &Bench) {
    let (one, two) = (bench.store().await, bench.store().await);
    let mut request = bench.request(&name("job"));
    let mut last = 0;
    for round in 0..6 {
        let store = if round % 2 == 0 { &one } else { &two };
        if round % 3 == 0 {
            request.holder = bench.holder();
        }
        request.grant = lease_core::GrantId::random();
        let grant = granted(&**store, &request).await;
        assert!(grant.token.get() > last, "{} is not greater than {last}", grant.token);
        last = grant.token.get();
        release(&**store, &claim(&request, grant)).await;
    }
}

/// A grant after an expiry has a greater token.
pub async fn s09_tokens_rise_over_expiry(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let first = granted(&*store, &request).await;
    bench.wait_until_free(&*store, &request.name).await;
    let second = granted(&*store, &bench.request(&request.name)).await;
    assert!(second.token > first.token, "{} is not greater than {}", second.token, first.token);
}

/// A grant after a break has a greater token.
pub async fn s09_tokens_rise_over_a_break(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let first = granted(&*store, &request).await;
    store.break_lease(&request.name, first.token, Break::Now).await.expect("break answers");
    let second = granted(&*store, &bench.request(&request.name)).await;
    assert!(second.token > first.token, "{} is not greater than {}", second.token, first.token);
}

/// A renewal does not change the token.
pub async fn s09_a_token_stays_the_same_within_a_grant(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    let claim = claim(&request, grant);
    for _ in 0..3 {
        extended(&*store, &claim, bench.ttl).await;
        assert_eq!(inspected(&*store, &request.name).await.map(|record| record.token), Some(grant.token));
    }
}

/// After the record was deleted without the library, no earlier token is granted again, and the former holder has lost the
/// lease.
pub async fn s10_tokens_rise_after_the_record_was_removed(bench: &Bench) {
    let store = bench.store().await;
    let survives = store.capabilities().tokens_survive.removal;
    let mut request = bench.request(&name("job"));
    let mut first = granted(&*store, &request).await;
    for _ in 0..3 {
        release(&*store, &claim(&request, first)).await;
        request = bench.request(&request.name);
        first = granted(&*store, &request).await;
    }
    if bench.remove_record(&request.name).await == Injection::Unsupported {
        assert!(
            !survives,
            "the store declares that tokens survive a removal: its harness must implement `remove_record`"
        );
        return;
    }
    assert_eq!(inspected(&*store, &request.name).await, None);
    lost(&*store, &claim(&request, first), bench.ttl).await;
    let second = granted(&*store, &bench.request(&request.name)).await;
    assert!(second.token > first.token || !survives, "{} is not greater than {}", second.token, first.token);
}

/// A grant after a restart of the store has a greater token.
pub async fn s09_tokens_rise_over_a_restart(bench: &Bench) {
    let store = bench.store().await;
    let survives = store.capabilities().tokens_survive.restart;
    let request = bench.request(&name("job"));
    let first = granted(&*store, &request).await;
    release(&*store, &claim(&request, first)).await;
    if bench.restart().await == Injection::Unsupported {
        return;
    }
    let limit = bench.ttl + bench.tolerance();
    let second = bench
        .poll("the store serves again", limit, async || {
            match only(store.acquire(&[bench.request(&request.name)]).await) {
                Ok(Acquired::Granted(grant)) => Some(grant),
                // An earlier attempt may have been granted, with its answer lost.
                Ok(_) => None,
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    None
                }
            }
        })
        .await;
    assert!(second.token > first.token || !survives, "{} is not greater than {}", second.token, first.token);
}

/// A ttl outside the limits of the store is an `Invalid` error, and grants nothing.
pub async fn s23_a_ttl_beyond_the_limits_is_an_error(bench: &Bench) {
    let store = bench.store().await;
    let limits = store.capabilities();
    let mut request = bench.request(&name("job"));
    request.ttl = limits.max_ttl.saturating_add(Duration::from_secs(1));
    let error = only(store.acquire(std::slice::from_ref(&request)).await).expect_err("a ttl above the maximum");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(inspected(&*store, &request.name).await, None);
    // The shortest ttl is never refused. On a busy machine such a grant may expire before it is answered.
    let names: Vec<_> = (0..8).map(|number| name(&format!("job/{number}"))).collect();
    let mut shortest = 0;
    for job in &names {
        if let Acquired::Granted(grant) = acquired(&*store, &bench.request(job).with_ttl(limits.min_ttl)).await {
            assert!(grant.remaining <= bench.rounded(limits.min_ttl, &limits), "{:?} left", grant.remaining);
            shortest += 1;
        }
    }
    for job in &names {
        bench.wait_until_free(&*store, job).await;
    }
    assert!(shortest > 0, "the shortest ttl is never granted");
}

/// The capabilities are consistent, and do not change: between processes, by use, or by a restart of the server.
pub async fn capabilities_make_sense(bench: &Bench) {
    let (one, two) = (bench.store().await, bench.store().await);
    let capabilities = one.capabilities();
    assert_eq!(capabilities, two.capabilities());
    assert!(!capabilities.store.is_empty() && capabilities.store == capabilities.store.to_lowercase());
    assert!(capabilities.min_ttl <= bench.ttl && bench.ttl * 30 <= capabilities.max_ttl, "{capabilities:?}");
    assert!(!capabilities.ttl_granularity.is_zero() && capabilities.ttl_granularity <= bench.ttl);
    let survive = capabilities.tokens_survive;
    assert!(survive.restart || !survive.data_loss, "tokens that survive a loss of data must survive a restart");
    granted(&*one, &bench.request(&name("job"))).await;
    if bench.restart().await == Injection::Done {
        bench.wait_until_free(&*bench.store().await, &name("another")).await;
    }
    for store in [one, two, bench.store().await] {
        assert_eq!(store.capabilities(), capabilities);
    }
}
