//! A datacenter that begins anew under a holder, and whose new keys have the very indexes that the holder remembers.

use std::time::Duration;

use integration_tests::{Consul, Proxy, pass};
use lease_consul::ConsulStore;
use lease_core::{Claim, LossReason, Released};
use lease_testkit::calls::{extended, lost, name, release};

use crate::common::{ask, granted, options, request};

const TTL: Duration = Duration::from_secs(9);

/// A holder of a grant in a datacenter that is gone now, and a rival with a grant of the same name in the new one. The keys of both
/// have the same index.
struct Coincidence {
    holder: (ConsulStore, Claim),
    rival: (ConsulStore, Claim),
    _servers: [Consul; 2],
    _network: Proxy,
}

impl Coincidence {
    async fn make() -> Self {
        let (old, new) = (Consul::start_local(&[]).await.unwrap(), Consul::start_local(&[]).await.unwrap());
        let network = Proxy::start(old.address().unwrap()).await.unwrap();
        let options = options();
        let holder = options.connect(&format!("http://{}", network.address())).await.unwrap();
        let rival = options.connect(new.url()).await.unwrap();
        let (held, _) = granted(&holder, &request("job", TTL)).await;
        let (taken, _) = granted(&rival, &request("job", TTL)).await;
        let key = format!("/v1/kv/{}?consistent", holder.key(&name("job")));
        let index = async |url: &str| {
            let answer = ask(url, "", "GET", &key, "").await;
            let index = answer.split("\"ModifyIndex\":").nth(1).unwrap().split('}').next().unwrap();
            index.parse::<u64>().unwrap()
        };
        loop {
            let (own, other) = (index(old.url()).await, index(new.url()).await);
            match own.cmp(&other) {
                std::cmp::Ordering::Equal => break,
                std::cmp::Ordering::Less => extended(&holder, &held, TTL).await,
                std::cmp::Ordering::Greater => extended(&rival, &taken, TTL).await,
            };
        }
        network.redirect(new.address().unwrap());
        network.reset_connections();
        // The store notices the end of its idle connections.
        pass(TTL / 50).await;
        Self { holder: (holder, held), rival: (rival, taken), _servers: [old, new], _network: network }
    }
}

/// The bound of what goes wrong: the rival is displaced, and finds out at its next renewal. The page declares it
/// (`displaces_after_data_loss`).
#[tokio::test]
async fn a_renewal_by_the_same_index_displaces_a_rival_until_its_next_renewal() {
    let Coincidence { holder, rival, .. } = &Coincidence::make().await;
    extended(&holder.0, &holder.1, TTL).await;
    let reason = lost(&rival.0, &rival.1, TTL).await;
    assert!(matches!(reason, LossReason::TakenOver { .. }), "{reason}");
    extended(&holder.0, &holder.1, TTL).await;
}

#[tokio::test]
async fn a_rival_that_has_renewed_since_keeps_the_lease() {
    let Coincidence { holder, rival, .. } = &Coincidence::make().await;
    extended(&rival.0, &rival.1, TTL).await;
    let reason = lost(&holder.0, &holder.1, TTL).await;
    assert!(matches!(reason, LossReason::TakenOver { .. }), "{reason}");
    extended(&rival.0, &rival.1, TTL).await;
}

/// A release does not free the rival: what the holder remembers is older than a renewal interval, so it reads first.
#[tokio::test]
async fn a_release_by_the_same_index_frees_no_rival() {
    let Coincidence { holder, rival, .. } = &Coincidence::make().await;
    pass(TTL / 3).await;
    assert_eq!(release(&holder.0, &holder.1).await, Released::NotHeld);
    extended(&rival.0, &rival.1, TTL).await;
}
