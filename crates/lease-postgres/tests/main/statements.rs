//! The effect of each statement on a row, in its single and its batched form.

use std::time::Duration;

use lease_core::{
    AcquireRequest, Acquired, Break, Claim, Clock, ErrorKind, FencingToken, Grant, GrantId, LeaseName, LeaseStore,
    LossReason, Metadata, MetadataUpdate, ReleaseRequest, Released, RenewRequest, Renewed, Result, SystemClock,
};
use lease_postgres::{PostgresStore, PostgresStoreOptions};

use crate::common::{
    TTL, acquire, another, claim, eventually, expired, granted, holder, is_held, name, pass, plain_release, release,
    renew, renewal, request, sql, store, store_with, value,
};

/// How a request is sent: alone or in a batch, by a caller or by a waiter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    One,
    Many,
}

const FORMS: [Form; 2] = [Form::One, Form::Many];

impl Form {
    fn is_many(self) -> bool {
        self == Self::Many
    }

    async fn acquire(self, store: &PostgresStore, request: &AcquireRequest) -> Result<Acquired> {
        let request = request.clone();
        if !self.is_many() {
            return store.acquire(&[request]).await.pop().unwrap();
        }
        let (before, after) = (
            crate::common::request(&crate::common::unique("a"), "x"),
            crate::common::request(&crate::common::unique("z"), "x"),
        );
        let mut answers = store.acquire(&[after, request, before]).await;
        assert!(
            matches!(answers[0], Ok(Acquired::Granted(_))) && matches!(answers[2], Ok(Acquired::Granted(_))),
            "{answers:?}"
        );
        answers.swap_remove(1)
    }

    async fn granted(self, store: &PostgresStore, request: &AcquireRequest) -> Grant {
        match self.acquire(store, request).await.unwrap() {
            Acquired::Granted(grant) => grant,
            other => panic!("{self:?}: {other:?}"),
        }
    }

    async fn renew(self, store: &PostgresStore, renewal: &RenewRequest) -> Result<Renewed> {
        if !self.is_many() {
            return renew(store, renewal).await;
        }
        let neighbour = request(&crate::common::unique("n"), "x");
        let grant = granted(store, &neighbour).await;
        let mut answers = store.renew(&[renewal.clone(), crate::common::renewal(&claim(&neighbour, grant), TTL)]).await;
        assert!(matches!(answers[1], Ok(Renewed::Extended { .. })), "{answers:?}");
        answers.swap_remove(0)
    }

    async fn release(self, store: &PostgresStore, releasing: &ReleaseRequest) -> Released {
        let mut requests = vec![releasing.clone()];
        if self.is_many() {
            let neighbour = request(&crate::common::unique("n"), "x");
            let grant = granted(store, &neighbour).await;
            requests.push(crate::common::plain_release(&claim(&neighbour, grant)));
        }
        let answers = store.release(&requests).await;
        assert!(answers[1..].iter().all(|answer| matches!(answer, Ok(Released::Freed))), "{answers:?}");
        *answers[0].as_ref().unwrap()
    }
}

fn retry(request: &AcquireRequest) -> AcquireRequest {
    request.clone()
}

/// Long enough for the answer of a busy machine, which must come before the end, and short enough to wait for that.
const BRIEF: Duration = Duration::from_millis(250);

/// Lets a lease end in 40 ms, so that what waits for its row meanwhile does not give up.
async fn shorten(store: &PostgresStore, name: &LeaseName) {
    let text = "update {table} set expires_at_utc = clock_timestamp() + interval '40 milliseconds' where lease_name = ";
    sql(store, &format!("{text}'{name}'")).await;
}

/// Returns a name for each form.
fn job(form: Form) -> String {
    format!("job-{form:?}")
}

#[tokio::test]
async fn s9_tokens_rise_over_release_expiry_and_take_over() {
    let store = store().await;
    for form in FORMS {
        let job = job(form);
        let mut last = 0;
        for round in 0..4 {
            let request = request(&job, &format!("h{round}")).with_ttl(if round % 2 == 0 { BRIEF } else { TTL });
            let grant = form.granted(&store, &request).await;
            assert!(grant.token.get() > last, "{form:?}: {} after {last}", grant.token);
            assert_eq!((grant.remaining, grant.handle), (request.ttl, grant.token.get()));
            last = grant.token.get();
            if round % 2 == 0 {
                expired(&store, &job).await;
            } else {
                assert_eq!(form.release(&store, &plain_release(&claim(&request, grant))).await, Released::Freed);
            }
        }
    }
}

#[tokio::test]
async fn s10_tokens_follow_the_clock_after_the_row_is_removed_or_older() {
    let store = store().await;
    for form in FORMS {
        let job = job(form);
        let first = request(&job, "a");
        let before = form.granted(&store, &first).await;
        sql(&store, &format!("delete from {{table}} where lease_name = '{job}'")).await;
        let second = request(&job, "b");
        let after = form.granted(&store, &second).await;
        assert!(after.token > before.token, "{form:?}");
        // An older state of the table is restored.
        sql(&store, &format!("update {{table}} set version = 7, expires_at_utc = 'epoch' where lease_name = '{job}'"))
            .await;
        assert!(form.granted(&store, &request(&job, "c")).await.token > after.token, "{form:?}");
    }
}

#[tokio::test]
async fn s9_tokens_rise_also_from_a_version_ahead_of_the_clock() {
    let store = store().await;
    for form in FORMS {
        let job = job(form);
        form.granted(&store, &request(&job, "a").with_ttl(BRIEF)).await;
        sql(&store, &format!("update {{table}} set version = 9000000000000000 where lease_name = '{job}'")).await;
        expired(&store, &job).await;
        assert_eq!(form.granted(&store, &request(&job, "b")).await.token.get(), 9_000_000_000_000_001, "{form:?}");
    }
}

/// Another transaction is granted a token, inserts the row and deletes it, while an attempt waits for the row.
#[tokio::test]
async fn s9_an_insert_that_waited_is_not_granted_an_older_token() {
    let store = store().await;
    let table = crate::common::table_of(&store);
    for form in FORMS {
        let job = job(form);
        let request = request(&job, "a");
        let (grant, minted) = loop {
            let mut other = crate::common::pool().await.begin().await.unwrap();
            let insert = format!(
                "insert into {table} (lease_name, holder_id, version, acquired_at_utc, expires_at_utc)
                 values ('{job}', 'other', 1, now(), now() + interval '1 hour')"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut *other).await.unwrap();
            let minted = async {
                // The attempt is waiting now, at most for 50 ms.
                pass(Duration::from_millis(20)).await;
                let mint = format!(
                    "update {table} set version = (date_part('epoch', clock_timestamp()) * 1000000)::bigint
                     where lease_name = '{job}' returning version"
                );
                let version: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(mint)).fetch_one(&mut *other).await.unwrap();
                let delete = format!("delete from {table} where lease_name = '{job}'");
                sqlx::raw_sql(sqlx::AssertSqlSafe(delete)).execute(&mut *other).await.unwrap();
                other.commit().await.unwrap();
                u64::try_from(version).unwrap()
            };
            match tokio::join!(form.acquire(&store, &request), minted) {
                (Ok(Acquired::Granted(grant)), minted) => break (grant, minted),
                // On a busy machine the other one was not done within the 50 ms: once more.
                (Err(error), _) if error.kind() == ErrorKind::Unavailable => {}
                (other, _) => panic!("{form:?}: {other:?}"),
            }
        };
        assert!(grant.token.get() > minted, "{form:?}: {} is not above {minted}", grant.token);
        let record = store.inspect(&name(&job)).await.unwrap().unwrap();
        assert_eq!(record.token, grant.token);
        assert!(matches!(
            form.renew(&store, &renewal(&claim(&request, grant), TTL)).await,
            Ok(Renewed::Extended { .. })
        ));
    }
}

