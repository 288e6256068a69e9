//! The fence in the application's own transaction.

use etcd_client::{Client, Txn, TxnOp};
use lease_core::{Break, FencingToken, GrantId, LeaseStore};
use lease_etcd::EtcdStore;

use crate::common::*;

/// Writes with the fence. Returns whether it was written.
async fn write(driver: &Client, store: &EtcdStore, token: FencingToken) -> bool {
    let key = format!("data-{}", GrantId::random());
    let write = Txn::new().when([store.fence(&name("job"), token)]).and_then([TxnOp::put(key.as_str(), "done", None)]);
    let succeeded = driver.kv_client().txn(write).await.unwrap().succeeded();
    let found = driver.kv_client().get(key, None).await.unwrap();
    assert_eq!(!found.kvs().is_empty(), succeeded);
    succeeded
}

#[tokio::test]
async fn a_fence_holds_while_the_grant_does() {
    let (store, driver) = (store().await, driver().await);
    let (claim, grant) = granted(&store, &request("job", SHORT)).await;
    assert!(write(&driver, &store, grant.token).await);
    extended(&store, &claim, SHORT).await;
    assert!(write(&driver, &store, grant.token).await, "a renewal changes no token");
    assert!(!write(&driver, &store, token(grant.token.get() - 1)).await);
    assert!(!write(&driver, &store, token(u64::MAX)).await);
}

#[tokio::test]
async fn a_fence_fails_after_every_end_of_the_grant() {
    let (store, mut driver) = (store().await, driver().await);
    for end in ["release", "break", "break after expiry", "expiry", "deleted"] {
        let ttl = if end == "expiry" { SHORT } else { LONG };
        let (claim, grant) = granted(&store, &request("job", ttl)).await;
        let job = name("job");
        match end {
            "release" => drop(release(&store, &claim).await),
            "break" => drop(store.break_lease(&job, grant.token, Break::Now).await.unwrap()),
            "break after expiry" => drop(store.break_lease(&job, grant.token, Break::AfterExpiry).await.unwrap()),
            "expiry" => eventually("it expires", async || is_free(&store, "job").await.then_some(())).await,
            _ => drop(driver.delete(store.key(&job), None).await.unwrap()),
        }
        assert!(!write(&driver, &store, grant.token).await, "{end}");
        // Frees the name for the next round, if it is blocked.
        store.break_lease(&job, grant.token, Break::Now).await.unwrap();
        let (next, successor) = granted(&store, &request("job", LONG)).await;
        assert!(!write(&driver, &store, grant.token).await, "{end}, then taken over");
        assert!(write(&driver, &store, successor.token).await);
        release(&store, &next).await;
    }
}
