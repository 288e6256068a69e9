//! Measures the cost of a renewal in two schemes: moving keys to buckets, as this crate does, and one etcd lease with
//! keep-alive per grant. Compare the requests and raft writes per round, and the time after the loss of the leader.
//!
//! Run it with `cargo run -p lease-etcd --example buckets_or_keep_alive`. With `-- leader-change` it only measures the change
//! of the leader.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use etcd_client::{Client, Compare, CompareOp, LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn, TxnOp};
use futures::{StreamExt, stream};
use integration_tests::{Cluster, Etcd, EtcdCluster};
use lease_core::{
    AcquireRequest, Acquired, Claim, Clock, GrantId, HolderId, LeaseName, LeaseStore, Moment, RenewRequest, Renewed,
    SystemClock,
};
use lease_etcd::{EtcdStore, EtcdStoreOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const TTL: Duration = Duration::from_secs(10);
const ROUNDS: u32 = 3;
/// The largest batch that the core sends in one call.
const BATCH: usize = 256;

#[tokio::main(worker_threads = 2)]
async fn main() {
    if std::env::args().any(|argument| argument == "leader-change") {
        return leader_change().await;
    }
    let etcd = Etcd::start_local(&[]).await.unwrap();
    let address = etcd.address().unwrap();
    println!("{ROUNDS} rounds of renewing every grant, a quarter of a ttl of {TTL:?} apart; means of a round");
    println!(
        "{:>26} {:>7} {:>12} {:>12} {:>10} {:>12}",
        "", "grants", "acquire all", "renew all", "requests", "raft writes"
    );
    for grants in [1, 100, 1000, 2000] {
        let store = EtcdStoreOptions::new().with_key_prefix(format!("b{grants}/")).connect([etcd.url()]).await.unwrap();
        let began = now();
        let claims = acquire(&store, grants).await;
        let acquired = now().saturating_since(began);
        report("buckets", address, grants, acquired, async || renew(&store, &claims).await.unwrap()).await;

        // Waits until the last bucket has expired. Its end is a write as well, which the counts above include for earlier
        // buckets.
        pass(TTL + TTL / 4).await;
        let client = Client::connect([etcd.url()], None).await.unwrap();
        let began = now();
        let leases = grant_one_by_one(&client, grants).await;
        let acquired = now().saturating_since(began);
        let mut streams = open(&client, &leases).await.unwrap();
        let round = async || keep_alive(&mut streams).await.unwrap();
        report("a lease each, kept alive", address, grants, acquired, round).await;
        drop(streams);
        pass(TTL + TTL / 4).await;
    }
    drop(etcd);
    leader_change().await;
}

/// Measures how long nothing can be renewed after the leader is killed.
async fn leader_change() {
    let cluster = EtcdCluster::start().await;
    for scheme in ["buckets", "a lease each, kept alive"] {
        let leader = cluster.leader().await.unwrap();
        let mut urls = cluster.urls();
        urls.rotate_left(leader);
        let began;
        if scheme == "buckets" {
            let store = loop {
                let store = EtcdStoreOptions::new().connect(&urls).await.unwrap();
                if store.endpoint() == Some(urls[0].as_str()) {
                    break store;
                }
            };
            let claims = acquire(&store, 100).await;
            cluster.member(leader).kill().await.unwrap();
            began = now();
            loop {
                // The core gives up attempts as well.
                tokio::select! {
                    done = renew(&store, &claims) => if done.is_some() { break },
                    () = pass(Duration::from_secs(1)) => {}
                }
                pass(Duration::from_millis(20)).await;
            }
        } else {
            let client = Client::connect([&urls[1]], None).await.unwrap();
            let leases = grant_one_by_one(&client, 100).await;
            let mut streams = open(&client, &leases).await;
            cluster.member(leader).kill().await.unwrap();
            began = now();
            loop {
                // A stream may be open and silent: without an answer within a second it is opened again.
                let done = async { keep_alive(streams.as_mut()?).await };
                tokio::select! {
                    done = done => if done.is_some() { break },
                    () = pass(Duration::from_secs(1)) => {}
                }
                pass(Duration::from_millis(20)).await;
                streams = open(&client, &leases).await;
            }
        }
        println!(
            "{scheme}: {:?} from the death of the leader to a round of 100 renewals",
            now().saturating_since(began)
        );
        cluster.member(leader).start_again().await.unwrap();
    }
}

async fn report(scheme: &str, address: SocketAddr, grants: usize, acquired: Duration, mut round: impl AsyncFnMut()) {
    let before = counters(address).await;
    let mut spent = Duration::ZERO;
    for _ in 0..ROUNDS {
        pass(TTL / 4).await;
        let began = now();
        round().await;
        spent += now().saturating_since(began);
    }
    let after = counters(address).await;
    let per_round = |name: &str| (after[name] - before[name]) / f64::from(ROUNDS);
    println!(
        "{scheme:>26} {grants:>7} {acquired:>12.1?} {:>12.1?} {:>10.1} {:>12.1}",
        spent / ROUNDS,
        per_round("requests"),
        per_round("raft writes"),
    );
}

async fn acquire(store: &EtcdStore, grants: usize) -> Vec<Claim> {
    let requests: Vec<_> = (0..grants).map(request).collect();
    let mut claims = Vec::new();
    for batch in requests.chunks(BATCH) {
        for (request, answer) in batch.iter().zip(store.acquire(batch).await) {
            let Ok(Acquired::Granted(grant)) = answer else { panic!("unexpected answer: {answer:?}") };
            let AcquireRequest { name, holder, grant: nonce, .. } = request.clone();
            claims.push(Claim::new(name, holder, nonce).with_handle(grant.handle));
        }
    }
    claims
}

fn request(number: usize) -> AcquireRequest {
    AcquireRequest::new(
        LeaseName::new(format!("job/{number}")).unwrap(),
        HolderId::new("holder").unwrap(),
        GrantId::random(),
        TTL,
    )
}

async fn renew(store: &EtcdStore, claims: &[Claim]) -> Option<()> {
    for batch in claims.chunks(BATCH) {
        let renewals: Vec<_> = batch.iter().map(|claim| RenewRequest::new(claim.clone(), TTL)).collect();
        let answers = store.renew(&renewals).await;
        if !answers.iter().all(|answer| matches!(answer, Ok(Renewed::Extended { .. }))) {
            return None;
        }
    }
    Some(())
}

/// Acquires in the usual way: an etcd lease, and then the key on it; 32 grants at a time.
async fn grant_one_by_one(client: &Client, grants: usize) -> Vec<i64> {
    let each = (0..grants).map(|number| {
        let client = client.clone();
        async move {
            let lease = client.lease_client().grant(TTL.as_secs().cast_signed(), None).await.unwrap().id();
            let key = format!("k{grants}/{number}-{lease}");
            let put = TxnOp::put(key.as_str(), "holder", Some(PutOptions::new().with_lease(lease)));
            let free = Compare::create_revision(key, CompareOp::Equal, 0);
            assert!(client.kv_client().txn(Txn::new().when([free]).and_then([put])).await.unwrap().succeeded());
            lease
        }
    });
    stream::iter(each).buffered(32).collect().await
}

/// Opens a keep-alive stream for each etcd lease, as the driver does.
async fn open(client: &Client, leases: &[i64]) -> Option<Vec<(LeaseKeeper, LeaseKeepAliveStream)>> {
    let each = leases.iter().map(|lease| {
        let (mut client, lease) = (client.lease_client(), *lease);
        async move { client.keep_alive(lease).await.ok() }
    });
    stream::iter(each).buffered(32).collect::<Vec<_>>().await.into_iter().collect()
}

/// Sends all keep-alives, and then receives all answers.
async fn keep_alive(streams: &mut [(LeaseKeeper, LeaseKeepAliveStream)]) -> Option<()> {
    for (keeper, _) in &mut *streams {
        keeper.keep_alive().await.ok()?;
    }
    for (_, answers) in streams {
        let answer = answers.message().await.ok()??;
        (answer.ttl() > 0).then_some(())?;
    }
    Some(())
}

/// Returns counters from the metrics of the server.
async fn counters(address: SocketAddr) -> BTreeMap<&'static str, f64> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let sum = |is_it: &dyn Fn(&str) -> bool| -> f64 {
        let lines = answer.lines().filter(|line| is_it(line));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    BTreeMap::from([
        ("requests", sum(&|line| line.starts_with("grpc_server_msg_received_total{"))),
        ("raft writes", sum(&|line| line.starts_with("etcd_server_proposals_applied_total "))),
    ])
}

fn now() -> Moment {
    SystemClock.now()
}

async fn pass(duration: Duration) {
    SystemClock.sleep_until(now() + duration).await;
}
