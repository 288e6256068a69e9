//! A primary, its replica, and a Sentinel that promotes the replica.

use std::time::Duration;

use integration_tests::{Redis, RedisSentinel};
use lease_core::{Acquired, ErrorKind, LeaseClient, LeaseOptions, LeaseStore, Renewed};

use crate::common::{acquire, claim, eventually, granted, is_held, name, options, renew, renewal, request};

const TTL: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_secs(1);

/// An administrator changes the primary while all servers work. The sentinel leaves the old primary as it is for about ten
/// seconds. With `min-replicas-to-write` it refuses to renew meanwhile, so no renewal that was answered is lost, and leases that
/// last longer stay held, through the same client.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_fail_over_costs_no_lease() {
    let servers = RedisSentinel::start().await.unwrap();
    servers.primary().command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await.unwrap();
    let store = options().connect(&servers.url()).await.unwrap();
    let client = LeaseClient::new(store.clone());
    let lease = client.acquire("job", LeaseOptions::new(TTL)).await.unwrap();
    let held = request("held", "a");
    let grant = granted(&store, &held).await;
    // A fail-over does not wait for replication: a lease that the replica does not have yet would be lost.
    eventually("the replica has the lease", async || {
        let key = crate::common::key(&store, "held");
        servers.replica().command(&["EXISTS", &key]).await.unwrap().text() == "1"
    })
    .await;
    servers.fail_over().await.unwrap();
    let field_at_the_new_primary = async |name: &str, field: &str| {
        let record = servers.replica().command(&["GET", &crate::common::key(&store, name)]).await.unwrap().text();
        crate::common::field_of(&record, field).parse::<u64>().unwrap()
    };
    let (held_until, job_until) =
        (field_at_the_new_primary("held", "expires").await, field_at_the_new_primary("job", "expires").await);
    let mut answer = renew(&store, &renewal(&claim(&held, grant), TTL)).await;
    while let Err(error) = &answer {
        assert!(error.is_transient(), "{error}");
        crate::common::pass(Duration::from_millis(50)).await;
        answer = renew(&store, &renewal(&claim(&held, grant), TTL)).await;
    }
    assert!(matches!(answer.unwrap(), Renewed::Extended { .. }));
    assert!(field_at_the_new_primary("held", "expires").await > held_until, "an answered renewal was lost");
    while field_at_the_new_primary("job", "expires").await <= job_until {
        assert!(lease.is_held());
        crate::common::pass(Duration::from_millis(100)).await;
    }
    assert_eq!(field_at_the_new_primary("job", "token").await, lease.token().get());
    lease.release().await.unwrap();
    let next = granted(&store, &request("job", "b")).await;
    assert!(is_held(&store, &request("held", "b")).await);
    assert!(next.token.get() > grant.token.get());
}

/// The documented degradation: a primary that is cut off and its successor both grant. Tokens order the two holders.
#[tokio::test(flavor = "multi_thread")]
async fn s09_tokens_order_the_grants_of_an_isolated_primary_and_its_successor() {
    let servers = RedisSentinel::start().await.unwrap();
    let options = options();
    let isolated = options.connect(servers.primary().url()).await.unwrap();
    assert!(isolated.check().await.unwrap().iter().any(|warning| warning.contains("min-replicas-to-write")));
    let majority = options.connect(&servers.url()).await.unwrap();
    servers.cut_primary().await.unwrap();

    let old = granted(&isolated, &request("job", "isolated")).await;
    let mut new = acquire(&majority, &request("job", "majority")).await;
    while new.is_err() {
        new = acquire(&majority, &request("job", "majority")).await;
    }
    let Ok(Acquired::Granted(new)) = new else { panic!("unexpected answer: {new:?}") };
    assert!(new.token > old.token, "{} {}", new.token, old.token);

    // The successor refuses writes of the old holder once the new holder has written.
    majority.fenced_write("data", "new", new.token).await.unwrap();
    let error = majority.fenced_write("data", "old", old.token).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
}

