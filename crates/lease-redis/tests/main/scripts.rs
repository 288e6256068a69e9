//! The effects of each script on the record of a lease.

use std::time::Duration;

use integration_tests::{Redis, Reply};
use lease_core::{
    Acquired, Break, ErrorKind, GrantId, LeaseName, LeaseStore, LossReason, Metadata, MetadataUpdate, ReleaseRequest,
    Released, Renewed,
};

use crate::common::{
    TTL, acquire, another, claim, eventually, field, granted, holder, is_held, key, name, options, plain_release,
    redis, release, renew, renewal, request, set_field, store,
};

fn lost(answer: Renewed) -> LossReason {
    match answer {
        Renewed::Lost(reason) => reason,
        other => panic!("unexpected answer: {other:?}"),
    }
}

#[tokio::test]
async fn a_record_is_readable_text() {
    let store = store().await;
    let metadata = Metadata::new([("address", "10.0.0.7:443")]).unwrap();
    let request = request("reports/nightly", "pod-1").with_metadata(metadata);
    let grant = granted(&store, &request).await;
    for (name, value) in [
        ("holder", "pod-1"),
        ("nonce", &request.grant.to_string()),
        ("token", &grant.token.to_string()),
        ("ttl", "30000000"),
        ("state", "h"),
        ("metadata", r#"{"address":"10.0.0.7:443"}"#),
    ] {
        assert_eq!(field(&store, "reports/nightly", name).await, value, "{name}");
    }
}

#[tokio::test]
async fn s09_the_record_outlives_the_lease_by_the_retention() {
    let options = options().with_retention(Duration::from_secs(100));
    let store = options.connect(Redis::shared().await.url()).await.unwrap();
    let left = async || redis(&["PTTL", &key(&store, "job")]).await.text().parse::<i64>().unwrap();
    let first = request("job", "a");
    let grant = granted(&store, &first).await;
    assert!((129_000..=130_001).contains(&left().await), "{}", left().await);
    renew(&store, &renewal(&claim(&first, grant), TTL * 2)).await.unwrap();
    assert!((159_000..=160_001).contains(&left().await), "{}", left().await);
    // A release changes the record in place and keeps its expiry.
    release(&store, &claim(&first, grant)).await;
    assert!((159_000..=160_001).contains(&left().await), "{}", left().await);
    assert_eq!(field(&store, "job", "token").await, grant.token.to_string());
    assert_eq!(acquire(&store, &first).await.unwrap(), Acquired::Spent);
    let second = granted(&store, &request("job", "b")).await;
    store.break_lease(&name("job"), second.token, Break::Now).await.unwrap();
    assert!((99_000..=100_001).contains(&left().await), "{}", left().await);
    let third = request("job", "c");
    let claim = claim(&third, granted(&store, &third).await);
    let blocked = plain_release(&claim).with_hold_for(TTL * 2);
    assert_eq!(store.release(&[blocked]).await.pop().unwrap().unwrap(), Released::Freed);
    assert!((159_000..=160_001).contains(&left().await), "{}", left().await);
}

#[tokio::test]
async fn s10_a_token_is_the_servers_clock_or_one_more_than_the_last() {
    let store = store().await;
    let Reply::Many(time) = redis(&["TIME"]).await else { panic!("the server returned no time") };
    let now = format!("{}{:0>6}", time[0].text(), time[1].text()).parse::<u64>().unwrap();
    let first = request("job", "a");
    let grant = granted(&store, &first).await;
    assert!((now..now + 5_000_000).contains(&grant.token.get()), "{} {now}", grant.token);
    release(&store, &claim(&first, grant)).await;
    // A token of a clock that was ahead: close to the largest integer that a double represents exactly.
    set_field(&store, "job", "token", "9007199254740989").await;
    let second = request("job", "b");
    let above = granted(&store, &second).await;
    assert_eq!(above.token.get(), 9_007_199_254_740_990);
    assert_eq!(field(&store, "job", "token").await, "9007199254740990");
    release(&store, &claim(&second, above)).await;
    let third = request("job", "c");
    let last = granted(&store, &third).await;
    assert_eq!(last.token.get(), 9_007_199_254_740_991);
    release(&store, &claim(&third, last)).await;
    // No greater integer is exact: an error, not a repeated token.
    let error = acquire(&store, &request("job", "d")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("greater tokens"), "{error}");
}

#[tokio::test]
async fn s13_a_repeated_attempt_returns_its_grant_and_does_not_extend_it() {
    let store = store().await;
    let request = request("job", "a");
    let first = granted(&store, &request).await;
    let expires = field(&store, "job", "expires").await;
    crate::common::pass(Duration::from_millis(20)).await;
    let again = granted(&store, &request.clone().with_ttl(TTL * 3)).await;
    assert_eq!(again.token, first.token);
    assert!(again.remaining < first.remaining, "{again:?}");
    assert_eq!(field(&store, "job", "expires").await, expires);
}

#[tokio::test]
async fn s07_a_refused_renewal_has_its_reason() {
    let store = store().await;
    let mine = request("job", "a");
    let grant = granted(&store, &mine).await;
    let claim = claim(&mine, grant);
    for other in [claim.clone().with_grant(GrantId::random()), claim.clone().with_holder(holder("b"))] {
        let reason = lost(renew(&store, &renewal(&other, TTL)).await.unwrap());
        assert_eq!(reason, LossReason::taken_over(holder("a"), grant.token));
    }
    let unknown = claim.clone().with_name(name("unknown"));
    assert_eq!(lost(renew(&store, &renewal(&unknown, TTL)).await.unwrap()), LossReason::Gone);
    // The lease has expired, and no other holder has acquired it.
    set_field(&store, "job", "expires", "0000000000000001").await;
    assert_eq!(lost(renew(&store, &renewal(&claim, TTL)).await.unwrap()), LossReason::Expired);
    assert_eq!(field(&store, "job", "expires").await, "0000000000000001");

    let released = request("released", "a");
    let grant = granted(&store, &released).await;
    let claim = crate::common::claim(&released, grant);
    release(&store, &claim).await;
    assert_eq!(lost(renew(&store, &renewal(&claim, TTL)).await.unwrap()), LossReason::Released);
    let broken = request("broken", "a");
    let grant = granted(&store, &broken).await;
    store.break_lease(&broken.name, grant.token, Break::AfterExpiry).await.unwrap();
    let claim = crate::common::claim(&broken, grant);
    assert_eq!(lost(renew(&store, &renewal(&claim, TTL)).await.unwrap()), LossReason::Broken);
    assert_eq!(release(&store, &claim).await, Released::NotHeld);
    assert!(is_held(&store, &request("broken", "b")).await);
}

#[tokio::test]
async fn s07_a_renewal_never_shortens_and_returns_the_remaining_time() {
    let store = store().await;
    let request = request("job", "a");
    let claim = claim(&request, granted(&store, &request).await);
    let left = |answer| match answer {
        Renewed::Extended { remaining } => remaining,
        other => panic!("unexpected answer: {other:?}"),
    };
    assert_eq!(left(renew(&store, &renewal(&claim, TTL * 4)).await.unwrap()), TTL * 4);
    // The remaining time in the answer is at most the ttl.
    assert_eq!(left(renew(&store, &renewal(&claim, TTL)).await.unwrap()), TTL);
    let record = store.inspect(&request.name).await.unwrap().unwrap();
    assert!(record.remaining > TTL * 3 && record.remaining < TTL * 4, "{:?}", record.remaining);
}

#[tokio::test]
async fn metadata_of_the_highest_revision_is_kept() {
    let store = store().await;
    let request = request("job", "a");
    let claim = claim(&request, granted(&store, &request).await);
    for (revision, value, expected) in [(2, "two", "two"), (1, "one", "two"), (2, "again", "two"), (10, "ten", "ten")] {
        let metadata = Metadata::new([("k", value)]).unwrap();
        let update = Some(MetadataUpdate::new(revision, metadata));
        renew(&store, &renewal(&claim, TTL).with_metadata(update)).await.unwrap();
        let record = store.inspect(&request.name).await.unwrap().unwrap();
        assert_eq!(record.metadata.get("k"), Some(expected));
    }
}

#[tokio::test]
async fn s11_a_release_can_reserve_the_name_for_a_successor() {
    let store = store().await;
    let request = request("job", "a");
    let claim = claim(&request, granted(&store, &request).await);
    let release = plain_release(&claim).with_hold_for(TTL).with_reserved_for(holder("b"));
    assert_eq!(store.release(std::slice::from_ref(&release)).await.pop().unwrap().unwrap(), Released::Freed);
    assert_eq!(store.release(&[release]).await.pop().unwrap().unwrap(), Released::NotHeld);
    assert!(is_held(&store, &crate::common::request("job", "c")).await);
    assert!(is_held(&store, &crate::common::request("job", "a")).await);
    granted(&store, &crate::common::request("job", "b")).await;
}

/// The grant ended by its expiry, not by this release, so no hint is needed.
#[tokio::test]
async fn s11_a_release_of_an_expired_grant_is_not_held() {
    let store = store().await;
    let one = request("job", "a");
    let claim = claim(&one, granted(&store, &one).await);
    set_field(&store, "job", "expires", "0000000000000001").await;
    assert_eq!(release(&store, &claim).await, Released::NotHeld);
    assert_eq!(field(&store, "job", "state").await, "h");
    assert_eq!(field(&store, "job", "expires").await, "0000000000000001");
}

/// Keys of a wrong type or format are in the middle of a batch: the items before and after them succeed.
#[tokio::test]
async fn l07_an_item_that_fails_does_not_fail_the_others() {
    let store = store().await;
    redis(&["SET", &key(&store, "b"), "a text"]).await;
    redis(&["HSET", &key(&store, "d"), "foreign", "data"]).await;
    redis(&["SET", &key(&store, "f"), "many\n1\n00\nx\nheld\n\n1\n1\n0\n"]).await;
    let nearly = format!("{:50}\nx\n{:32}\n", "0", "0");
    redis(&["SET", &key(&store, "h"), &nearly]).await;
    let requests: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| request(name, "a")).into();
    let check = |answers: Vec<Result<bool, lease_core::Error>>| {
        for (request, answer) in requests.iter().zip(answers) {
            match request.name.as_str() {
                "b" | "d" | "f" | "h" => {
                    let error = answer.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                    assert!(error.to_string().contains("key_prefix"), "{error}");
                }
                name => assert!(answer.unwrap(), "{name}"),
            }
        }
    };
    let is_granted = |answer: lease_core::Result<Acquired>| Ok(matches!(answer?, Acquired::Granted(_)));
    check(store.acquire(&requests).await.into_iter().map(is_granted).collect());
    let token = lease_core::Grant::new(lease_core::FencingToken::new(1).unwrap(), TTL);
    let claims: Vec<_> = requests.iter().map(|request| claim(request, token)).collect();
    let renewals: Vec<_> = claims.iter().map(|claim| renewal(claim, TTL)).collect();
    let is_extended = |answer: lease_core::Result<Renewed>| Ok(matches!(answer?, Renewed::Extended { .. }));
    check(store.renew(&renewals).await.into_iter().map(is_extended).collect());
    let releases: Vec<_> = claims.iter().map(plain_release).collect();
    let is_freed = |answer: lease_core::Result<Released>| Ok(answer? == Released::Freed);
    check(store.release(&releases).await.into_iter().map(is_freed).collect());
    assert_eq!(store.inspect(&name("b")).await.unwrap_err().kind(), ErrorKind::Invalid);
    // The foreign keys are unchanged.
    assert_eq!(redis(&["GET", &key(&store, "b")]).await.text(), "a text");
    assert_eq!(redis(&["GET", &key(&store, "h")]).await.text(), nearly);
    assert_eq!(redis(&["HLEN", &key(&store, "d")]).await, Reply::Integer(1));
    // A list leaves them out.
    assert!(store.list("", None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_that_needs_several_calls_is_answered_in_order() {
    let store = store().await;
    let requests: Vec<_> = (0..600).map(|at| request(&format!("job-{at}"), "a")).collect();
    let held = request("job-300", "b");
    granted(&store, &held).await;
    for (at, answer) in store.acquire(&requests).await.into_iter().enumerate() {
        match answer.unwrap() {
            Acquired::Granted(_) => assert_ne!(at, 300),
            Acquired::Held { by, .. } => assert_eq!((at, by.unwrap().holder), (300, holder("b"))),
            Acquired::Spent => panic!("unexpected answer for item {at}: spent"),
            other => panic!("unexpected answer: {other:?}"),
        }
    }
}

/// The store sends arguments that are equal for all items once, and other arguments with each item.
#[tokio::test]
async fn each_item_of_a_batch_has_its_own_arguments() {
    let store = store().await;
    let ttl = |at: usize| TTL * if at == 1 { 3 } else { 2 };
    let requests: Vec<_> = (0..3).map(|at| request(&format!("job-{at}"), "a").with_ttl(ttl(at))).collect();
    let mut claims = Vec::new();
    for (request, answer) in requests.iter().zip(store.acquire(&requests).await) {
        let Acquired::Granted(grant) = answer.unwrap() else { panic!("a free name was not granted") };
        assert_eq!(grant.remaining, request.ttl);
        claims.push(claim(request, grant));
    }
    let metadata = Metadata::new([("k", "v")]).unwrap();
    let update = |at| (at == 1).then(|| MetadataUpdate::new(1, metadata.clone()));
    let renewals = claims.iter().enumerate();
    let renewals = renewals.map(|(at, claim)| renewal(claim, ttl(at) * 2).with_metadata(update(at)));
    for (at, answer) in store.renew(&renewals.collect::<Vec<_>>()).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), Renewed::Extended { remaining: ttl(at) * 2 });
        let record = store.inspect(&requests[at].name).await.unwrap().unwrap();
        assert_eq!(record.metadata, update(at).map_or_else(Metadata::default, |update| update.metadata));
    }
    let hold_for = |at| if at == 1 { TTL } else { Duration::ZERO };
    let releases = claims.iter().enumerate();
    let releases = releases.map(|(at, claim)| plain_release(claim).with_hold_for(hold_for(at)));
    for (at, answer) in store.release(&releases.collect::<Vec<_>>()).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), Released::Freed);
        assert_eq!(is_held(&store, &request(requests[at].name.as_str(), "b")).await, at == 1);
    }
}

