//! A primary becomes a replica while the connections to it stay open, and its address leads to its successor: as with a
//! Kubernetes service, a load balancer or a DNS name.

use std::time::Duration;

use fred::{
    clients::Client,
    prelude::{ClientLike, Config, ReconnectPolicy},
    types::CustomCommand,
};
use integration_tests::{Proxy, Redis, Reply};
use lease_core::{Break, Clock, ErrorKind, LeaseClient, LeaseOptions, LeaseStore, Released, Renewed, SystemClock};

use crate::common::{acquire, claim, granted, name, options, pass, release, renew, renewal, request};

const TTL: Duration = Duration::from_secs(60);
const WAIT: Duration = Duration::from_millis(200);

/// Two servers, and an address that leads to the primary.
struct Pair {
    one: Redis,
    two: Redis,
    address: Proxy,
}

impl Pair {
    async fn start() -> Self {
        let settings = [("repl-diskless-sync-delay", "0"), ("min-replicas-to-write", "0")];
        let (one, two) = (Redis::start_local(&settings).await.unwrap(), Redis::start_local(&settings).await.unwrap());
        follow(&two, &one).await;
        let address = Proxy::start(one.address().unwrap()).await.unwrap();
        let all = Self { one, two, address };
        crate::common::eventually("the replica is online", async || {
            all.one.command(&["INFO", "replication"]).await.unwrap().text().contains("state=online")
        })
        .await;
        all
    }

    fn url(&self) -> String {
        self.one.url_through(&self.address)
    }

    /// Fails over by Redis' own command: the old primary hands over all its data and follows the new one.
    async fn fail_over(&self) {
        self.address.redirect(self.two.address().unwrap());
        let port = self.two.address().unwrap().port().to_string();
        assert_eq!(self.one.command(&["FAILOVER", "TO", "127.0.0.1", &port]).await.unwrap().text(), "OK");
        crate::common::eventually("the roles are changed", async || {
            let roles = [self.one.command(&["ROLE"]).await.unwrap(), self.two.command(&["ROLE"]).await.unwrap()];
            roles.map(|role| format!("{role:?}").contains("master")) == [false, true]
        })
        .await;
    }

    /// Fails over while the old primary cannot follow the new one, as with a wrong `masterauth` or a firewall: it keeps its data.
    async fn fail_over_without_replication(&self) {
        self.two.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
        self.one.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
        self.address.redirect(self.two.address().unwrap());
    }
}

async fn follow(replica: &Redis, primary: &Redis) {
    let port = primary.address().unwrap().port().to_string();
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap().text(), "OK");
}

