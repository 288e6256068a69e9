//! A server that keeps its connections open and does not answer.

use std::time::Duration;

use etcd_client::Client;
use integration_tests::{Etcd, fails_within};
use lease_core::{AcquireRequest, Break, Error, GrantId, LeaseStore, Result};
use lease_testkit::calls;

use crate::common::{LONG, claim, name, options, plain_release, renewal};

const REQUEST: Duration = Duration::from_secs(1);

/// The time limits of connection, login and request together, and some more for a busy machine.
const LIMIT: Duration = Duration::from_secs(6);

fn request(name_text: &str) -> AcquireRequest {
    AcquireRequest::new(name(name_text), calls::holder("a"), GrantId::random(), LONG)
}

/// Every call of the store ends, on the store's own connections and on the application's client.
#[tokio::test]
async fn s24_every_call_of_the_store_ends() {
    for is_own in [true, false] {
        let server = Etcd::start_local(&[]).await.unwrap();
        let options = options().with_request_timeout(REQUEST).with_connect_timeout(REQUEST);
        let store = if is_own {
            options.connect([server.url()]).await.unwrap()
        } else {
            options.with_client(Client::connect([server.url()], None).await.unwrap()).await.unwrap()
        };
        let requests: Vec<_> = (0..3).map(|at| request(&format!("job-{at}"))).collect();
        let held = &requests[0];
        let grant = calls::granted(&store, held).await;
        let claim = claim(held, grant);
        server.freeze().await.unwrap();

        let renewals: Vec<_> = (0..3).map(|_| renewal(&claim, LONG)).collect();
        let releases: Vec<_> = (0..3).map(|_| plain_release(&claim)).collect();
        tokio::join!(
            ends("acquire", async { first(store.acquire(&requests[..1]).await) }),
            ends("acquire", async { first(store.acquire(&requests).await) }),
            ends("renew", async { first(store.renew(&renewals[..1]).await) }),
            ends("renew", async { first(store.renew(&renewals).await) }),
            ends("release", async { first(store.release(&releases[..1]).await) }),
            ends("release", async { first(store.release(&releases).await) }),
            ends("inspect", async { store.inspect(&held.name).await.err() }),
            ends("list", async { store.list("", None, 10).await.err() }),
            ends("break", async { store.break_lease(&held.name, grant.token, Break::Now).await.err() }),
            ends("connect", async { options.connect([server.url()]).await.err() }),
        );
        // Also one after the other, when the connection is known to be silent.
        ends("inspect", async { store.inspect(&held.name).await.err() }).await;
        ends("acquire", async { first(store.acquire(&requests).await) }).await;
        server.thaw().await.unwrap();
        integration_tests::eventually("it serves again", async || store.inspect(&held.name).await.is_ok()).await;
    }
}

/// Returns the error of the first answer.
fn first<T>(answers: Vec<Result<T>>) -> Option<Error> {
    answers.into_iter().next().unwrap().err()
}

async fn ends(what: &str, call: impl Future<Output = Option<Error>>) {
    fails_within(what, LIMIT, call).await;
}
