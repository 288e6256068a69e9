//! The server's clock jumps: what no client can prevent, and what holds all the same.

use std::time::Duration;

use integration_tests::pass;
use lease_core::{Acquired, ExpiryJudge, LossReason};
use lease_testkit::calls::{acquired, claim, extended, granted, lost, name, refused, release};

use crate::common::{Amazon, LONG, Place, request};

const MICROS_OF_AN_HOUR: i64 = 3_600_000_000;

/// A jump forwards ends leases early for those who have not seen the clock before. Tokens order the two holders, and the old one
/// learns it at its next renewal.
#[tokio::test]
async fn a_jump_forwards_moves_the_expiry_and_tokens_order_the_holders() {
    let place = Place::<Amazon>::new().await;
    let (old, witness) = (place.store().await, place.store().await);
    let mine = request(&name("job"), "a", LONG);
    let grant = granted(&old, &mine).await;
    let theirs = request(&name("job"), "b", LONG);
    refused(&witness, &theirs).await;
    place.server.shift_clock(MICROS_OF_AN_HOUR).await.unwrap();
    // Who has seen the clock before does not believe the new reading alone.
    refused(&witness, &theirs).await;
    let new = place.store().await;
    let taken = granted(&new, &theirs).await;
    assert!(taken.token > grant.token);
    assert!(matches!(lost(&old, &claim(&mine, grant), LONG).await, LossReason::TakenOver { .. }));
}

/// A jump backwards ends no lease early, and tokens still rise: the record has the last one.
#[tokio::test]
async fn a_jump_backwards_ends_nothing_early_and_tokens_rise() {
    let place = Place::<Amazon>::new().await;
    let old = place.store().await;
    let mine = request(&name("job"), "a", LONG);
    let grant = granted(&old, &mine).await;
    place.server.shift_clock(-MICROS_OF_AN_HOUR).await.unwrap();
    let new = place.store().await;
    let theirs = request(&name("job"), "b", LONG);
    refused(&new, &theirs).await;
    let claim = claim(&mine, grant);
    extended(&old, &claim, LONG).await;
    refused(&new, &theirs).await;
    release(&old, &claim).await;
    assert!(granted(&new, &theirs).await.token > grant.token);
}

/// S2: contenders believe no clock, whatever it shows.
#[tokio::test]
async fn contenders_believe_no_clock() {
    let place = Place::<Amazon>::new().await;
    let options = place.options().with_expiry_judge(ExpiryJudge::Contenders);
    let (old, new) = (
        options.connect(&Place::<Amazon>::url()).await.unwrap(),
        options.connect(&Place::<Amazon>::url()).await.unwrap(),
    );
    let ttl = Duration::from_secs(2);
    let (mine, theirs) = (request(&name("job"), "a", ttl), request(&name("job"), "b", ttl));
    let grant = granted(&old, &mine).await;
    for shift in [MICROS_OF_AN_HOUR, -MICROS_OF_AN_HOUR] {
        place.server.shift_clock(shift).await.unwrap();
        refused(&new, &theirs).await;
    }
    let Acquired::Held { retry_after, .. } = acquired(&new, &theirs).await else { panic!("it is held") };
    pass(retry_after.unwrap()).await;
    assert!(granted(&new, &theirs).await.token > grant.token);
}
