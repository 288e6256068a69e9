//! Many contenders at once.

use std::sync::Arc;

use integration_tests::Consul;
use lease_core::LeaseStore;
use lease_testkit::{calls::name, race};

use crate::common::options;

/// Five names, twice, and twelve contenders for each, in three processes: one wins, and tokens rise over all names.
#[tokio::test(flavor = "multi_thread")]
async fn s14_of_many_contenders_in_several_processes_one_wins() {
    let (options, url) = (options(), Consul::shared().await.url());
    let mut stores: Vec<Arc<dyn LeaseStore>> = Vec::new();
    for _ in 0..3 {
        stores.push(Arc::new(options.connect(url).await.unwrap()));
    }
    let tokens = race(&stores, 12, (0..10).map(|round| name(&format!("job/{}", round % 5)))).await;
    assert!(tokens.is_sorted_by(|before, after| before < after), "{tokens:?}");
}
