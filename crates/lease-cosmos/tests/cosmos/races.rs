//! Many contenders at once.

use std::sync::Arc;

use integration_tests::Cosmos;
use lease_core::{FencingToken, LeaseStore};
use lease_testkit::{calls::name, race};

use crate::{
    common::options,
    harness::{LEASES, database},
};

/// Five names, twice, and twelve contenders for each, in three processes: one wins, and tokens rise from winner to winner.
#[tokio::test(flavor = "multi_thread")]
async fn s14_of_many_contenders_in_several_processes_one_wins() {
    let url = Cosmos::shared().await.url();
    let database = database(url, LEASES).await;
    let mut stores: Vec<Arc<dyn LeaseStore>> = Vec::new();
    for _ in 0..3 {
        stores.push(Arc::new(options().connect(url, &database, "leases").await.unwrap()));
    }
    let tokens = race(&stores, 12, (0..10).map(|round| name(&format!("job/{}", round % 5)))).await;
    assert!(tokens.iter().all(|token| *token > FencingToken::new(1).unwrap()), "{tokens:?}");
}
