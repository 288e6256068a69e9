//! Many who want the same names.

use std::collections::BTreeMap;

use lease_core::{Acquired, LeaseStore};
use lease_testkit::calls::{acquired, claim, name, release};

use super::{LONG, Place, Service, request};

/// How often each racer tries.
const ROUNDS: usize = 2;

/// Lets `racers` of each of `processes` race for each name, twice: for a new name, and for one that was released. Of each race one
/// wins, and the token of the second race is greater.
pub async fn race<S: Service>(names: usize, racers: usize, processes: usize) {
    let place = Place::<S>::new().await;
    let mut stores = Vec::new();
    for _ in 0..processes {
        stores.push(place.store().await);
    }
    let mut tokens = BTreeMap::new();
    for round in 0..ROUNDS {
        for number in 0..names {
            let job = name(&format!("job/{number}"));
            let tasks: Vec<_> = (0..racers * processes)
                .map(|racer| {
                    let (store, request) = (stores[racer % processes].clone(), request(&job, &racer.to_string(), LONG));
                    tokio::spawn(async move {
                        match acquired(&store, &request).await {
                            Acquired::Granted(grant) => Some((racer, request, grant)),
                            Acquired::Held { .. } => None,
                            other => panic!("{other:?}"),
                        }
                    })
                })
                .collect();
            let mut winners = Vec::new();
            for task in tasks {
                winners.extend(task.await.unwrap());
            }
            let [(racer, request, grant)] = &winners[..] else { panic!("round {round} of {job}: {winners:?}") };
            let before = tokens.insert(job, grant.token);
            assert!(before.is_none_or(|before| before < grant.token), "{before:?}, then {:?}", grant.token);
            release(&stores[racer % processes], &claim(request, *grant)).await;
        }
    }
}