#[tokio::test]
async fn a_refusal_names_the_holder() {
    let store = store().await;
    for form in FORMS {
        let job = job(form);
        let first = request(&job, "the holder").with_metadata(Metadata::new([("address", "10.0.0.7")]).unwrap());
        let grant = form.granted(&store, &first).await;
        let answer = form.acquire(&store, &request(&job, "b")).await.unwrap();
        let Acquired::Held { by: Some(by), retry_after: Some(retry_after) } = answer else {
            panic!("{form:?}: {answer:?}")
        };
        assert_eq!((by.holder.as_str(), by.token, by.ttl), ("the holder", grant.token, TTL), "{form:?}");
        assert_eq!(by.metadata.get("address"), Some("10.0.0.7"));
        assert_eq!(by.remaining, retry_after);
        assert!(retry_after <= TTL && retry_after > TTL - Duration::from_secs(5), "{retry_after:?}");
    }
}

/// Attempts of others cost the holder nothing: a refused attempt neither locks the row, nor waits for it, nor writes.
#[tokio::test]
async fn l2_a_loser_neither_locks_nor_writes() {
    let store = store().await;
    granted(&store, &request("job", "a")).await;
    let row = "select xmin::text || ' ' || xmax::text || ' ' || ctid::text from {table} where lease_name = 'job'";
    let before: String = value(&store, row).await;
    let loses = async |form: Form| {
        let answer = form.acquire(&store, &request("job", "b")).await;
        assert!(matches!(answer, Ok(Acquired::Held { .. })), "{form:?}: {answer:?}");
    };
    for form in FORMS {
        loses(form).await;
        assert_eq!(value::<String>(&store, row).await, before, "{form:?}");
    }
    // It does not wait for the holder's renewal either.
    let other = crate::common::lock(&store, "where lease_name = 'job' for update").await;
    for form in FORMS {
        loses(form).await;
    }
    other.rollback().await.unwrap();
}

#[tokio::test]
async fn s13_a_retry_returns_its_own_grant_with_the_remaining_time() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let first = form.granted(&store, &request).await;
        pass(Duration::from_millis(30)).await;
        let again = form.granted(&store, &retry(&request)).await;
        assert_eq!(again.token, first.token, "{form:?}");
        assert!(again.remaining <= TTL - Duration::from_millis(30), "{form:?} refreshed: {:?}", again.remaining);
    }
}

#[tokio::test]
async fn s13_a_nonce_is_spent_after_release_expiry_and_break() {
    let store = store().await;
    for form in FORMS {
        let released = request(&format!("{}-released", job(form)), "a");
        let grant = form.granted(&store, &released).await;
        form.release(&store, &plain_release(&claim(&released, grant))).await;

        let held_for = request(&format!("{}-held-for", job(form)), "a");
        let grant = form.granted(&store, &held_for).await;
        let release = plain_release(&claim(&held_for, grant)).with_hold_for(TTL).with_reserved_for(holder("a"));
        form.release(&store, &release).await;

        let expiring = request(&format!("{}-expired", job(form)), "a").with_ttl(BRIEF);
        form.granted(&store, &expiring).await;
        expired(&store, expiring.name.as_str()).await;

        let mut ended = vec![released, held_for, expiring];
        for how in [Break::AfterExpiry, Break::Now] {
            let broken = request(&format!("{}-{how:?}", job(form)), "a");
            let grant = form.granted(&store, &broken).await;
            assert_eq!(store.break_lease(&broken.name, grant.token, how).await.unwrap(), Released::Freed);
            ended.push(broken);
        }
        for request in ended {
            assert_eq!(form.acquire(&store, &request).await.unwrap(), Acquired::Spent, "{form:?}: {}", request.name);
        }
    }
}

#[tokio::test]
async fn s7_a_renewal_extends_keeps_the_token_and_never_shortens() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        let claim = claim(&request, grant);
        let longer = form.renew(&store, &renewal(&claim, TTL * 2)).await.unwrap();
        let Renewed::Extended { remaining } = longer else { panic!("{form:?}: {longer:?}") };
        assert_eq!(remaining, TTL * 2);
        let shorter = form.renew(&store, &renewal(&claim, Duration::from_secs(1))).await.unwrap();
        let Renewed::Extended { remaining } = shorter else { panic!("{form:?}: {shorter:?}") };
        assert!(remaining >= TTL, "{remaining:?}");
        let record = store.inspect(&request.name).await.unwrap().unwrap();
        assert!(record.token == grant.token && record.remaining > TTL && record.ttl == TTL, "{record:?}");
    }
}

#[tokio::test]
async fn s7_a_renewal_never_revives_an_expired_lease() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a").with_ttl(BRIEF);
        let grant = form.granted(&store, &request).await;
        expired(&store, request.name.as_str()).await;
        let answer = form.renew(&store, &renewal(&claim(&request, grant), TTL)).await.unwrap();
        assert_eq!(answer, Renewed::Lost(LossReason::Expired), "{form:?}");
        assert_eq!(store.inspect(&request.name).await.unwrap(), None);
        form.granted(&store, &crate::common::request(request.name.as_str(), "b")).await;
    }
}

/// The lease expires while its renewal waits for a lock: the expiry is judged after the wait.
#[tokio::test]
async fn s7_a_renewal_that_waited_past_the_expiry_revives_nothing() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        shorten(&store, &request.name).await;
        let mut fence = crate::common::pool().await.begin().await.unwrap();
        let lock =
            format!("select from {} where lease_name = '{}' for share", crate::common::table_of(&store), request.name);
        let locked = sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *fence).await;
        locked.unwrap();
        let unlock = async {
            expired(&store, request.name.as_str()).await;
            fence.commit().await.unwrap();
        };
        let renewals = [renewal(&claim(&request, grant), TTL)];
        let (mut answers, ()) = tokio::join!(store.renew(&renewals), unlock);
        match answers.pop().unwrap() {
            Ok(answer) => assert_eq!(answer, Renewed::Lost(LossReason::Expired), "{form:?}"),
            // The wait was too long.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{form:?}: {error}"),
        }
        assert_eq!(store.inspect(&request.name).await.unwrap(), None);
    }
}

#[tokio::test]
async fn s7_a_strangers_renewal_changes_nothing() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        let mine = claim(&request, grant);
        for stranger in [mine.clone().with_holder(holder("b")), mine.clone().with_grant(GrantId::random())] {
            let answer = form.renew(&store, &renewal(&stranger, TTL * 10)).await.unwrap();
            let expected = LossReason::taken_over(holder("a"), grant.token);
            assert_eq!(answer, Renewed::Lost(expected), "{form:?}");
        }
        assert!(store.inspect(&request.name).await.unwrap().unwrap().remaining <= TTL);
    }
}

