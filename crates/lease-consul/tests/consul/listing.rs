//! Lists and purges of many keys.

use std::time::Duration;

use integration_tests::{Consul, HttpProxy, StubAnswer, pass};
use lease_core::LeaseStore;
use lease_testkit::calls::{name, release};

use crate::common::{LONG, ask, granted, options, request, store};

/// 300 names are two pages, and more than the operations of four transactions.
#[tokio::test]
async fn a_list_is_whole_and_in_order_over_many_pages() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url()).await.unwrap();
    let requests: Vec<_> = (0..300).map(|number| request(&format!("job/{number:03}"), LONG)).collect();
    let granted = store.acquire(&requests).await;
    assert!(granted.iter().all(Result::is_ok), "{granted:?}");
    let names: Vec<_> = requests.iter().map(|request| request.name.clone()).collect();
    drop(proxy.take_requests());
    let listed: Vec<_> = store.list("job/", None, 1000).await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(listed, names);
    // For each page the keys, and its values by 64.
    assert_eq!(proxy.take_requests().len(), 1 + 4 + 1 + 1);
    let listed = store.list("job/1", Some(&name("job/150")), 3).await.unwrap();
    assert_eq!(listed.into_iter().map(|it| it.name).collect::<Vec<_>>(), names[151..154]);
    assert!(store.list("other/", None, 9).await.unwrap().is_empty());
}

/// A key that goes between the list of the keys and their values is left out.
#[tokio::test]
async fn a_key_that_vanishes_in_the_middle_of_a_list_is_left_out() {
    let consul = Consul::shared().await;
    let proxy = HttpProxy::start(consul.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url()).await.unwrap();
    for job in ["a", "b", "c"] {
        granted(&store, &request(job, LONG)).await;
    }
    let gone = store.key(&name("b"));
    let keys = format!(r#"["{}","{gone}","{}"]"#, store.key(&name("a")), store.key(&name("c")));
    assert!(ask(consul.url(), "", "GET", &format!("/v1/kv/{gone}?keys"), "").await.contains(&gone));
    let path = format!("/v1/kv/{gone}");
    ask(consul.url(), "", "DELETE", &path, "").await;
    // The list of a moment ago.
    proxy.answer(move |seen| {
        let is_list = seen.line.contains("keys");
        is_list.then(|| StubAnswer::new(200, keys.clone()).with_header("x-consul-index", "9"))
    });
    let listed: Vec<_> = store.list("", None, 9).await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(listed, [name("a"), name("c")]);
}

#[tokio::test]
async fn a_purge_deletes_what_it_has_observed_for_long_enough_and_tokens_rise() {
    let store = store().await;
    let (claim, first) = granted(&store, &request("job", LONG)).await;
    granted(&store, &request("held", LONG)).await;
    release(&store, &claim).await;
    let old = Duration::from_millis(300);
    assert_eq!(store.purge("", old).await.unwrap().deleted, 0, "it was not observed for long");
    pass(Duration::from_millis(500)).await;
    let purged = store.purge("", old).await.unwrap();
    assert_eq!((purged.deleted, purged.reduced), (1, 0));
    let url = Consul::shared().await.url();
    let key = format!("/v1/kv/{}", store.key(&name("job")));
    assert!(ask(url, "", "GET", &key, "").await.contains("404"));
    let (_, second) = granted(&store, &request("job", LONG)).await;
    assert!(second.token > first.token);
    assert_eq!(store.list("", None, 9).await.unwrap().len(), 2);
}
