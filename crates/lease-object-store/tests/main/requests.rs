//! How many requests each operation costs.

use lease_core::{Acquired, LeaseStore};
use lease_testkit::calls::{acquired, claim, extended, granted, name, release};

use crate::common::{Amazon, Azure, Google, LONG, Place, Service, request};

async fn each_operation_costs_as_few_requests_as_it_can<S: Service>() {
    let place = Place::<S>::new().await;
    // The first store makes the probe.
    let (store, connected) = place.counted(place.store()).await;
    assert_eq!(connected, 4, "the first connect");
    let (other, connected) = place.counted(place.store()).await;
    assert_eq!(connected, 3, "another connect");
    let (mine, theirs) = (request(&name("job"), "a", LONG), request(&name("job"), "b", LONG));
    let (grant, acquire) = place.counted(granted(&store, &mine)).await;
    let claim = claim(&mine, grant);
    let (_, renew) = place.counted(extended(&store, &claim, LONG)).await;
    let (tried, held) = place.counted(acquired(&other, &theirs)).await;
    assert!(matches!(tried, Acquired::Held { .. }));
    let (listed, list) = place.counted(other.list("", None, 10)).await;
    assert_eq!(listed.unwrap().len(), 1);
    let (_, released) = place.counted(release(&store, &claim)).await;
    assert_eq!((acquire, renew, held, list, released), (2, 1, 1, 2, 1), "{}", S::SCHEME);
}

#[tokio::test]
async fn each_operation_costs_as_few_requests_as_it_can_on_all_services() {
    each_operation_costs_as_few_requests_as_it_can::<Amazon>().await;
    each_operation_costs_as_few_requests_as_it_can::<Azure>().await;
    each_operation_costs_as_few_requests_as_it_can::<Google>().await;
}