#[tokio::test]
async fn l6_a_loss_has_its_reason() {
    let store = store().await;
    for form in FORMS {
        let lose = async |job: &str| {
            let request = request(&format!("{job}-{form:?}"), "a");
            let grant = form.granted(&store, &request).await;
            (request.clone(), claim(&request, grant), grant)
        };
        let lost = async |claim: &Claim| match form.renew(&store, &renewal(claim, TTL)).await.unwrap() {
            Renewed::Lost(reason) => reason,
            other => panic!("{form:?}: {other:?}"),
        };

        let (request, mine, grant) = lose("broken").await;
        store.break_lease(&request.name, grant.token, Break::AfterExpiry).await.unwrap();
        assert_eq!(lost(&mine).await, LossReason::Broken, "{form:?}");

        let (request, mine, grant) = lose("taken").await;
        store.break_lease(&request.name, grant.token, Break::Now).await.unwrap();
        assert_eq!(lost(&mine).await, LossReason::Broken, "{form:?}");
        let next = form.granted(&store, &crate::common::request(request.name.as_str(), "b")).await;
        let by_b = LossReason::taken_over(holder("b"), next.token);
        assert_eq!(lost(&mine).await, by_b, "{form:?}");

        let (_, mine, _) = lose("released").await;
        release(&store, &mine).await;
        assert_eq!(lost(&mine).await, LossReason::Released, "{form:?}");

        let (request, mine, _) = lose("removed").await;
        sql(&store, &format!("delete from {{table}} where lease_name = '{}'", request.name)).await;
        assert_eq!(lost(&mine).await, LossReason::Gone, "{form:?}");
        let rows: i64 =
            value(&store, &format!("select count(*) from {{table}} where lease_name = '{}'", request.name)).await;
        assert_eq!(rows, 0, "{form:?} left a row behind");
    }
}

#[tokio::test]
async fn of_metadata_the_higher_revision_stays() {
    let store = store().await;
    let data = |text: &str| Metadata::new([("k", text)]).unwrap();
    for form in FORMS {
        let request = request(&job(form), "a").with_metadata(data("0"));
        let grant = form.granted(&store, &request).await;
        for (revision, expected) in [(2, "2"), (1, "2"), (3, "3")] {
            let update = MetadataUpdate::new(revision, data(&revision.to_string()));
            let renewal = renewal(&claim(&request, grant), TTL).with_metadata(update);
            form.renew(&store, &renewal).await.unwrap();
            form.renew(&store, &crate::common::renewal(&claim(&request, grant), TTL)).await.unwrap();
            assert_eq!(store.inspect(&request.name).await.unwrap().unwrap().metadata, data(expected), "{form:?}");
        }
        let update = MetadataUpdate::new(4, Metadata::default());
        form.renew(&store, &renewal(&claim(&request, grant), TTL).with_metadata(update)).await.unwrap();
        assert!(store.inspect(&request.name).await.unwrap().unwrap().metadata.is_empty(), "{form:?}");
        // A new grant begins at the first revision.
        release(&store, &claim(&request, grant)).await;
        let request = crate::common::request(&job(form), "b");
        let grant = form.granted(&store, &request).await;
        let update = MetadataUpdate::new(1, data("new"));
        form.renew(&store, &renewal(&claim(&request, grant), TTL).with_metadata(update)).await.unwrap();
        assert_eq!(store.inspect(&request.name).await.unwrap().unwrap().metadata, data("new"), "{form:?}");
    }
}

#[tokio::test]
async fn s11_only_the_owner_releases_and_only_once() {
    let store = store().await;
    for form in FORMS {
        let first = request(&job(form), "a").with_ttl(BRIEF);
        let grant = form.granted(&store, &first).await;
        let late = claim(&first, grant);
        expired(&store, first.name.as_str()).await;
        assert_eq!(form.release(&store, &plain_release(&late)).await, Released::NotHeld, "{form:?}: expired");
        // The same holder again, with another nonce.
        let second = request(&job(form), "a");
        let grant = form.granted(&store, &second).await;
        assert_eq!(form.release(&store, &plain_release(&late)).await, Released::NotHeld, "{form:?}");
        let mine = claim(&second, grant);
        let other_holder = mine.clone().with_holder(holder("b"));
        assert_eq!(form.release(&store, &plain_release(&other_holder)).await, Released::NotHeld, "{form:?}");
        assert_eq!(store.inspect(&second.name).await.unwrap().unwrap().token, grant.token);
        // Even if the answer, and thus the token, never arrived.
        let unanswered = mine.clone().with_handle(0);
        assert_eq!(form.release(&store, &plain_release(&unanswered)).await, Released::Freed, "{form:?}");
        assert_eq!(form.release(&store, &plain_release(&mine)).await, Released::NotHeld, "{form:?}");
        assert_eq!(store.inspect(&second.name).await.unwrap(), None);
        let version: i64 =
            value(&store, &format!("select version from {{table}} where lease_name = '{}'", second.name)).await;
        assert_eq!(u64::try_from(version).unwrap(), grant.token.get(), "{form:?} forgot the token");
    }
}

#[tokio::test]
async fn s11_a_release_of_a_removed_name_leaves_no_row() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        sql(&store, &format!("delete from {{table}} where lease_name = '{}'", request.name)).await;
        assert_eq!(form.release(&store, &plain_release(&claim(&request, grant))).await, Released::NotHeld);
        let rows: i64 =
            value(&store, &format!("select count(*) from {{table}} where lease_name = '{}'", request.name)).await;
        assert_eq!(rows, 0, "{form:?}");
    }
}

#[tokio::test]
async fn a_release_can_keep_the_name_blocked_but_for_one() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        let hold = plain_release(&claim(&request, grant))
            .with_hold_for(Duration::from_secs(20))
            .with_reserved_for(holder("heir"));
        assert_eq!(form.release(&store, &hold).await, Released::Freed, "{form:?}");
        let answer = form.acquire(&store, &crate::common::request(&job(form), "b")).await.unwrap();
        let Acquired::Held { by: Some(by), retry_after: Some(after) } = answer else { panic!("{form:?}: {answer:?}") };
        assert!(by.holder == request.holder && after <= Duration::from_secs(20) && after > Duration::from_secs(15));
        let answer = form.renew(&store, &renewal(&claim(&request, grant), TTL)).await.unwrap();
        assert_eq!(answer, Renewed::Lost(LossReason::Released), "{form:?}");
        let heir = form.granted(&store, &crate::common::request(&job(form), "heir")).await;
        assert!(heir.token > grant.token, "{form:?}");
        assert!(is_held(&store, &crate::common::request(&job(form), "heir")).await, "{form:?}: reserved twice");
    }
}

#[tokio::test]
async fn a_blocked_name_is_free_after_its_time() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        let hold = plain_release(&claim(&request, grant)).with_hold_for(Duration::from_millis(60));
        form.release(&store, &hold).await;
        assert!(is_held(&store, &crate::common::request(&job(form), "b")).await, "{form:?}");
        expired(&store, request.name.as_str()).await;
        form.granted(&store, &crate::common::request(&job(form), "b")).await;
    }
}