/// With `wait_replicas`, each grant and each renewal by the isolated primary is an error.
#[tokio::test(flavor = "multi_thread")]
async fn wait_replicas_rejects_the_grants_of_an_isolated_primary() {
    let servers = RedisSentinel::start().await.unwrap();
    let options = options().with_wait_replicas(1, WAIT);
    let isolated = options.connect(servers.primary().url()).await.unwrap();
    let majority = options.connect(&servers.url()).await.unwrap();
    // After a flush of the scripts, too: the script's text and the `WAIT` use one connection as well.
    servers.primary().command(&["SCRIPT", "FLUSH"]).await.unwrap();
    let held = request("held", "isolated");
    let grant = granted(&isolated, &held).await;
    assert!(matches!(renew(&isolated, &renewal(&claim(&held, grant), TTL)).await.unwrap(), Renewed::Extended { .. }));
    assert!(is_held(&isolated, &request("held", "b")).await);
    servers.cut_primary().await.unwrap();

    let lost = [request("job", "isolated"), request("held", "c")];
    let answers = isolated.acquire(&lost).await;
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("replicas"), "{error}");
    assert!(matches!(&answers[1], Ok(Acquired::Held { .. })), "{answers:?}");
    assert_eq!(isolated.inspect(&name("job")).await.unwrap(), None, "the grant was released again");
    assert_eq!(acquire(&isolated, &lost[0]).await.unwrap(), Acquired::Spent);
    // A renewal that no replica has leaves the old deadline (S8).
    let error = renew(&isolated, &renewal(&claim(&held, grant), TTL)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");

    // The successor has the grant that was confirmed.
    let record = async || match majority.inspect(&name("held")).await {
        Ok(record) => record,
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            None
        }
    };
    eventually("the successor has the confirmed grant", async || {
        record().await.is_some_and(|record| record.token == grant.token)
    })
    .await;
}

/// The driver asks a server that a sentinel names for its role. The documentation of the crate names the permission.
#[tokio::test]
async fn a_sentinel_needs_the_permission_for_role() {
    let servers = RedisSentinel::start().await.unwrap();
    let url = servers.url().replace("redis-sentinel://", "redis-sentinel://app:right@");
    let allow = async |role: &str| {
        let words = ["ACL", "SETUSER", "app", "on", ">right", "~*", "&*", "+@all", "-info", "-select", role];
        servers.primary().command(&words).await.unwrap();
    };
    allow("-role").await;
    let error = options().connect(&url).await.unwrap_err();
    assert!(error.to_string().contains("'role'"), "{error}");
    allow("+role").await;
    granted(&options().connect(&url).await.unwrap(), &request("job", "a")).await;
}

/// A longer wait would exceed the timeout of an attempt.
#[tokio::test]
async fn s23_a_wait_for_replicas_is_shorter_than_an_attempt() {
    let store = options().with_wait_replicas(1, Duration::from_millis(1100)).connect(Redis::shared().await.url()).await;
    let store = store.unwrap();
    let with_ttl = |ttl| request("job", "a").with_ttl(Duration::from_millis(ttl));
    for (ttl, kind) in [(6600, ErrorKind::Invalid), (6700, ErrorKind::Unavailable)] {
        let error = acquire(&store, &with_ttl(ttl)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn wait_replicas_needs_replicas() {
    let store = options().with_wait_replicas(1, Duration::from_millis(50)).connect(Redis::shared().await.url()).await;
    let error = acquire(&store.unwrap(), &request("job", "a")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("only 0 replicas"), "{error}");
}

/// The `WAIT` uses the connection of the write, so it counts the replicas of the primary that has the lease.
#[tokio::test]
async fn in_a_cluster_wait_replicas_counts_the_replicas_of_the_leases_primary() {
    let mut cluster =
        integration_tests::RedisCluster::start_with(3, &[("repl-diskless-sync-delay", "0")]).await.unwrap();
    cluster.add_replica(1).await.unwrap();
    let store = options().with_wait_replicas(1, Duration::from_millis(500)).connect(&cluster.url()).await.unwrap();
    let (mut granted, mut refused) = (0, 0);
    for n in 0..30 {
        let name = format!("job-{n}");
        let slot = cluster.slot_of(&format!("{}{name}", store.key_prefix())).await.unwrap();
        match acquire(&store, &request(&name, "a")).await {
            Ok(lease_core::Acquired::Granted(_)) => {
                assert!((5461..10922).contains(&slot), "{name}");
                granted += 1;
            }
            Err(error) => {
                assert!(!(5461..10922).contains(&slot) && error.kind() == ErrorKind::Unavailable, "{name}: {error}");
                refused += 1;
            }
            Ok(other) => panic!("unexpected answer: {other:?}"),
        }
    }
    assert!(granted > 2 && refused > 2, "{granted} {refused}");
}
