//! Fences inside the application's own transaction.

use std::time::Duration;

use lease_core::{
    AcquireRequest, Acquired, Break, Clock, ErrorKind, FencingToken, LeaseClient, LeaseStore, Released, Renewed,
    SystemClock,
};

use crate::common::{
    TTL, acquire, claim, eventually, expired, fenced_store, granted, holder, name, pass, plain_release, release, renew,
    renewal, request, sql,
};

fn short(name: &str, holder: &str, milliseconds: u64) -> AcquireRequest {
    request(name, holder).with_ttl(Duration::from_millis(milliseconds))
}

#[tokio::test]
async fn passes_while_the_lease_is_held_and_only_with_its_token() {
    let store = fenced_store().await;
    let request = request("job", "a");
    let grant = granted(&store, &request).await;
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    store.fence(&mut transaction, &request.name, grant.token).await.unwrap();
    for (other_name, token) in [("job", grant.token.get() + 1), ("job", 1), ("job", u64::MAX), ("none", 1)] {
        let token = FencingToken::new(token).unwrap();
        let error = store.fence(&mut transaction, &name(other_name), token).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Lost && error.to_string().contains("roll back"), "{error}");
    }
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn refuses_a_grant_that_expired_or_was_released_broken_or_taken_over() {
    let store = fenced_store().await;
    let refused = async |name: &lease_core::LeaseName, token| {
        let mut transaction = crate::common::pool().await.begin().await.unwrap();
        let error = store.fence(&mut transaction, name, token).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost, "{name}: {error}");
    };
    // Long enough for the answer, also on a busy machine.
    let old = short("expired", "a", 1000);
    let grant = granted(&store, &old).await;
    expired(&store, "expired").await;
    refused(&old.name, grant.token).await;
    granted(&store, &request("expired", "b")).await;
    refused(&old.name, grant.token).await;

    let released = request("released", "a");
    let grant = granted(&store, &released).await;
    let hold = plain_release(&claim(&released, grant)).with_hold_for(TTL).with_reserved_for(holder("b"));
    assert_eq!(store.release(&[hold]).await.pop().unwrap().unwrap(), Released::Freed);
    refused(&released.name, grant.token).await;

    let broken = request("broken", "a");
    let grant = granted(&store, &broken).await;
    store.break_lease(&broken.name, grant.token, Break::AfterExpiry).await.unwrap();
    refused(&broken.name, grant.token).await;

    let taken = request("taken", "a");
    let grant = granted(&store, &taken).await;
    // Other software, with the holder id of this library's holder.
    sql(&store, "update {table} set version = version + 1 where lease_name = 'taken'").await;
    refused(&taken.name, grant.token).await;
}

#[tokio::test]
async fn no_take_over_passes_an_open_fence_though_the_lease_expires_meanwhile() {
    let store = fenced_store().await;
    // Long enough for the fence, also on a busy machine.
    let old = short("job", "a", 1500);
    let grant = granted(&store, &old).await;
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    store.fence(&mut transaction, &old.name, grant.token).await.unwrap();
    expired(&store, "job").await;
    let rival = request("job", "b");
    assert_eq!(acquire(&store, &rival).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let answers = store.acquire(&[rival, request(&crate::common::unique("other"), "b")]).await;
    assert_eq!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::Unavailable, "{answers:?}");
    assert!(matches!(answers[1], Ok(Acquired::Granted(_))), "{answers:?}");

    // A take-over by other software does not pass either.
    let table = crate::common::table_of(&store);
    let take_over = format!(
        "set local lock_timeout = '50ms';
         update {table} set holder_id = 'c', version = version + 1, expires_at_utc = now() + interval '1 hour'
         where lease_name = 'job' and expires_at_utc < now()"
    );
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(take_over)).execute(&crate::common::pool().await).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "55P03");
    transaction.commit().await.unwrap();
    assert!(granted(&store, &request("job", "b")).await.token > grant.token);
}

/// Overlapping writers keep the row locked all the time. They block neither renewals, nor releases, nor breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_open_fences_block_no_renewal_release_or_break() {
    let store = fenced_store().await;
    let requests = ["renewed", "released", "broken", "freed"].map(|name| request(name, "a"));
    let mut grants = Vec::new();
    let mut fences = Vec::new();
    for request in &requests {
        let grant = granted(&store, request).await;
        grants.push(grant);
        for _ in 0..2 {
            let mut transaction = crate::common::pool().await.begin().await.unwrap();
            store.fence(&mut transaction, &request.name, grant.token).await.unwrap();
            fences.push(transaction);
        }
    }
    let began = SystemClock.now();
    let claims: Vec<_> = requests.iter().zip(&grants).map(|(request, grant)| claim(request, *grant)).collect();
    for answer in store.renew(&claims.iter().map(|claim| renewal(claim, TTL)).collect::<Vec<_>>()).await {
        assert!(matches!(answer, Ok(Renewed::Extended { .. })), "{answer:?}");
    }
    assert!(matches!(renew(&store, &renewal(&claims[0], TTL)).await, Ok(Renewed::Extended { .. })));
    assert_eq!(release(&store, &claims[1]).await, Released::Freed);
    for (at, how) in [(2, Break::AfterExpiry), (3, Break::Now)] {
        assert_eq!(store.break_lease(&requests[at].name, grants[at].token, how).await.unwrap(), Released::Freed);
    }
    let took = SystemClock.now().saturating_since(began);
    assert!(took < Duration::from_millis(500), "they waited for {took:?}");
    // But a freed name is not granted before the fences have ended.
    for name in ["released", "freed"] {
        let error = acquire(&store, &request(name, "b")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        sql(&store, "update {table} set expires_at_utc = now() - interval '1 day' where lease_name <> 'renewed'").await;
        assert_eq!(store.purge(Duration::from_secs(3600)).await.unwrap(), 0);
    }
    for fence in fences {
        fence.commit().await.unwrap();
    }
    granted(&store, &request("released", "b")).await;
}