#[tokio::test]
async fn s22_a_break_after_expiry_refuses_renewals_and_leaves_the_name_blocked() {
    let store = store().await;
    let request = request("job", "a");
    let grant = granted(&store, &request).await;
    assert_eq!(store.break_lease(&request.name, grant.token, Break::AfterExpiry).await.unwrap(), Released::Freed);
    assert_eq!(renew(&store, &renewal(&claim(&request, grant), TTL)).await.unwrap(), Renewed::Lost(LossReason::Broken));
    assert_eq!(release(&store, &claim(&request, grant)).await, Released::NotHeld);
    assert!(is_held(&store, &crate::common::request("job", "b")).await);
    assert!(is_held(&store, &crate::common::request("job", "a")).await);
    // It can still be freed.
    assert_eq!(store.break_lease(&request.name, grant.token, Break::AfterExpiry).await.unwrap(), Released::NotHeld);
    assert_eq!(store.break_lease(&request.name, grant.token, Break::Now).await.unwrap(), Released::Freed);
    granted(&store, &crate::common::request("job", "b")).await;
}

#[tokio::test]
async fn s22_a_break_hits_only_the_token_that_it_names() {
    let store = store().await;
    let first = request("job", "a").with_ttl(BRIEF);
    let old = granted(&store, &first).await;
    expired(&store, "job").await;
    assert_eq!(store.break_lease(&first.name, old.token, Break::Now).await.unwrap(), Released::NotHeld);
    let second = request("job", "b");
    let grant = granted(&store, &second).await;
    for how in [Break::AfterExpiry, Break::Now] {
        assert_eq!(store.break_lease(&first.name, old.token, how).await.unwrap(), Released::NotHeld);
        let never = FencingToken::new(u64::MAX).unwrap();
        assert_eq!(store.break_lease(&first.name, never, how).await.unwrap(), Released::NotHeld);
    }
    assert!(matches!(renew(&store, &renewal(&claim(&second, grant), TTL)).await.unwrap(), Renewed::Extended { .. }));
}

#[tokio::test]
async fn l7_a_locked_row_holds_up_no_neighbour() {
    let store = store().await;
    let requests: Vec<_> = (0..6).map(|at| request(&format!("job-{at}"), "a")).collect();
    let grants: Vec<_> = store.acquire(&requests).await;
    let claims: Vec<_> = requests
        .iter()
        .zip(grants)
        .map(|(request, grant)| match grant.unwrap() {
            Acquired::Granted(grant) => claim(request, grant),
            other => panic!("unexpected answer: {other:?}"),
        })
        .collect();
    let lock = format!("select from {} where lease_name = 'job-3' for update", crate::common::table_of(&store));
    let mut other = crate::common::pool().await.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock.clone())).execute(&mut *other).await.unwrap();

    let renewals: Vec<_> = claims.iter().map(|claim| renewal(claim, TTL)).collect();
    let releases: Vec<_> = claims.iter().map(plain_release).collect();
    for (at, answer) in store.renew(&renewals).await.into_iter().enumerate() {
        match answer {
            Ok(Renewed::Extended { .. }) => assert_ne!(at, 3),
            Err(error) => assert!(at == 3 && error.kind() == ErrorKind::Unavailable, "{at}: {error}"),
            Ok(lost) => panic!("{at}: {lost:?}"),
        }
    }
    for (at, answer) in store.release(&releases).await.into_iter().enumerate() {
        match answer {
            Ok(freed) => assert!(at != 3 && freed == Released::Freed),
            Err(error) => assert!(at == 3 && error.kind() == ErrorKind::Unavailable, "{at}: {error}"),
        }
    }
    let again: Vec<_> = (0..6).map(|at| request(&format!("job-{at}"), "b")).collect();
    for (at, answer) in store.acquire(&again).await.into_iter().enumerate() {
        match answer {
            Ok(Acquired::Granted(_)) => assert_ne!(at, 3),
            // Locked, but also held.
            Ok(Acquired::Held { .. }) => assert_eq!(at, 3),
            other => panic!("{at}: {other:?}"),
        }
    }
    other.rollback().await.unwrap();
    assert!(matches!(renew(&store, &renewals[3]).await.unwrap(), Renewed::Extended { .. }));
}

/// With many contenders a row is nearly always locked, and its owner has to queue with them.
#[tokio::test]
async fn l1_a_release_waits_for_others_that_lock_its_row() {
    let store = store().await;
    let held = request("job", "a");
    let claim = claim(&held, granted(&store, &held).await);
    let lock = format!("select from {} where lease_name = 'job' for update", crate::common::table_of(&store));
    let mut other = crate::common::pool().await.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *other).await.unwrap();
    let contender = async {
        pass(Duration::from_millis(200)).await;
        other.rollback().await.unwrap();
    };
    let (released, ()) = tokio::join!(release(&store, &claim), contender);
    assert_eq!(released, Released::Freed);
}

/// A row that is not visible yet cannot be left out beforehand.
#[tokio::test]
async fn l7_an_uncommitted_row_holds_up_no_neighbour() {
    let store = store().await;
    let mut other = crate::common::pool().await.begin().await.unwrap();
    let insert = format!(
        "insert into {} (lease_name, holder_id, version, acquired_at_utc, expires_at_utc)
         values ('job-1', 'other', 1, now(), now() + interval '1 hour')",
        crate::common::table_of(&store)
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut *other).await.unwrap();
    let requests: Vec<_> = (0..3).map(|at| request(&format!("job-{at}"), "a")).collect();
    let answers = store.acquire(&requests).await;
    assert!(matches!(answers[0], Ok(Acquired::Granted(_))), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(matches!(answers[2], Ok(Acquired::Granted(_))), "{answers:?}");
    drop(other);
}

#[tokio::test]
async fn l7_a_poisonous_row_harms_no_neighbour() {
    let store = store().await;
    granted(&store, &request("job-1", "a").with_ttl(BRIEF)).await;
    expired(&store, "job-1").await;
    // There is no higher version.
    sql(&store, "update {table} set version = 9223372036854775807").await;
    let requests: Vec<_> = (0..3).map(|at| request(&format!("job-{at}"), "b")).collect();
    let answers = store.acquire(&requests).await;
    assert!(matches!(answers[0], Ok(Acquired::Granted(_))), "{answers:?}");
    let error = answers[1].as_ref().unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("set it lower by hand"), "{error}");
    assert!(matches!(answers[2], Ok(Acquired::Granted(_))), "{answers:?}");
}

/// Two batches lock the same rows, given in any order, without a deadlock, which would end with the lock time-out. On a busy
/// machine some waits are that long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_overlapping_batches_do_not_block_each_other() {
    const ROUNDS: usize = 25;
    let store = store().await;
    let troubled_rounds = async |store: PostgresStore, who: &str, reversed: bool| {
        let mut troubled = 0;
        for _ in 0..ROUNDS {
            let mut requests: Vec<_> = (0..64).map(|at| request(&format!("job-{at:02}"), who)).collect();
            if reversed {
                requests.reverse();
            }
            let mut errors = 0;
            let mut won = Vec::new();
            for (request, answer) in requests.iter().zip(store.acquire(&requests).await) {
                match answer {
                    Ok(Acquired::Granted(grant)) => won.push(claim(request, grant)),
                    Ok(_) => {}
                    Err(_) => errors += 1,
                }
            }
            let renewals: Vec<_> = won.iter().map(|claim| renewal(claim, TTL)).collect();
            errors += store.renew(&renewals).await.iter().filter(|answer| answer.is_err()).count();
            let releases: Vec<_> = won.iter().map(plain_release).collect();
            errors += store.release(&releases).await.iter().filter(|answer| answer.is_err()).count();
            troubled += usize::from(errors > 0);
        }
        troubled
    };
    let mut rounds = Vec::new();
    for (who, reversed) in [("a", false), ("b", true), ("c", false), ("d", true)] {
        rounds.push(troubled_rounds(another(&store).await, who, reversed));
    }
    let troubled: usize = futures::future::join_all(rounds).await.into_iter().sum();
    assert!(troubled <= 2, "{troubled} of {} rounds had errors", 4 * ROUNDS);
}

