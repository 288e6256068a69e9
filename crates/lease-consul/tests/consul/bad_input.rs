//! Addresses, datacenters and values that cannot be, and servers that are no Consul.

use std::time::Duration;

use integration_tests::{Consul, Direction, HttpProxy, Proxy, StubAnswer, within};
use lease_consul::{ConsulStore, reqwest};
use lease_core::{Clock, ErrorKind, LeaseStore, SystemClock};
use lease_testkit::calls::{acquire, name, renew, renewal};

use crate::common::{LONG, ask, granted, options, request};

#[tokio::test]
async fn what_cannot_be_is_an_error_that_helps_and_tells_no_secret() {
    let url = Consul::shared().await.url().trim_end_matches('/').to_owned();
    let plain = options();
    let cases = [
        ("no address", plain.connect("").await, "http://host:8500"),
        ("another scheme", plain.connect("consul://hunter2").await, "http://"),
        ("a password", plain.connect("http://root:hunter2@localhost").await, "with_token"),
        ("a token in the address", plain.connect(&format!("{url}?token=hunter2")).await, "options"),
        ("certificates for http", plain.clone().with_ca_certificate("hunter2").connect(&url).await, "https://"),
        ("no certificate", plain.clone().with_ca_certificate("hunter2").connect("https://127.0.0.1:1").await, "PEM"),
        (
            "no key",
            plain.clone().with_client_certificate("hunter2", "hunter2").connect("https://127.0.0.1:1").await,
            "PEM",
        ),
        ("no prefix", plain.clone().with_key_prefix("").connect(&url).await, "app/leases/"),
        ("a prefix that is no path", plain.clone().with_key_prefix("a/../b/").connect(&url).await, "app/leases/"),
        ("no time", plain.clone().with_connect_timeout(Duration::ZERO).connect(&url).await, "greater than zero"),
        ("a token of two lines", plain.clone().with_token("hunter2\n").connect(&url).await, "characters"),
        ("no datacenter", plain.clone().with_datacenter("nowhere").connect(&url).await, "members -wan"),
        ("another path", plain.connect(&format!("{url}/ui")).await, "HTTP API"),
    ];
    for (case, outcome, advice) in cases {
        let error = outcome.expect_err(case);
        println!("{case}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{case}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{case}: {error}");
        assert!(error.to_string().contains(advice), "{case}: {error}");
    }
    let error = plain.clone().with_namespace("team").connect(&url).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("Enterprise"), "{error}");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_unavailable_soon() {
    let silent = Proxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    silent.black_hole(Direction::Both);
    for (url, limit) in [("http://127.0.0.1:1".to_owned(), 2), (format!("http://{}", silent.address()), 9)] {
        let began = SystemClock.now();
        let error = options().connect(&url).await.unwrap_err();
        println!("{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(SystemClock.now().saturating_since(began) < Duration::from_secs(limit));
    }
}

/// The name of a datacenter that the agent has is accepted.
#[tokio::test]
async fn the_datacenter_is_a_parameter_of_each_request() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    let store = options().with_datacenter("dc1").connect(&proxy.url()).await.unwrap();
    granted(&store, &request("job", LONG)).await;
    let requests = proxy.take_requests();
    assert!(requests.len() >= 4 && requests.iter().all(|seen| seen.line.contains("dc=dc1")), "{requests:?}");
}

