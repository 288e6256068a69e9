//! Whose clock judges expiry: nobody's, unless the agents' are trusted.

use std::time::Duration;

use integration_tests::{Consul, HttpProxy, pass};
use lease_consul::{ConsulStore, ConsulStoreOptions};
use lease_core::{Acquired, ExpiryJudge, LeaseStore};
use lease_testkit::calls::{acquired, extended, is_held};

use crate::common::{SHORT, granted, options, request};

const TTL: Duration = Duration::from_secs(30);

/// Returns a store at an agent with the right time, and one at an agent whose clock is a minute ahead.
async fn two_agents(options: &ConsulStoreOptions) -> (ConsulStore, ConsulStore, HttpProxy) {
    let consul = Consul::shared().await;
    let ahead = HttpProxy::start(consul.address().unwrap()).await.unwrap();
    ahead.shift_dates(60);
    (options.connect(consul.url()).await.unwrap(), options.connect(&ahead.url()).await.unwrap(), ahead)
}

/// An agent runs on the host of its application, and its clock may be a minute ahead. By default nobody believes it (S3).
#[tokio::test]
async fn s03_a_wrong_clock_of_an_agent_makes_no_second_holder() {
    let (right, wrong, _agent) = two_agents(&options()).await;
    assert_eq!(right.capabilities().expiry_judge, ExpiryJudge::Contenders);
    let (claim, _) = granted(&right, &request("job", TTL)).await;
    assert!(is_held(&wrong, &request("job", TTL)).await);
    extended(&right, &claim, TTL).await;
    // The other way round.
    let (claim, _) = granted(&wrong, &request("other", TTL)).await;
    assert!(is_held(&right, &request("other", TTL)).await);
    extended(&wrong, &claim, TTL).await;
}

/// The negative control: where the clocks are trusted and differ by more than twice the slack, the same contender is granted. This
/// is what the page of the option says.
#[tokio::test]
async fn trusted_clocks_that_are_wrong_make_two_holders() {
    let (right, wrong, _agent) = two_agents(&options().with_trusted_clocks(ConsulStoreOptions::CLOCK_SLACK)).await;
    let slack = Duration::from_secs(2);
    assert_eq!(right.capabilities().expiry_judge, ExpiryJudge::ServersWallClocks { slack });
    granted(&right, &request("job", TTL)).await;
    granted(&wrong, &request("job", TTL)).await;
    // Within twice the slack it is not.
    let (right, wrong, agent) = two_agents(&options().with_trusted_clocks(slack)).await;
    agent.shift_dates(4);
    granted(&right, &request("job", SHORT * 2)).await;
    pass(SHORT - Duration::from_millis(200)).await;
    assert!(is_held(&wrong, &request("job", TTL)).await);
}

/// A process that tries once has observed nothing, and is told for how long to. A trusted clock tells it that the lease is over.
#[tokio::test]
async fn s02_a_process_that_tries_once_takes_over_by_a_trusted_clock_only() {
    let slack = Duration::from_millis(100);
    for (options, is_over) in [(options(), false), (options().with_trusted_clocks(slack), true)] {
        let url = Consul::shared().await.url();
        granted(&options.connect(url).await.unwrap(), &request("job", SHORT)).await;
        pass(SHORT + slack * 4 + Duration::from_secs(3)).await;
        match acquired(&options.connect(url).await.unwrap(), &request("job", TTL)).await {
            Acquired::Granted(_) => assert!(is_over),
            Acquired::Held { retry_after: Some(retry_after), .. } => {
                assert!(!is_over && retry_after > SHORT && retry_after < SHORT.mul_f64(1.1), "{retry_after:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}