#[tokio::test]
async fn l7_each_request_of_a_batch_has_its_own_error() {
    let store = store().await;
    let job = |at: usize| format!("job-{at:03}");
    let first: Vec<_> = (0..200).map(|at| request(&job(at), "a")).collect();
    assert!(store.acquire(&first).await.iter().all(Result::is_ok));
    sql(&store, "update {table} set expires_at_utc = now()").await;
    for poisoned in [17, 18, 130] {
        let poison =
            format!("update {{table}} set version = 9223372036854775807 where lease_name = '{}'", job(poisoned));
        sql(&store, &poison).await;
    }
    let mut other = crate::common::pool().await.begin().await.unwrap();
    let lock = format!(
        "select from {} where lease_name in ('job-040', 'job-199') for update",
        crate::common::table_of(&store)
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *other).await.unwrap();
    let second: Vec<_> = (0..200).map(|at| request(&job(at), "b")).collect();
    for (at, answer) in store.acquire(&second).await.into_iter().enumerate() {
        match answer {
            Ok(Acquired::Granted(_)) => assert!(![17, 18, 130, 40, 199].contains(&at), "{at}"),
            Err(error) if error.kind() == ErrorKind::Invalid => assert!([17, 18, 130].contains(&at), "{at}: {error}"),
            Err(error) if error.kind() == ErrorKind::Unavailable => assert!([40, 199].contains(&at), "{at}: {error}"),
            other => panic!("{at}: {other:?}"),
        }
    }
    other.rollback().await.unwrap();
}

#[tokio::test]
async fn a_ttl_beyond_the_limits_is_refused_by_itself() {
    let store = store().await;
    let limits = store.capabilities();
    let ttls =
        [limits.min_ttl, Duration::ZERO, limits.max_ttl, limits.max_ttl + Duration::from_nanos(1), Duration::MAX];
    let requests: Vec<_> =
        ttls.into_iter().enumerate().map(|(at, ttl)| request(&format!("job-{at}"), "a").with_ttl(ttl)).collect();
    for answers in [store.acquire(&requests).await, {
        let mut answers = Vec::new();
        for request in &requests {
            answers.push(acquire(&store, &request.clone().with_name(name(&format!("{}-one", request.name)))).await);
        }
        answers
    }] {
        let fits: Vec<_> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(fits, [true, false, true, false, false], "{answers:?}");
        let error = answers[1].as_ref().unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("between 10ms"), "{error}");
    }
}

#[tokio::test]
async fn list_pages_in_byte_order_and_takes_prefixes_literally() {
    let store = store().await;
    let names = ["a", "A", "a%b", "a_b", "aXb", "a/b", "a~", "b", "a.b"];
    for name in names {
        granted(&store, &request(name, "h")).await;
    }
    let mut expected: Vec<_> = names.to_vec();
    expected.sort_unstable();
    let list = async |prefix: &str, after: Option<&str>, limit: usize| -> Vec<String> {
        let after = after.map(name);
        let records = store.list(prefix, after.as_ref(), limit).await.unwrap();
        records.into_iter().map(|record| record.name.to_string()).collect()
    };
    assert_eq!(list("", None, 100).await, expected);
    assert_eq!(list("a_", None, 100).await, ["a_b"]);
    assert_eq!(list("a%", None, 100).await, ["a%b"]);
    assert_eq!(list("a~", None, 100).await, ["a~"]);
    assert_eq!(list("A", None, 100).await, ["A"]);
    assert!(
        list("", None, 0).await.is_empty()
            && list("ä", None, 9).await.is_empty()
            && list("a\0", None, 9).await.is_empty()
    );

    // Names of other software that this library does not allow are skipped, and paging continues after them.
    sql(
        &store,
        "insert into {table} (lease_name, holder_id, version, acquired_at_utc, expires_at_utc)
         select n, 'x', 1, now(), now() + interval '1 hour' from unnest(array['a b', 'a b2', 'aé', '', repeat('a', 256)]) n",
    )
    .await;
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = list("", paged.last().map(String::as_str), 2).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, expected);
    release(&store, &Claim::new(name("b"), holder("h"), GrantId::random())).await;
    sql(&store, "update {table} set expires_at_utc = now() where lease_name = 'b'").await;
    assert!(!list("", None, 100).await.contains(&"b".to_owned()));
}

