//! Many who want the same names.

use std::sync::Arc;

use lease_core::LeaseStore;
use lease_testkit::calls::name;

use super::{Place, Service};

/// How often each racer tries.
const ROUNDS: usize = 2;

/// Lets `racers` of each of `processes` race for each name, twice: for a new name, and for one that was released. Of each race one
/// wins, and the token of the second race is greater.
pub async fn race<S: Service>(names: usize, racers: usize, processes: usize) {
    let place = Place::<S>::new().await;
    let mut stores: Vec<Arc<dyn LeaseStore>> = Vec::new();
    for _ in 0..processes {
        stores.push(Arc::new(place.store().await));
    }
    let names = (0..ROUNDS).flat_map(|_| (0..names).map(|number| name(&format!("job/{number}"))));
    lease_testkit::race(&stores, racers * processes, names).await;
}
