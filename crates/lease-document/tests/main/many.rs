//! Many leases on a slow store.

use std::{sync::Arc, time::Duration};

use lease_core::{LeaseClient, LeaseHandle, TokioClock};

use crate::common::{Bed, Variant, store};

const TTL: Duration = Duration::from_secs(30);
const MANY: usize = 600;

/// Each document is a request of its own. A call that renewed hundreds of leases would take longer than an attempt may, and those
/// that were renewed by then would not be told apart from the others.
#[tokio::test(start_paused = true)]
async fn l07_many_leases_are_kept_though_each_request_takes_three_seconds() {
    let bed = Bed::new(TokioClock::new());
    let client =
        LeaseClient::builder(store(&bed, &Variant { latency: Duration::from_millis(5), ..Variant::default() }))
            .clock(Arc::clone(&bed.clock))
            .build();
    let mut leases = Vec::new();
    for number in 0..MANY {
        leases.push(client.acquire(format!("job-{number}"), TTL).await.unwrap());
    }
    bed.state().answer_delay = Duration::from_secs(3);
    for _ in 0..10 {
        bed.sleep(TTL / 2).await;
        let lost: Vec<_> =
            leases.iter().map(lease_core::Lease::handle).filter(|handle: &LeaseHandle| !handle.is_held()).collect();
        assert!(lost.is_empty(), "{} of {MANY}: {:?}", lost.len(), lost[0]);
    }
}