#[tokio::test]
async fn purge_removes_what_has_long_ended_and_tokens_keep_rising() {
    let store = store().await;
    let mut tokens = Vec::new();
    let requests: Vec<_> = (0..2500).map(|at| request(&format!("old-{at}"), "a")).collect();
    for answer in store.acquire(&requests).await {
        let Acquired::Granted(grant) = answer.unwrap() else { panic!() };
        tokens.push(grant.token);
    }
    granted(&store, &request("held", "a")).await;
    granted(&store, &request("ahead", "a").with_ttl(BRIEF)).await;
    sql(&store, "update {table} set version = 9000000000000000 where lease_name = 'ahead'").await;
    expired(&store, "ahead").await;
    let hour = Duration::from_secs(3600);
    sql(&store, "update {table} set expires_at_utc = now() - interval '59 minutes' where lease_name like 'old-%'")
        .await;
    assert_eq!(store.purge(hour).await.unwrap(), 0);
    // A request that is still in flight could be granted a second time.
    let error = store.purge(hour - Duration::from_millis(1)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("at least"), "{error}");
    sql(&store, "update {table} set expires_at_utc = now() - interval '61 minutes' where lease_name <> 'held'").await;
    pass(Duration::from_millis(5)).await;
    assert_eq!(store.purge(hour).await.unwrap(), 2500);
    let left: i64 = value(&store, "select count(*) from {table}").await;
    assert_eq!(left, 2, "the held one, and the one whose token is ahead of the clock");
    assert!(granted(&store, &request("old-7", "b")).await.token > tokens[7]);
    assert_eq!(store.purge(Duration::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn s21_names_differ_by_any_byte() {
    let store = store().await;
    let names = ["job", "Job", "job/", "job%", "job_", "job}", "job*", "job\\", "job'", "job\"", "jo", "job--", "$1"];
    let requests: Vec<_> =
        names.iter().map(|name| request(name, "a")).chain([request(&"x".repeat(255), "a")]).collect();
    for answer in store.acquire(&requests).await {
        assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
    }
    for request in requests {
        assert_eq!(store.inspect(&request.name).await.unwrap().unwrap().name, request.name);
        assert!(is_held(&store, &crate::common::request(request.name.as_str(), "b")).await);
    }
}

/// The connection of an abandoned call is closed: the next call must not read its answer.
#[tokio::test]
async fn s24_the_connection_of_an_abandoned_call_is_closed() {
    let store = store().await;
    let application = crate::common::unique("alone");
    let options = crate::common::options_of(&store).with_max_connections(1);
    let alone = options.connect(&crate::common::url_of(&application).await).await.unwrap();
    let held = request("locked", "a");
    let renewal = renewal(&claim(&held, granted(&alone, &held).await), TTL);
    let before = crate::common::sessions(&application).await;
    assert_eq!(before.len(), 1);
    let other = crate::common::lock(&store, "where lease_name = 'locked' for update").await;
    tokio::select! {
        answer = renew(&alone, &renewal) => panic!("unexpected answer: {answer:?}"),
        () = pass(Duration::from_millis(100)) => {}
    }
    // The next call waits until the statement has ended on the server.
    let next = request("job", "a");
    tokio::select! {
        grant = granted(&alone, &next) => panic!("{grant:?}: more sessions than one at work"),
        () = pass(Duration::from_millis(100)) => {}
    }
    other.rollback().await.unwrap();
    granted(&alone, &next).await;
    eventually("the abandoned session ends", async || crate::common::sessions(&application).await.len() == 1).await;
    let after = crate::common::sessions(&application).await;
    assert_ne!(before, after);
    // A call that was not abandoned returns its connection to the pool.
    granted(&alone, &request("another", "a")).await;
    assert_eq!(crate::common::sessions(&application).await, after);
}

#[tokio::test]
async fn everything_works_without_prepared_statements_too() {
    let prepared = store().await;
    let application = crate::common::unique("unprepared");
    let store = crate::common::options_of(&prepared)
        .with_prepared_statements(false)
        .connect(&crate::common::url_of(&application).await)
        .await
        .unwrap();
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        assert!(matches!(
            form.acquire(&store, &crate::common::request(&job(form), "b")).await.unwrap(),
            Acquired::Held { .. }
        ));
        assert!(matches!(
            form.renew(&store, &renewal(&claim(&request, grant), TTL)).await,
            Ok(Renewed::Extended { .. })
        ));
        assert_eq!(form.release(&store, &plain_release(&claim(&request, grant))).await, Released::Freed);
    }
    let lock = format!("select from {} where lease_name = 'job-One' for update", crate::common::table_of(&store));
    let mut other = crate::common::pool().await.begin().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *other).await.unwrap();
    let error = acquire(&store, &request("job-One", "c")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    other.rollback().await.unwrap();
    granted(&store, &request("job-One", "c")).await;
    let strange =
        request(r"job-'\$1", r"o'ne\ é $2").with_metadata(Metadata::new([("it's", r"a \' $1 {table} \\ é")]).unwrap());
    let grant = granted(&store, &strange).await;
    let record = prepared.inspect(&strange.name).await.unwrap().unwrap();
    assert_eq!((&record.holder, &record.metadata, record.token), (&strange.holder, &strange.metadata, grant.token));
    assert_eq!(store.inspect(&strange.name).await.unwrap().unwrap().holder, record.holder);
    assert_eq!(store.list("job-'", None, 5).await.unwrap().len(), 1);
    // The whole call is one message: the server neither prepares, nor waits for the rest of a transaction.
    let last: String =
        sqlx::query_scalar("select string_agg(query, ' | ') from pg_stat_activity where application_name = $1")
            .bind(&application)
            .fetch_one(&crate::common::pool().await)
            .await
            .unwrap();
    assert!(last.contains("begin isolation level read committed") && last.contains("commit"), "{last}");
}

/// A clock that was set back for a moment must not extend the validity beyond the ttl.
#[tokio::test]
async fn s1_no_more_than_the_ttl_ever_remains() {
    let store = store().await;
    for form in FORMS {
        let request = request(&job(form), "a");
        let grant = form.granted(&store, &request).await;
        // The row as it is while the server's clock is an hour behind.
        sql(&store, "update {table} set expires_at_utc = expires_at_utc + interval '1 hour'").await;
        let renewed = form.renew(&store, &renewal(&claim(&request, grant), TTL)).await.unwrap();
        assert_eq!(renewed, Renewed::Extended { remaining: TTL }, "{form:?}");
        assert_eq!(form.granted(&store, &retry(&request)).await.remaining, TTL, "{form:?}");
    }
}

/// An operator has set the end of a grant to infinity, so that nobody else gets the name.
#[tokio::test]
async fn s7_a_row_that_never_expires_is_renewed_released_and_broken() {
    let store = store().await;
    for form in FORMS {
        for breaks in [false, true] {
            let request = request(&format!("{}-{breaks}", job(form)), "a");
            let grant = form.granted(&store, &request).await;
            let token = grant.token;
            let claim = claim(&request, grant);
            sql(&store, "update {table} set expires_at_utc = 'infinity'").await;
            let renewed = form.renew(&store, &renewal(&claim, TTL)).await.unwrap();
            assert_eq!(renewed, Renewed::Extended { remaining: TTL }, "{form:?}");
            let ended = if breaks {
                store.break_lease(&request.name, token, Break::Now).await.unwrap()
            } else {
                form.release(&store, &plain_release(&claim)).await
            };
            assert_eq!(ended, Released::Freed, "{form:?}");
            assert_eq!(store.inspect(&request.name).await.unwrap(), None);
        }
    }
}

/// The lease expires while its release, or its break, waits for the row: the expiry is judged after the wait.
#[tokio::test]
async fn s11_a_release_or_a_break_that_waited_past_the_expiry_ends_nothing() {
    let store = store().await;
    for breaks in [false, true] {
        let request = request(&format!("job-{breaks}"), "a");
        let grant = granted(&store, &request).await;
        shorten(&store, &request.name).await;
        let other = crate::common::lock(&store, &format!("where lease_name = '{}' for update", request.name)).await;
        let unlock = async {
            expired(&store, request.name.as_str()).await;
            other.rollback().await.unwrap();
        };
        let hold = plain_release(&claim(&request, grant)).with_hold_for(TTL);
        let end = async {
            if breaks {
                store.break_lease(&request.name, grant.token, Break::AfterExpiry).await
            } else {
                store.release(&[hold]).await.pop().unwrap()
            }
        };
        let (answer, ()) = tokio::join!(end, unlock);
        match answer {
            Ok(answer) => assert_eq!(answer, Released::NotHeld, "breaks: {breaks}"),
            // The wait was too long.
            Err(error) => assert!(breaks && error.kind() == ErrorKind::Unavailable, "{error}"),
        }
        granted(&store, &crate::common::request(request.name.as_str(), "b")).await;
    }
}

/// A crash must not take back a grant, whatever the role or the server is set to; it may take back a release.
#[tokio::test]
async fn s9_all_but_releases_are_on_the_disk_before_they_are_answered() {
    let store = store().await;
    let log = format!("public.{}", crate::common::unique("commits"));
    let watch = format!(
        "create table {log} (name text, setting text);
         create function {log}_of() returns trigger language plpgsql as $$ begin
             insert into {log} values (new.lease_name, current_setting('synchronous_commit')); return null; end $$;
         create constraint trigger watch after insert or update on {{table}} deferrable initially deferred
             for each row execute function {log}_of()"
    );
    sql(&store, &watch).await;
    let url = format!("{}?options=-c%20synchronous_commit%3Doff", crate::common::url().await);
    for prepared in [true, false] {
        let careless =
            crate::common::options_of(&store).with_prepared_statements(prepared).connect(&url).await.unwrap();
        for form in FORMS {
            let job = format!("{}-{prepared}", job(form));
            // Of all commits since the last reading.
            let settings = async || -> String {
                let text = format!("delete from {log} where name = '{job}' returning setting");
                let pool = crate::common::pool().await;
                let mut all: Vec<String> =
                    sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_all(&pool).await.unwrap();
                all.dedup();
                all.join(" ")
            };
            let request = request(&job, "a");
            let grant = form.granted(&careless, &request).await;
            assert_eq!(settings().await, "on", "{form:?}");
            form.renew(&careless, &renewal(&claim(&request, grant), TTL)).await.unwrap();
            assert_eq!(settings().await, "on", "{form:?}");
            form.release(&careless, &plain_release(&claim(&request, grant))).await;
            assert_eq!(settings().await, "off", "{form:?}");
            let next = form.granted(&careless, &crate::common::request(&job, "b")).await;
            careless.break_lease(&request.name, next.token, Break::Now).await.unwrap();
            assert_eq!(settings().await, "on", "{form:?}");
        }
    }
}

/// Makes every new token so old that it must be raised, and the raising of `job-1` wait for a lock of the caller.
async fn with_old_tokens(store: &PostgresStore) -> String {
    let log = format!("public.{}", crate::common::unique("raised"));
    let slow = format!(
        "create table {log} (name text, transaction bigint);
         create function {log}_insert() returns trigger language plpgsql as $$ begin
             perform pg_sleep(0.002); return new; end $$;
         create function {log}_update() returns trigger language plpgsql as $$ begin
             if new.lease_name = 'job-1' then perform pg_advisory_xact_lock(hashtextextended('{log}', 0)); end if;
             insert into {log} values (new.lease_name, txid_current()); return new; end $$;
         create trigger slow_insert before insert on {{table}} for each row execute function {log}_insert();
         create trigger slow_update before update on {{table}} for each row execute function {log}_update()"
    );
    sql(store, &slow).await;
    log
}

/// Lets the raising of `job-1` wait for this transaction.
async fn lock_raising(log: &str) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut other = crate::common::pool().await.begin().await.unwrap();
    let lock = format!("select pg_advisory_xact_lock(hashtextextended('{log}', 0))");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *other).await.unwrap();
    other
}

