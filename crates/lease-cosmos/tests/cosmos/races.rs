//! Many contenders at once.

use integration_tests::Cosmos;
use lease_core::{Acquired, FencingToken};
use lease_testkit::calls::{acquired, claim, release};

use crate::{
    common::{LONG, options, request},
    harness::{LEASES, database},
};

/// Ten names, twelve contenders for each, in three processes: one wins, and tokens rise from winner to winner.
#[tokio::test(flavor = "multi_thread")]
async fn s14_of_many_contenders_in_several_processes_one_wins() {
    let url = Cosmos::shared().await.url();
    let database = database(url, LEASES).await;
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(options().connect(url, &database, "leases").await.unwrap());
    }
    let mut last = [FencingToken::new(1).unwrap(); 5];
    for round in 0..10 {
        let job = format!("job/{}", round % 5);
        let racers: Vec<_> = (0..12)
            .map(|racer| {
                let (store, request) = (stores[racer % 3].clone(), request(&job, LONG));
                tokio::spawn(async move { (acquired(&store, &request).await, store, request) })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            match racer.await.unwrap() {
                (Acquired::Granted(grant), store, request) => winners.push((grant, store, request)),
                (Acquired::Held { .. }, ..) => {}
                (other, ..) => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        let (grant, store, request) = winners.pop().unwrap();
        assert!(grant.token > last[round % 5]);
        last[round % 5] = grant.token;
        release(&store, &claim(&request, grant)).await;
    }
}
