//! Options and changes of a held lease.

use std::time::Duration;

use lease_core::{ErrorKind, LeaseOptions, LossReason, Metadata, Renewal};

use crate::{
    Fault, Operation, RecordingStore,
    bench::Bench,
    calls::{held, name},
};

fn by_hand(ttl: Duration) -> LeaseOptions {
    LeaseOptions::new(ttl).with_renewal(Renewal::Manual)
}

/// A lease ends at its maximum tenure, although its holder renews it.
pub async fn max_tenure_ends_a_lease(bench: &Bench) {
    let client = bench.client().await;
    let began = bench.now();
    let lease = held(&client, &name("job"), LeaseOptions::new(bench.ttl).with_max_tenure(bench.ttl * 2)).await;
    let reason = bench.expect_within("the end of the tenure", bench.ttl * 2 + bench.tolerance(), lease.lost()).await;
    assert_eq!(reason, LossReason::TenureEnded);
    let lasted = bench.now().saturating_since(began);
    assert!(lasted >= bench.ttl.mul_f64(1.5), "it was renewed for only {lasted:?}");
    drop(lease);
    bench.acquire_within(&bench.client().await, &name("job"), bench.ttl * 2 + bench.tolerance()).await.abandon();
}

/// A lease with manual renewal lives as long as it is renewed.
pub async fn a_lease_renewed_by_hand_lives_as_long_as_that(bench: &Bench) {
    let store = RecordingStore::new(bench.store().await);
    let ttl = bench.ttl * 2;
    let lease = held(&bench.client_of(store.clone()), &name("job"), by_hand(ttl)).await;
    for _ in 0..5 {
        bench.sleep(ttl / 3).await;
        lease.renew().await.expect("renewed");
    }
    assert_eq!(store.count(Operation::Renew), 5);
    bench.expect_within("the expiry", ttl + bench.tolerance(), lease.lost()).await;
    assert_eq!(store.count(Operation::Renew), 5);
    assert!(lease.renew().await.is_err_and(|error| error.kind() == ErrorKind::Lost));
}

/// Other clients read changed metadata. A change that failed is sent again with the next renewal.
pub async fn metadata_can_be_changed(bench: &Bench) {
    let (chaos, other) = (bench.chaos_store().await, bench.client().await);
    let client = bench.client_of(chaos.clone());
    let metadata = |value: &str| Metadata::new([("is", value)]).expect("valid metadata");
    let ttl = bench.ttl * 2;
    let lease = held(&client, &name("job"), LeaseOptions::new(ttl).with_metadata(metadata("first"))).await;
    let read = async || other.inspect("job").await.expect("inspect answers").expect("held").metadata;
    assert_eq!(read().await, metadata("first"));
    lease.set_metadata(metadata("second")).await.expect("changed");
    assert_eq!(read().await, metadata("second"));
    chaos.inject(Fault::LoseRequest.on(Operation::Renew).once());
    assert!(lease.set_metadata(metadata("third")).await.is_err_and(|error| error.is_transient()));
    bench
        .poll("the next renewal sends the change", ttl, async || (read().await == metadata("third")).then_some(()))
        .await;
    assert!(lease.is_held());
}