#[tokio::test]
async fn s9_the_old_tokens_of_a_batch_are_raised_together() {
    let store = store().await;
    let log = with_old_tokens(&store).await;
    let requests: Vec<_> = (0..20).map(|at| request(&format!("job-{at}"), "a")).collect();
    for answer in store.acquire(&requests).await {
        assert!(matches!(answer, Ok(Acquired::Granted(_))), "{answer:?}");
    }
    let (raised, transactions): (i64, i64) =
        sqlx::query_as(sqlx::AssertSqlSafe(format!("select count(*), count(distinct transaction) from {log}")))
            .fetch_one(&crate::common::pool().await)
            .await
            .unwrap();
    assert_eq!((raised, transactions), (20, 1));
}

#[tokio::test]
async fn l7_a_token_that_cannot_be_raised_costs_no_neighbour() {
    let store = store().await;
    let other = lock_raising(&with_old_tokens(&store).await).await;
    let began = SystemClock.now();
    let requests: Vec<_> = (0..5).map(|at| request(&format!("job-{at}"), "a")).collect();
    let answers = store.acquire(&requests).await;
    let took = SystemClock.now().saturating_since(began);
    for (at, answer) in answers.iter().enumerate() {
        match answer {
            Ok(Acquired::Granted(_)) => assert_ne!(at, 1),
            // Granted, but its token may be too low.
            Err(error) => assert!(at == 1 && error.kind() == ErrorKind::Indeterminate, "{error}"),
            other => panic!("{at}: {other:?}"),
        }
    }
    assert!(took < Duration::from_millis(800), "{took:?}");
    other.rollback().await.unwrap();
}

/// Losers of the race for a new name lock its row, one after the other, while the token of the winner is raised.
#[tokio::test]
async fn s9_a_token_is_raised_though_its_row_is_locked_for_a_while() {
    let store = store().await;
    let other = lock_raising(&with_old_tokens(&store).await).await;
    let unlock = async {
        pass(Duration::from_millis(300)).await;
        other.rollback().await.unwrap();
    };
    let request = request("job-1", "a");
    let (acquired, ()) = tokio::join!(acquire(&store, &request), unlock);
    assert!(matches!(acquired, Ok(Acquired::Granted(_))), "{acquired:?}");
}

/// The statement that finds locked rows does not conflict with another one of its kind.
#[tokio::test]
async fn l7_finding_locked_rows_is_not_taken_for_a_change_of_a_row() {
    let store = store().await;
    let requests: Vec<_> = (0..5).map(|at| request(&format!("job-{at}"), "a")).collect();
    let mut renewals = Vec::new();
    for request in &requests {
        renewals.push(renewal(&claim(request, granted(&store, request).await), TTL));
    }
    let writer = crate::common::lock(&store, "where lease_name = 'job-3' for update").await;
    let looks = crate::common::lock(&store, "where lease_name = 'job-1' for share").await;
    let end = async {
        pass(Duration::from_millis(75)).await;
        looks.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(store.renew(&renewals), end);
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), at != 3, "{at}: {answer:?}");
    }
    writer.rollback().await.unwrap();
}

/// If no row is found to be locked, each request is tried by itself, and none waits for the sum of all before it.
#[tokio::test]
async fn l7_requests_that_are_tried_one_by_one_do_not_wait_for_long() {
    let store = store().await;
    let requests: Vec<_> = (0..8).map(|at| request(&format!("job-{at}"), "a")).collect();
    let mut claims = Vec::new();
    for request in &requests {
        claims.push(claim(request, granted(&store, request).await));
    }
    let other = crate::common::lock(&store, "for share").await;
    let began = SystemClock.now();
    let renewals: Vec<_> = claims.iter().map(|claim| renewal(claim, TTL)).collect();
    assert!(store.renew(&renewals).await.iter().all(|answer| answer.is_err()));
    let releases: Vec<_> = claims.iter().map(plain_release).collect();
    assert!(store.release(&releases).await.iter().all(|answer| answer.is_err()));
    let took = SystemClock.now().saturating_since(began);
    assert!(took < Duration::from_millis(2 * 8 * 50 + 1000), "{took:?}");
    other.rollback().await.unwrap();
}

/// Each row is freed before the wait for it times out, and the next one is still locked: the statement as a whole still times out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_many_short_waits_are_no_endless_one() {
    const ROWS: u32 = 90;
    const FREED_EVERY: Duration = Duration::from_millis(25);
    let store = store().await;
    let requests: Vec<_> = (0..ROWS).map(|at| request(&format!("job-{at:02}"), "a")).collect();
    let renewals: Vec<_> = requests
        .iter()
        .zip(store.acquire(&requests).await)
        .map(|(request, answer)| match answer.unwrap() {
            Acquired::Granted(grant) => renewal(&claim(request, grant), TTL),
            other => panic!("unexpected answer: {other:?}"),
        })
        .collect();
    let pool =
        sqlx::postgres::PgPoolOptions::new().max_connections(ROWS).connect(crate::common::url().await).await.unwrap();
    let mut locks = Vec::new();
    for request in &requests {
        let mut other = pool.begin().await.unwrap();
        let lock =
            format!("select from {} where lease_name = '{}' for update", crate::common::table_of(&store), request.name);
        sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *other).await.unwrap();
        locks.push(other);
    }
    let began = SystemClock.now();
    let free = async {
        for (at, lock) in (1..).zip(locks) {
            SystemClock.sleep_until(began + FREED_EVERY * at).await;
            lock.rollback().await.unwrap();
        }
    };
    let renew = async {
        let answers = store.renew(&renewals).await;
        (answers, SystemClock.now().saturating_since(began))
    };
    let ((answers, took), ()) = tokio::join!(renew, free);
    assert!(took < Duration::from_millis(1600), "{took:?}, of {:?} until all are free", FREED_EVERY * ROWS);
    for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(answer.kind(), ErrorKind::Unavailable, "{answer}");
    }
    assert!(answers.iter().any(Result::is_ok), "those that were free by then");
}

