//! The other judges of expiry, and many names at once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test may sleep")]

#[path = "kubernetes/common.rs"]
mod common;

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use common::{ADMIN, Admin, config, options};
use futures::{FutureExt, future::join_all};
use integration_tests::{KubeApiserver, KubernetesKind, Provider};
use lease_core::{ExpiryJudge, LeaseClient, LeaseEvent, LeaseName, LeaseStore, Observer};
use lease_kubernetes::{KubernetesStore, KubernetesStoreOptions};
use lease_testkit::{calls::name, race};

/// A number from the environment.
fn number(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// The options of a user who sets nothing.
struct Defaults(KubernetesStoreOptions);

/// Contenders that believe no clock.
struct Watching(KubernetesStoreOptions);

macro_rules! provider {
    ($provider:ident, $judge:expr, $ttl:expr, $tolerance:expr) => {
        #[async_trait]
        impl Provider for $provider {
            type Kind = KubernetesKind;

            const TTL: Duration = Duration::from_secs($ttl);
            const TOLERANCE: Duration = Duration::from_secs($tolerance);

            async fn prepare(server: &KubeApiserver) -> Self {
                let namespace = Admin::of(server).await.new_namespace().await;
                Self(options(&namespace).with_expiry_judge($judge))
            }

            async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
                Arc::new(self.0.connect_with(config(url, ADMIN).await).await.unwrap())
            }

            async fn remove_record(&self, server: &KubeApiserver, name: &LeaseName) {
                let admin = Admin::of(server).await;
                let object = admin.store(&self.0).await.object_name(name);
                admin.delete(self.0.namespace.as_deref().unwrap(), &object).await;
            }
        }
    };
}

// What is left begins to fall after four times the slack, and an expiry is seen as much later.
provider!(Defaults, KubernetesStoreOptions::new().expiry_judge, 12, 13);
provider!(Watching, ExpiryJudge::Contenders, 4, 5);

mod default_slack {
    lease_testkit::conformance!(real, integration_tests::ServerHarness::<crate::Defaults>::start);

    mod elections {
        lease_testkit::elections!(real, integration_tests::ServerHarness::<crate::Defaults>::start);
    }
}

mod contenders {
    lease_testkit::conformance!(real, integration_tests::ServerHarness::<crate::Watching>::start);

    mod elections {
        lease_testkit::elections!(real, integration_tests::ServerHarness::<crate::Watching>::start);
    }
}

async fn stores(count: usize) -> Vec<KubernetesStore> {
    let server = KubeApiserver::shared().await;
    let options = options(&Admin::of(server).await.new_namespace().await);
    join_all((0..count).map(async |_| options.connect_with(config(server.url(), ADMIN).await).await.unwrap())).await
}

/// Stores without anything in common race for names, again and again: one winner each time, and tokens rise. `LEASE_TEST_NAMES`,
/// `LEASE_TEST_TASKS` and `LEASE_TEST_PROCESSES` make it larger.
#[tokio::test(flavor = "multi_thread")]
async fn s09_races_have_one_winner_and_tokens_rise() {
    let (names, tasks) = (number("LEASE_TEST_NAMES", 10), number("LEASE_TEST_TASKS", 12));
    let stores = stores(number("LEASE_TEST_PROCESSES", 3)).await;
    let stores: Vec<Arc<dyn LeaseStore>> = stores.into_iter().map(|store| Arc::new(store) as _).collect();
    let names = (0..2).flat_map(|_| (0..names).map(|number| name(&format!("job/{number}"))));
    race(&stores, tasks * stores.len(), names).await;
}

/// Prints the renewals that fail.
#[derive(Debug, Default)]
struct Failures(std::sync::Mutex<usize>);

impl Observer for Failures {
    fn observe(&self, event: &LeaseEvent) {
        if let LeaseEvent::RenewalFailed { name, error, took, is_overdue, .. } = event {
            let mut failures = self.0.lock().unwrap();
            *failures += 1;
            if *failures <= 20 {
                println!("{name}: {error} after {took:?}, overdue: {is_overdue}");
            }
        }
    }
}

/// One process holds many leases. `LEASE_TEST_HELD` and `LEASE_TEST_SECONDS` make it more, and longer.
#[tokio::test(flavor = "multi_thread")]
async fn many_held_leases_are_kept() {
    let (count, seconds) = (number("LEASE_TEST_HELD", 200), number("LEASE_TEST_SECONDS", 40));
    let client = LeaseClient::builder(stores(1).await.remove(0)).observer(Failures::default()).build();
    let began = Instant::now();
    let mut leases = Vec::new();
    for first in (0..count).step_by(50) {
        let names = (first..count.min(first + 50)).map(|number| format!("job/{number}"));
        let some =
            join_all(names.map(async |job| client.acquire(job.as_str(), Duration::from_secs(30)).await.unwrap())).await;
        leases.extend(some);
    }
    println!("{count} leases after {:?}", began.elapsed());
    for second in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lost: Vec<_> =
            leases.iter().filter_map(|lease| Some((lease.name(), lease.lost().now_or_never()?))).collect();
        assert!(lost.is_empty(), "{} of {count} lost after {second} s: {:?}", lost.len(), &lost[..lost.len().min(3)]);
    }
    client.close().await.unwrap();
}