/// Unless the version is a column of a unique index, the lock of the fence blocks no change of it.
#[tokio::test]
async fn without_its_index_a_fence_is_refused() {
    let store = fenced_store().await;
    let request = request("job", "a");
    let grant = granted(&store, &request).await;
    let index = store.notification_channel();
    sql(&store, &format!("drop index public.{index}")).await;
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    let error = store.fence(&mut transaction, &request.name, grant.token).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("migrate()"), "{error}");
    transaction.rollback().await.unwrap();
    store.migrate().await.unwrap();
    let mut transaction = crate::common::pool().await.begin().await.unwrap();
    store.fence(&mut transaction, &request.name, grant.token).await.unwrap();
}

#[tokio::test]
async fn commit_fenced_commits_while_the_lease_is_held_and_rolls_back_otherwise() {
    let store = fenced_store().await;
    let writes = format!("public.{}", crate::common::unique("writes"));
    sql(&store, &format!("create table {writes} (id int)")).await;
    let client = LeaseClient::new(store.clone());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    for id in [1, 2] {
        let pool = crate::common::pool().await;
        let mut transaction = pool.begin().await.unwrap();
        let write = format!("insert into {writes} values ({id})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(write)).execute(&mut *transaction).await.unwrap();
        let outcome = store.commit_fenced(transaction, &lease).await;
        if id == 1 {
            outcome.unwrap();
            store.break_lease(lease.name(), lease.token(), Break::AfterExpiry).await.unwrap();
        } else {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Lost);
            // The connection is usable, and not in a transaction.
            sqlx::raw_sql("vacuum pg_catalog.pg_range").execute(&pool).await.unwrap();
        }
    }
    assert_eq!(crate::common::value::<i64>(&store, &format!("select sum(id) from {writes}")).await, 1);
}

/// Even if another driver sends it, in a session with operators of other users in its search path.
#[tokio::test]
async fn the_text_of_the_fence_stands_by_itself() {
    let store = fenced_store().await;
    let request = request("job", "a");
    let grant = granted(&store, &request).await;
    let token = i64::try_from(grant.token.get()).unwrap();
    for (name, version, expected) in
        [("job", token, Some((true, true))), ("job", 1, Some((false, true))), ("none", 1, None)]
    {
        let answer: Option<(bool, bool)> = sqlx::query_as(sqlx::AssertSqlSafe(store.fence_sql().to_owned()))
            .bind(name)
            .bind(version)
            .fetch_optional(&crate::common::pool().await)
            .await
            .unwrap();
        assert_eq!(answer, expected, "{name} {version}");
    }
}

/// A paused holder continues after a take-over, and finishes its write. Every committed write is by the holder whose token was the
/// newest at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_under_a_fence_are_in_the_order_of_the_tokens() {
    let store = fenced_store().await;
    let table = crate::common::table_of(&store);
    let writes = format!("{}_writes\"", table.trim_end_matches('"'));
    sql(&store, &format!("create table {writes} (id bigserial primary key, token bigint not null)")).await;
    let pool = crate::common::pool().await;
    let worker = async |who: usize| {
        let (mut committed, mut refused) = (0, 0);
        for round in 0..24 {
            let (attempt, grant) = loop {
                let attempt = short("job", &format!("worker-{who}"), 80);
                match acquire(&store, &attempt).await {
                    Ok(Acquired::Granted(grant)) => break (attempt, grant),
                    _ => pass(Duration::from_millis(3)).await,
                }
            };
            // Sometimes for longer than the ttl.
            pass(Duration::from_millis(if (round + who).is_multiple_of(3) { 100 } else { 10 })).await;
            let mut transaction = pool.begin().await.unwrap();
            sqlx::query(sqlx::AssertSqlSafe(format!("insert into {writes} (token) values ($1)")))
                .bind(i64::try_from(grant.token.get()).unwrap())
                .execute(&mut *transaction)
                .await
                .unwrap();
            match store.fence(&mut transaction, &attempt.name, grant.token).await {
                Ok(()) => {
                    transaction.commit().await.unwrap();
                    committed += 1;
                    release(&store, &claim(&attempt, grant)).await;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
                    transaction.rollback().await.unwrap();
                    refused += 1;
                }
            }
        }
        (committed, refused)
    };
    let (one, two, three) = tokio::join!(worker(0), worker(1), worker(2));
    let disorder: i64 = crate::common::value(
        &store,
        &format!(
            "select count(*) from (select token, lag(token) over (order by id) as before from {writes}) w where token < before"
        ),
    )
    .await;
    let committed = one.0 + two.0 + three.0;
    let refused = one.1 + two.1 + three.1;
    assert!(committed > 10 && refused > 0, "{committed} committed, {refused} refused");
    // Ids are drawn when the row is written, so a refused writer leaves a gap, and the others are in their order.
    assert_eq!(disorder, 0);
    eventually("the name is free", async || store.inspect(&name("job")).await.unwrap().is_none()).await;
}