/// There are more ended leases than pages hold, and pages are smaller than a step of the scan.
#[tokio::test]
async fn a_list_returns_pages_in_order() {
    let store = store().await;
    let requests: Vec<_> = (0..1200).map(|at| request(&format!("job-{at:04}"), "a")).collect();
    store.acquire(&requests).await;
    let released = requests.iter().step_by(2).map(|request| {
        ReleaseRequest::new(lease_core::Claim::new(request.name.clone(), request.holder.clone(), request.grant))
    });
    store.release(&released.collect::<Vec<_>>()).await;
    let mut after: Option<LeaseName> = None;
    let mut seen = Vec::new();
    loop {
        let page = store.list("job-", after.as_ref(), 250).await.unwrap();
        assert!(page.len() == 250 || seen.len() + page.len() == 600, "only the last page may be short");
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        seen.extend(page.into_iter().map(|record| record.name));
    }
    let expected: Vec<_> = requests.iter().skip(1).step_by(2).map(|request| request.name.clone()).collect();
    assert_eq!(seen, expected);
    assert_eq!(store.list("", None, usize::MAX).await.unwrap().len(), 600);
    assert!(store.list("job-", None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn leases_under_different_prefixes_are_independent() {
    let (one, two) = (store().await, store().await);
    granted(&one, &request("job", "a")).await;
    granted(&two, &request("job", "b")).await;
    assert_eq!(one.list("", None, 10).await.unwrap().len(), 1);
    let record = another(&two).await.inspect(&name("job")).await.unwrap().unwrap();
    assert_eq!(record.holder, holder("b"));
    assert_eq!(lease_redis::RedisStoreOptions::new().key_prefix, "app-runtime-leases:");
}

/// The command in the README for operators breaks a lease.
#[tokio::test]
async fn s22_an_operator_can_break_a_lease_with_redis_cli() {
    const BREAK: &str = r"local record, held = string.gsub(redis.call('GET', KEYS[1]) or '', '^(' .. ARGV[1] .. '\n%d+\n%d+\n)h\n', '%1b\n') if held == 0 then return 'not held' end return redis.call('SET', KEYS[1], record, 'KEEPTTL')";
    assert!(include_str!("../../../../README.md").contains(BREAK));
    let store = store().await;
    let held = request("job", "a");
    let grant = granted(&store, &held).await;
    let break_lease = async |token: u64| redis(&["EVAL", BREAK, "1", &key(&store, "job"), &token.to_string()]).await;
    assert_eq!(break_lease(grant.token.get() - 1).await.text(), "not held");
    renew(&store, &renewal(&claim(&held, grant), TTL)).await.unwrap();
    assert_eq!(break_lease(grant.token.get()).await.text(), "OK");
    assert_eq!(lost(renew(&store, &renewal(&claim(&held, grant), TTL)).await.unwrap()), LossReason::Broken);
    assert!(is_held(&store, &request("job", "b")).await);
    assert_eq!(break_lease(grant.token.get()).await.text(), "not held");
}

/// As after the restore of a backup, or the promotion of a replica that lagged.
#[tokio::test]
async fn s10_tokens_rise_after_an_older_record_is_restored() {
    let store = store().await;
    let (job, backup) = (key(&store, "job"), key(&store, "backup"));
    let mut last = 0;
    for round in 0..4 {
        let request = request("job", "a");
        let grant = granted(&store, &request).await;
        assert!(grant.token.get() > last, "{} {last}", grant.token);
        last = grant.token.get();
        release(&store, &claim(&request, grant)).await;
        match round {
            0 => redis(&["COPY", &job, &backup]).await,
            _ => redis(&["COPY", &backup, &job, "REPLACE"]).await,
        };
    }
}

/// After the retention, the token follows the server's clock.
#[tokio::test]
async fn s10_tokens_rise_after_the_record_is_deleted() {
    let options = options().with_retention(Duration::from_secs(1));
    let store = options.connect(Redis::shared().await.url()).await.unwrap();
    let first = request("job", "a").with_ttl(Duration::from_secs(1));
    let grant = granted(&store, &first).await;
    release(&store, &claim(&first, grant)).await;
    eventually("the record is deleted", async || redis(&["EXISTS", &key(&store, "job")]).await == Reply::Integer(0))
        .await;
    assert!(granted(&store, &request("job", "a")).await.token > grant.token);
}

#[tokio::test]
async fn leases_in_different_databases_are_independent() {
    let options = options();
    let url = Redis::shared().await.url();
    let (zero, one) = (options.connect(url).await.unwrap(), options.connect(&format!("{url}/1")).await.unwrap());
    granted(&zero, &request("job", "a")).await;
    granted(&one, &request("job", "b")).await;
    assert_eq!(one.inspect(&name("job")).await.unwrap().unwrap().holder, holder("b"));
}

/// The lines are right, but not at their usual offsets.
#[tokio::test]
async fn s07_a_record_that_was_edited_is_renewed_and_released() {
    let store = store().await;
    for is_renewed in [true, false] {
        let one = request("job", "a");
        let claim = claim(&one, granted(&store, &one).await);
        set_field(&store, "job", "token", "5").await;
        set_field(&store, "job", "acquired", "1").await;
        if is_renewed {
            assert_eq!(renew(&store, &renewal(&claim, TTL)).await.unwrap(), Renewed::Extended { remaining: TTL });
            assert_eq!(field(&store, "job", "token").await, "0000000000000005");
        }
        assert_eq!(store.inspect(&name("job")).await.unwrap().unwrap().token.get(), 5);
        assert_eq!(release(&store, &claim).await, Released::Freed);
        assert_eq!(release(&store, &claim).await, Released::NotHeld);
    }
}

/// The time for which a release blocks a name is bounded like a grant.
#[tokio::test]
async fn a_name_is_blocked_for_at_most_the_largest_ttl() {
    let store = store().await;
    let one = request("job", "a");
    let claim = claim(&one, granted(&store, &one).await);
    let blocked = plain_release(&claim).with_hold_for(Duration::MAX);
    assert_eq!(store.release(&[blocked]).await.pop().unwrap().unwrap(), Released::Freed);
    assert!(store.inspect(&name("job")).await.unwrap().unwrap().remaining <= store.capabilities().max_ttl);
}

/// Counts the commands of the client, and not those that scripts execute.
#[tokio::test]
async fn each_operation_is_one_command() {
    let server = Redis::start_local(&[]).await.unwrap();
    let store = options().connect(server.url()).await.unwrap();
    let each_once = async || {
        let one = request("job", "a");
        let claim = claim(&one, granted(&store, &one).await);
        renew(&store, &renewal(&claim, TTL)).await.unwrap();
        store.inspect(&one.name).await.unwrap();
        release(&store, &claim).await;
    };
    each_once().await;
    server.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    for _ in 0..25 {
        each_once().await;
    }
    let stats = server.command(&["INFO", "commandstats"]).await.unwrap().text();
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")))?;
        line.split(',').next()?.parse::<u32>().ok()
    };
    // One renewal in many writes into the index as well.
    assert_eq!(calls("evalsha"), Some(101), "{stats}");
    for command in ["eval", "ping", "info", "multi", "pexpire"] {
        assert_eq!(calls(command), None, "{command}: {stats}");
    }
    // `SETRANGE` is called by the write check of `inspect`, and by the release in place.
    assert_eq!(calls("setrange"), Some(50), "{stats}");
}

/// What outlives a grant, for a day, is what S9 and S13 need.
#[tokio::test]
async fn a_grant_that_was_ended_leaves_no_metadata() {
    let store = store().await;
    let metadata = Metadata::new([("region", "x".repeat(4000))]).unwrap();
    for end in ["released", "blocked", "broken"] {
        let wish = request(end, "a").with_metadata(metadata.clone());
        let grant = granted(&store, &wish).await;
        let size = async || match redis(&["STRLEN", &key(&store, end)]).await {
            Reply::Integer(size) => size,
            other => panic!("unexpected answer: {other:?}"),
        };
        assert!(size().await > 4000);
        let releasing = plain_release(&claim(&wish, grant));
        let ended = match end {
            "broken" => store.break_lease(&wish.name, grant.token, Break::Now).await,
            "blocked" => store.release(&[releasing.with_hold_for(TTL)]).await.pop().unwrap(),
            _ => store.release(&[releasing]).await.pop().unwrap(),
        };
        assert_eq!(ended.unwrap(), Released::Freed);
        assert!(size().await < 250, "{end}: {} bytes", size().await);
        assert_eq!(field(&store, end, "token").await, grant.token.to_string());
    }
}