/// Plans that were made while the table was small are good after it has grown, before an `ANALYZE`.
#[tokio::test]
async fn l7_a_table_that_has_grown_is_not_read_from_end_to_end() {
    const ROWS: usize = 20_000;
    let small = store().await;
    let store =
        crate::common::options_of(&small).with_max_connections(1).with_pool(&crate::common::pool().await).unwrap();
    sql(&store, "alter table {table} set (autovacuum_enabled = off)").await;
    let names = |from: usize, count: usize| -> Vec<_> {
        (from..from + count).map(|at| request(&format!("job-{at:06}"), "a")).collect()
    };
    let claims = |requests: &[AcquireRequest]| -> Vec<_> {
        let grant = |request: &AcquireRequest| Claim::new(request.name.clone(), request.holder.clone(), request.grant);
        requests.iter().map(grant).collect()
    };
    // Often enough for the server to cache its plans.
    let few = names(0, 20);
    store.acquire(&few).await;
    sql(&store, "analyze {table}").await;
    for _ in 0..8 {
        store.acquire(&names(0, 20)).await;
        store.renew(&claims(&few).iter().map(|claim| renewal(claim, TTL)).collect::<Vec<_>>()).await;
        store.release(&claims(&names(0, 20)).iter().map(plain_release).collect::<Vec<_>>()).await;
    }
    let grow = format!(
        "insert into {{table}} (lease_name, holder_id, version, acquired_at_utc, expires_at_utc)
         select 'fill-' || n, 'x', 1, now(), now() from generate_series(1, {ROWS}) n"
    );
    sql(&store, &grow).await;
    let many = names(1000, 256);
    let clock = SystemClock;
    let began = clock.now();
    assert!(store.acquire(&many).await.iter().all(|answer| matches!(answer, Ok(Acquired::Granted(_)))));
    let acquired = clock.now();
    let renewals: Vec<_> = claims(&many).iter().map(|claim| renewal(claim, TTL)).collect();
    assert!(store.renew(&renewals).await.iter().all(|answer| matches!(answer, Ok(Renewed::Extended { .. }))));
    let renewed = clock.now();
    let releases: Vec<_> = claims(&many).iter().map(plain_release).collect();
    assert!(store.release(&releases).await.iter().all(|answer| matches!(answer, Ok(Released::Freed))));
    let times =
        [acquired.saturating_since(began), renewed.saturating_since(acquired), clock.now().saturating_since(renewed)];
    assert!(times.iter().all(|time| *time < Duration::from_millis(250)), "acquire, renew, release: {times:?}");
}

#[tokio::test]
async fn clones_and_other_stores_see_the_same_leases() {
    let store = store_with(PostgresStoreOptions::new().with_notifications(false)).await;
    assert!(!store.capabilities().push);
    let other = another(&store).await;
    assert!(other.capabilities().push);
    let request = request("job", "a");
    granted(&store.clone(), &request).await;
    assert!(is_held(&other, &crate::common::request("job", "b")).await);
}

/// A trigger of other software refuses one row: only that row fails (L7).
#[tokio::test]
async fn l07_a_trigger_that_refuses_one_row_harms_no_neighbour() {
    let store = crate::common::store().await;
    let refuse = format!("public.{}", crate::common::unique("refuse"));
    let text = format!(
        "create function {refuse}() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
         create trigger refuse before insert or update on {{table}} for each row when (new.lease_name = 'poison')
         execute function {refuse}()"
    );
    crate::common::sql(&store, &text).await;
    let requests: Vec<_> = ["job-1", "poison", "job-2"].iter().map(|name| request(name, "a")).collect();
    let answers = store.acquire(&requests).await;
    assert!(
        matches!(answers[0], Ok(Acquired::Granted(_))) && matches!(answers[2], Ok(Acquired::Granted(_))),
        "{answers:?}"
    );
    let error = answers[1].as_ref().unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("not this one"), "{error}");
}

/// Another service changes the type of a column while sessions have prepared statements, whose plans are then outdated.
#[tokio::test]
async fn l07_prepared_statements_outlive_a_change_of_the_table() {
    let store = store_with(PostgresStoreOptions::new().with_max_connections(1)).await;
    let (one, two) = (request("job-1", "a"), request("job-2", "a"));
    let claims = [claim(&one, granted(&store, &one).await), claim(&two, granted(&store, &two).await)];
    let renewals = claims.clone().map(|claim| renewal(&claim, TTL));
    for kind in ["text", "varchar(255)", "text", "varchar(300)"] {
        // Each change affects all statements; the first round makes the plans.
        let free = request(&crate::common::unique("free"), "a");
        let grant = granted(&store, &free).await;
        assert!(is_held(&store, &request("job-1", "b")).await, "{kind}");
        let rivals = ["job-1", "job-2"].map(|name| request(name, "b"));
        assert!(
            store.acquire(&rivals).await.iter().all(|answer| matches!(answer, Ok(Acquired::Held { .. }))),
            "{kind}"
        );
        assert!(store.inspect(&one.name).await.unwrap().is_some(), "{kind}");
        assert!(store.list("job", None, 10).await.unwrap().len() == 2, "{kind}");
        assert!(matches!(renew(&store, &renewals[0]).await, Ok(Renewed::Extended { .. })), "{kind}");
        let renewed = store.renew(&renewals).await;
        assert!(renewed.iter().all(|answer| matches!(answer, Ok(Renewed::Extended { .. }))), "{kind}: {renewed:?}");
        let stranger = Claim::new(one.name.clone(), holder("b"), GrantId::random());
        assert!(matches!(renew(&store, &renewal(&stranger, TTL)).await, Ok(Renewed::Lost(_))), "{kind}");
        assert_eq!(release(&store, &claim(&free, grant)).await, Released::Freed, "{kind}");
        let text =
            format!("alter table {{table}} alter column lease_name type {kind}, alter column holder_id type {kind}");
        sql(&store, &text).await;
    }
}

/// Runs the query of the page of the crate.
#[tokio::test]
async fn an_old_snapshot_is_found_by_the_query_of_the_page() {
    let application = crate::common::unique("dump");
    let pool = sqlx::PgPool::connect(&crate::common::url_of(&application).await).await.unwrap();
    let mut dump = pool.begin_with("begin isolation level repeatable read").await.unwrap();
    sqlx::raw_sql("select from pg_class limit 1").execute(&mut *dump).await.unwrap();
    let found =
        sqlx::raw_sql(include_str!("../../sql/horizon.sql")).fetch_all(&crate::common::pool().await).await.unwrap();
    let found: Vec<String> = found.iter().map(|row| sqlx::Row::get(row, "what")).collect();
    assert!(found.contains(&format!("session of {application}")), "{found:?}");
    dump.rollback().await.unwrap();
}