/// A lease of ten seconds stays held, with and without `wait_replicas`.
#[tokio::test(flavor = "multi_thread")]
async fn s06_a_fail_over_with_open_connections_costs_no_lease() {
    for options in [options(), options().with_wait_replicas(1, WAIT)] {
        let servers = Pair::start().await;
        let client = LeaseClient::new(options.connect(&servers.url()).await.unwrap());
        let lease = client.acquire("job", LeaseOptions::new(Duration::from_secs(10))).await.unwrap();
        servers.fail_over().await;
        let until_lost = async {
            while lease.is_held() {
                pass(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = until_lost => panic!("the lease was lost, with {options:?}"),
            () = pass(Duration::from_secs(12)) => {}
        }
        let other = client.acquire("other", LeaseOptions::new(TTL)).await.unwrap();
        let record = servers.two.command(&["GET", &format!("{}job", options.key_prefix)]).await.unwrap().text();
        assert_eq!(crate::common::field_of(&record, "token"), lease.token().to_string());
        other.release().await.unwrap();
        lease.release().await.unwrap();
    }
}

/// The script has granted the lease, but the server rejects the `WAIT` for replicas.
#[tokio::test(flavor = "multi_thread")]
async fn s13_a_grant_that_no_replica_can_confirm_is_given_back() {
    let servers = Pair::start().await;
    let options = options().with_wait_replicas(1, Duration::from_secs(2));
    let url = servers.one.url().replace("redis://", "redis://app:right@");
    let permit = async |wait: &str| {
        let arguments = ["ACL", "SETUSER", "app", "on", ">right", "~*", "&*", "+@all", wait];
        servers.one.command(&arguments).await.unwrap();
    };
    permit("+wait").await;
    let store = options.connect(&url).await.unwrap();
    let held = request("held", "a");
    let grant = granted(&store, &held).await;
    permit("-wait").await;
    let error = acquire(&store, &request("job", "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("released again") && error.to_string().contains("wait"), "{error}");
    assert_eq!(store.inspect(&name("job")).await.unwrap(), None, "the name must be free");
    let error = renew(&store, &renewal(&claim(&held, grant), TTL)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    // A new store reports the missing permission when it connects.
    let error = options.connect(&url).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("wait"), "{error}");
}

/// The old primary is a replica with old data, and an observer that never writes is connected to it.
#[tokio::test(flavor = "multi_thread")]
async fn s19_a_read_does_not_report_a_name_as_free_from_a_replica() {
    let servers = Pair::start().await;
    let options = options();
    let (store, observer) =
        (options.connect(&servers.url()).await.unwrap(), options.connect(&servers.url()).await.unwrap());
    let lister = options.connect(&servers.url()).await.unwrap();
    assert_eq!(observer.inspect(&name("job")).await.unwrap(), None);
    servers.fail_over_without_replication().await;
    // The old primary, a replica without replication, does not have this lease.
    let held = request("job", "a");
    let grant = granted(&store, &held).await;
    let record = observer.inspect(&name("job")).await.unwrap();
    assert_eq!(record.map(|record| record.token), Some(grant.token), "the observer reads from the new primary");
    assert_eq!(lister.list("", None, 10).await.unwrap().len(), 1);
}

/// The address leads to a replica that lags, for a while: every answer is a transient error.
#[tokio::test(flavor = "multi_thread")]
async fn s06_a_replica_that_lags_causes_no_loss() {
    let servers = Pair::start().await;
    let options = options();
    let store = options.connect(&servers.url()).await.unwrap();
    servers.two.command(&["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let held = request("job", "a");
    let grant = granted(&store, &held).await;
    let claim = claim(&held, grant);
    servers.address.redirect(servers.two.address().unwrap());
    servers.address.reset_connections();
    for round in 0..3 {
        let errors = [
            renew(&store, &renewal(&claim, TTL)).await.map(|answer| format!("{answer:?}")),
            store
                .release(&[crate::common::plain_release(&claim)])
                .await
                .pop()
                .unwrap()
                .map(|answer| format!("{answer:?}")),
            store.inspect(&name("job")).await.map(|answer| format!("{answer:?}")),
            store.list("", None, 10).await.map(|answer| format!("{answer:?}")),
            store.break_lease(&name("job"), grant.token, Break::Now).await.map(|answer| format!("{answer:?}")),
            acquire(&store, &request("job", "b")).await.map(|answer| format!("{answer:?}")),
        ];
        for (at, outcome) in errors.into_iter().enumerate() {
            let error = outcome.unwrap_err();
            assert!(error.is_transient(), "{round} {at}: {error}");
        }
    }
    servers.address.redirect(servers.one.address().unwrap());
    servers.address.reset_connections();
    crate::common::eventually("the store uses the primary again", async || store.inspect(&name("job")).await.is_ok())
        .await;
    assert!(matches!(renew(&store, &renewal(&claim, TTL)).await.unwrap(), Renewed::Extended { .. }));
    assert_eq!(release(&store, &claim).await, Released::Freed);
}

/// Waiters get the hints of releases at the new primary, also where the old one does not receive its messages.
#[tokio::test(flavor = "multi_thread")]
async fn l1_hints_come_from_the_new_primary_after_a_fail_over() {
    let servers = Pair::start().await;
    let options = options();
    let client = async || LeaseClient::new(options.connect(&servers.url()).await.unwrap());
    let (holder, waiter) = (client().await, client().await);
    let hand_over = async || {
        let lease = holder.acquire("job", TTL).await.unwrap();
        let waiting = tokio::spawn({
            let waiter = waiter.clone();
            async move {
                let lease = waiter.acquire("job", TTL).await.unwrap();
                (SystemClock.now(), lease)
            }
        });
        pass(Duration::from_millis(150)).await;
        let released = SystemClock.now();
        lease.release().await.unwrap();
        let (won, lease) = waiting.await.unwrap();
        lease.release().await.unwrap();
        won.saturating_since(released)
    };
    let mut before = Vec::new();
    for _ in 0..5 {
        before.push(hand_over().await);
    }
    servers.fail_over_without_replication().await;
    let mut after = Vec::new();
    for _ in 0..7 {
        after.push(hand_over().await);
    }
    println!("before {before:?}, after {after:?}");
    // The first hand-over may overlap the fail-over. A poll takes more than half a second.
    after.remove(0);
    after.sort();
    // Where a hint took longer before the fail-over, it may do so after it.
    let usual = before.iter().max().map_or(Duration::ZERO, |longest| *longest * 2).max(Duration::from_millis(10));
    assert!(after[after.len() / 2] < usual, "{after:?}");
    assert!(*after.last().unwrap() < Duration::from_millis(300), "{after:?}");
    let channel = format!("{}job", options.key_prefix);
    let subscribers = async |server: &Redis| match server.command(&["PUBSUB", "NUMSUB", &channel]).await.unwrap() {
        Reply::Many(counts) => counts[1].clone(),
        other => panic!("unexpected answer: {other:?}"),
    };
    assert_eq!(subscribers(&servers.one).await, Reply::Integer(0));
}

/// The application has commands of its own in flight on its client.
#[tokio::test(flavor = "multi_thread")]
async fn an_applications_client_reconnects_only_if_the_server_stays_a_replica() {
    let server = Redis::start_local(&[]).await.unwrap();
    let client = Client::new(Config::from_url(server.url()).unwrap(), None, None, Some(ReconnectPolicy::default()));
    client.init().await.unwrap();
    let store = options().with_client(client.clone()).unwrap();
    let held = request("job", "a");
    granted(&store, &held).await;
    let id = async || {
        let command = CustomCommand::new_static("CLIENT", None, false);
        client.custom::<u64, _>(command, vec!["ID"]).await
    };
    let first = id().await.unwrap();
    let replica_of = async |host: &str, port: &str| {
        server.command(&["REPLICAOF", host, port]).await.unwrap();
    };
    // The server is a replica for a moment.
    replica_of("127.0.0.1", "1").await;
    let error = store.inspect(&name("job")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    replica_of("NO", "ONE").await;
    assert!(store.inspect(&name("job")).await.unwrap().is_some());
    pass(Duration::from_millis(1300)).await;
    assert_eq!(id().await.unwrap(), first, "the connection was replaced");
    // The server stays a replica: then its connection is of no use to the application either.
    replica_of("127.0.0.1", "1").await;
    assert!(store.inspect(&name("job")).await.is_err());
    crate::common::eventually("the client connects again", async || {
        let _ = store.inspect(&name("job")).await;
        id().await.is_ok_and(|id| id != first)
    })
    .await;
}

/// The store leaves the client at the replica for a moment, and reconnects it before the lease is in danger.
#[tokio::test(flavor = "multi_thread")]
async fn s06_a_fail_over_costs_no_lease_on_an_applications_client() {
    let servers = Pair::start().await;
    let config = Config::from_url(&servers.url()).unwrap();
    let applications_client = Client::new(config, None, None, Some(ReconnectPolicy::default()));
    applications_client.init().await.unwrap();
    let client = LeaseClient::new(options().with_client(applications_client).unwrap());
    let lease = client.acquire("job", LeaseOptions::new(Duration::from_secs(10))).await.unwrap();
    servers.fail_over().await;
    pass(Duration::from_secs(12)).await;
    assert!(lease.is_held());
    lease.release().await.unwrap();
}
