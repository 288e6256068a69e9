//! Accounts, containers, credentials and items that cannot be.

use std::time::Duration;

use integration_tests::{Cosmos, HttpProxy, StubAnswer, http_request};
use lease_core::{ErrorKind, ExpiryJudge, LeaseStore};
use lease_cosmos::{CosmosStoreOptions, reqwest};
use lease_testkit::calls::{acquire, name, renew, renewal};

use crate::{
    common::{LONG, granted, options, proxied, request},
    harness::{LEASES, database},
};

#[tokio::test]
async fn what_cannot_be_is_an_error_that_helps_and_tells_no_secret() {
    let url = Cosmos::shared().await.url();
    let right = database(url, LEASES).await;
    let other = database(url, r#"{"id":"leases","partitionKey":{"paths":["/tenant"],"kind":"Hash"}}"#).await;
    let short = r#"{"id":"leases","partitionKey":{"paths":["/id"],"kind":"Hash"},"defaultTtl":3600}"#;
    let short = database(url, short).await;
    let forever = r#"{"id":"leases","partitionKey":{"paths":["/id"],"kind":"Hash"},"defaultTtl":-1}"#;
    let forever = database(url, forever).await;
    let plain = options();
    plain.connect(url, &forever, "leases").await.unwrap();
    let without = CosmosStoreOptions::new();
    let cases = [
        ("no endpoint", plain.connect("", &right, "leases").await, "https://ACCOUNT"),
        ("a key in the endpoint", plain.connect("https://:hunter2@localhost", &right, "leases").await, "with_key"),
        ("no database", plain.connect(url, "", "leases").await, "ids"),
        ("a path", plain.connect(url, &right, "leases/docs").await, "ids"),
        ("no such database", plain.connect(url, "nowhere", "leases").await, "partition key /id"),
        ("no such container", plain.connect(url, &right, "nowhere").await, "partition key /id"),
        ("another partition key", plain.connect(url, &other, "leases").await, "/tenant, and must be /id"),
        ("a time to live", plain.connect(url, &short, "leases").await, "3600 s"),
        ("no credential", without.connect(url, &right, "leases").await, "with_token_provider"),
        ("no key", without.clone().with_key("hunter2!").connect(url, &right, "leases").await, "base64"),
        (
            "no certificate",
            plain.clone().with_ca_certificate("hunter2").connect("https://127.0.0.1:1", "a", "b").await,
            "PEM",
        ),
        ("no time", plain.clone().with_connect_timeout(Duration::ZERO).connect(url, &right, "leases").await, "zero"),
        ("no pause", plain.clone().with_poll_interval(Duration::ZERO).connect(url, &right, "leases").await, "100 ms"),
        (
            "another judge",
            plain.clone().with_expiry_judge(ExpiryJudge::Process).connect(url, &right, "leases").await,
            "Contenders",
        ),
    ];
    for (case, outcome, advice) in cases {
        let error = outcome.expect_err(case);
        println!("{case}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{case}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{case}: {error}");
        assert!(error.to_string().contains(advice), "{case}: {error}");
    }
    let error = plain.connect("http://127.0.0.1:1", &right, "leases").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Accounts whose conditions or reads do not hold.
#[tokio::test]
async fn an_account_with_several_write_regions_or_weak_reads_is_refused() {
    let cosmos = Cosmos::shared().await;
    let database = database(cosmos.url(), LEASES).await;
    let proxy = HttpProxy::start(cosmos.address().unwrap()).await.unwrap();
    for (regions, level, outcome) in [
        (true, "Strong", Some("single write region")),
        (false, "Eventual", Some("Session or stronger")),
        (false, "ConsistentPrefix", Some("Session or stronger")),
        (false, "Session", None),
        (false, "BoundedStaleness", None),
        (false, "Strong", None),
    ] {
        proxy.answer(move |seen| {
            let account = format!(
                r#"{{"enableMultipleWriteLocations":{regions},"userConsistencyPolicy":{{"defaultConsistencyLevel":"{level}"}}}}"#
            );
            (seen.line == "GET /").then(|| StubAnswer::new(200, account).with_header("x-ms-activity-id", "1"))
        });
        let connected = options().connect(&proxy.url(), &database, "leases").await;
        match outcome {
            None => drop(connected.unwrap()),
            Some(advice) => {
                let error = connected.unwrap_err();
                println!("{error}");
                assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(advice), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn answers_of_the_service_and_of_others_are_told_apart() {
    let (store, proxy, _) = proxied().await;
    let (held, _) = granted(&store, &request("held", LONG)).await;
    let answers = [
        (401, true, ErrorKind::Denied, "fifteen minutes"),
        (403, true, ErrorKind::Denied, "Data Contributor"),
        (429, true, ErrorKind::Unavailable, "wait for 250 ms; charge 1.5 RU"),
        (404, false, ErrorKind::Invalid, "endpoint"),
        (301, false, ErrorKind::Invalid, "endpoint"),
        (503, false, ErrorKind::Unavailable, "503"),
    ];
    for (status, is_genuine, kind, advice) in answers {
        let stub = StubAnswer::new(status, "{}")
            .with_header("x-ms-retry-after-ms", "250")
            .with_header("x-ms-request-charge", "1.5");
        let stub = if is_genuine { stub.with_header("x-ms-activity-id", "1") } else { stub };
        proxy.answer(move |_| Some(stub.clone()));
        let error = acquire(&store, &request("job", LONG)).await.unwrap_err();
        println!("{error}");
        assert!(error.kind() == kind && error.to_string().contains(advice), "{error}");
        assert_eq!(store.list("", None, 9).await.unwrap_err().kind(), kind);
        let error = renew(&store, &renewal(&held, LONG)).await.unwrap_err();
        // A renewal of unknown outcome is looked for, and then the read has failed.
        let kind = if status == 503 { ErrorKind::Indeterminate } else { kind };
        assert_eq!(error.kind(), kind, "{error}");
    }
    proxy.answer_nothing();
    lease_testkit::calls::extended(&store, &held, LONG).await;
}

#[tokio::test]
async fn an_item_of_other_software_is_no_lease() {
    let (store, proxy, database) = proxied().await;
    for (number, more) in
        ["", r#","value":"hello""#, r#","n":7,"value":"{}""#, r#","value":null"#].into_iter().enumerate()
    {
        let job = format!("job{number}");
        let item = format!(r#"{{"id":"{}"{more}}}"#, store.id(&name(&job)));
        let created =
            http_request(&proxy.url(), "POST", &format!("/dbs/{database}/colls/leases/docs"), &[], &item).await;
        assert!(created.unwrap().contains("201"));
        let error = acquire(&store, &request(&job, LONG)).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(&job), "{error}");
        assert_eq!(store.list(&job, None, 9).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    // An id that is no name's is in no list.
    let created =
        http_request(&proxy.url(), "POST", &format!("/dbs/{database}/colls/leases/docs"), &[], r#"{"id":"x-y"}"#).await;
    assert!(created.unwrap().contains("201"));
    assert!(store.list("x", None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_application_may_bring_its_own_client() {
    let cosmos = Cosmos::shared().await;
    let database = database(cosmos.url(), LEASES).await;
    let proxy = HttpProxy::start(cosmos.address().unwrap()).await.unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let own = reqwest::Client::builder().user_agent("own").tls_backend_preconfigured(tls).build().unwrap();
    let store = options().connect_with(own, &proxy.url(), &database, "leases").await.unwrap();
    granted(&store, &request("job", LONG)).await;
    let requests = proxy.take_requests();
    assert!(requests.len() == 4 && requests.iter().all(|seen| seen.headers["user-agent"] == "own"), "{requests:?}");
}