/// A namespace and a partition are in the query and in each operation: Consul Enterprise takes those of a transaction from there.
#[tokio::test]
async fn the_namespace_and_the_partition_are_in_each_request() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    proxy.answer(|seen| {
        let (_, query) = seen.line.split_once('?').unwrap();
        assert!(query.contains("ns=team&partition=paris"), "{query}");
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        assert!(body.is_empty() || body.contains(r#""Namespace":"team","Partition":"paris""#), "{body}");
        Some(StubAnswer::new(403, "Permission denied"))
    });
    let options = options().with_namespace("team").with_partition("paris");
    assert_eq!(options.connect(&proxy.url()).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(proxy.take_requests().len(), 1);
}

/// What is at the address does not speak Consul: nothing that it says is believed, and a name is not free because of a 404 (S19).
#[tokio::test]
async fn a_server_that_is_no_consul_grants_nothing() {
    let consul = Consul::shared().await;
    let proxy = HttpProxy::start(consul.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url()).await.unwrap();
    let (claim, _) = granted(&store, &request("held", LONG)).await;
    let answers = [
        (404, "Not Found", ErrorKind::Invalid, ErrorKind::Invalid),
        (200, "<html>", ErrorKind::Invalid, ErrorKind::Indeterminate),
        (301, "", ErrorKind::Invalid, ErrorKind::Invalid),
        (502, "Bad Gateway", ErrorKind::Unavailable, ErrorKind::Indeterminate),
        (500, "No cluster leader", ErrorKind::Unavailable, ErrorKind::Unavailable),
        (500, "No path to datacenter", ErrorKind::Unavailable, ErrorKind::Unavailable),
        (429, "Your IP is issuing too many requests", ErrorKind::Unavailable, ErrorKind::Unavailable),
        (413, "Request body too large", ErrorKind::Invalid, ErrorKind::Invalid),
    ];
    for (status, body, read, write) in answers {
        proxy.answer(move |_| Some(StubAnswer::new(status, body)));
        let error = acquire(&store, &request("job", LONG)).await.unwrap_err();
        assert_eq!(error.kind(), read, "{error}");
        assert_eq!(store.inspect(&name("job")).await.unwrap_err().kind(), read, "{status}");
        assert_eq!(store.list("", None, 9).await.unwrap_err().kind(), read, "{status}");
        // The write alone: it may have been done, and nothing else answers either.
        proxy.answer(move |seen| seen.line.starts_with("PUT").then(|| StubAnswer::new(status, body)));
        let error = renew(&store, &renewal(&claim, LONG)).await;
        proxy.answer_nothing();
        match (write, error) {
            // What it wrote is not there: the renewal is sent again, and has no answer again.
            (ErrorKind::Indeterminate, Err(error)) => assert!(error.is_transient(), "{error}"),
            (write, error) => assert_eq!(error.unwrap_err().kind(), write, "{status}"),
        }
        lease_testkit::calls::extended(&store, &claim, LONG).await;
    }
}

/// An answer to another key is that of another request (S25).
#[tokio::test]
async fn an_answer_about_another_key_is_not_believed() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    let store = options().connect(&proxy.url()).await.unwrap();
    let (claim, _) = granted(&store, &request("other", LONG)).await;
    let key = store.key(&name("job"));
    let swapped = format!(
        r#"{{"Results":[{{"KV":{{"LockIndex":0,"Key":"{key}","Flags":0,"Value":null,"CreateIndex":9,"ModifyIndex":9}}}}],"Errors":null}}"#
    );
    proxy.answer(move |seen| seen.line.starts_with("PUT").then(|| StubAnswer::new(200, swapped.clone())));
    let error = renew(&store, &renewal(&claim, LONG)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    proxy.answer_nothing();
    assert!(store.inspect(&name("other")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_value_of_other_software_is_no_lease() {
    let url = Consul::shared().await.url();
    let store = options().connect(url).await.unwrap();
    for (number, value) in ["", "hello", "{}", "null", r#"{"holder":"x","grant":1}"#, "\u{0}"].into_iter().enumerate() {
        let job = format!("job{number}");
        ask(url, "", "PUT", &format!("/v1/kv/{}", store.key(&name(&job))), value).await;
        let error = acquire(&store, &request(&job, LONG)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(&job), "{error}");
        assert!(error.to_string().contains("prefix"), "{error}");
        assert_eq!(store.inspect(&name(&job)).await.unwrap_err().kind(), ErrorKind::Invalid);
        ask(url, "", "DELETE", &format!("/v1/kv/{}", store.key(&name(&job))), "").await;
        granted(&store, &request(&job, LONG)).await;
    }
    // A key that is no name's is in no list, and neither is a lock of `consul lock`.
    for foreign in ["-", ".lock", "job/.lock", "job%20other"] {
        ask(url, "", "PUT", &format!("/v1/kv/{}{foreign}", store.key(&name("x")).trim_end_matches('x')), "hello").await;
    }
    assert_eq!(store.list("", None, 20).await.unwrap().len(), 6);
}

/// The record of one name below the key of another.
#[tokio::test]
async fn a_record_of_another_name_is_not_believed() {
    let url = Consul::shared().await.url();
    let store = options().connect(url).await.unwrap();
    granted(&store, &request("one", LONG)).await;
    let record = ask(url, "", "GET", &format!("/v1/kv/{}?raw", store.key(&name("one"))), "").await;
    let record = record.split("\r\n\r\n").nth(1).unwrap();
    ask(url, "", "PUT", &format!("/v1/kv/{}", store.key(&name("two"))), record).await;
    let error = acquire(&store, &request("two", LONG)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("\"one\""), "{error}");
}

#[tokio::test]
async fn an_application_may_bring_its_own_client() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    let builder = reqwest::Client::builder().user_agent("own").tls_backend_preconfigured(crate::security::no_tls());
    let own = builder.build().unwrap();
    let store = options().connect_with(own.clone(), &proxy.url()).await.unwrap();
    granted(&store, &request("job", LONG)).await;
    let requests = proxy.take_requests();
    assert!(requests.iter().all(|seen| seen.headers["user-agent"] == "own"), "{requests:?}");
    let no_prefix = options().with_key_prefix(" ").connect_with(own, &proxy.url()).await.unwrap_err();
    assert_eq!(no_prefix.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_server_without_a_leader_says_so() {
    let proxy = HttpProxy::start(Consul::shared().await.address().unwrap()).await.unwrap();
    proxy.answer(|_| Some(StubAnswer::new(500, "No cluster leader")));
    let error = within("connect", Duration::from_secs(5), ConsulStore::connect(&proxy.url())).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("quorum"), "{error}");
}
