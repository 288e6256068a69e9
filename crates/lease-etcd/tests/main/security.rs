//! Users, passwords, tokens that expire, and certificates.

use std::time::Duration;

use etcd_client::{Client, ConnectOptions};
use integration_tests::{Certificates, Etcd};
use lease_core::{ErrorKind, LeaseClient, LeaseOptions, LeaseStore};

use crate::common::*;

#[tokio::test]
async fn a_token_that_expires_is_renewed() {
    let (etcd, options) = guarded().await;
    let store = options.clone().with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;
    for _ in 0..2 {
        pass(Duration::from_millis(4500)).await;
        extended(&store, &claim, LONG).await;
        assert!(!is_free(&store, "job").await);
    }
    // The server has lost its tokens with its memory.
    etcd.restart().await.unwrap();
    eventually("the store serves again", async || renew(&store, &renewal(&claim, LONG)).await.ok()).await;
    let mut late = store.subscribe(&name("late"));
    within("the watch stands again", PATIENCE, late.next()).await;
    release(&store, &claim).await;
    within("the release", PATIENCE, hints.next()).await;
}

#[tokio::test]
async fn a_lease_is_kept_over_the_expiry_of_tokens() {
    let (etcd, options) = guarded().await;
    let store = options.with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    let client = LeaseClient::new(store);
    let ttl = Duration::from_secs(9);
    // With a renewal every three seconds, the token has expired each time.
    let lease = client.try_acquire("job", LeaseOptions::new(ttl)).await.unwrap().acquired().unwrap();
    pass(ttl + ttl / 2).await;
    assert!(lease.is_held());
}

#[tokio::test]
async fn missing_rights_are_denied_and_no_password_is_shown() {
    let (etcd, options) = guarded().await;
    for (case, refused) in [
        ("no user", options.connect([etcd.url()]).await.map(drop)),
        ("unknown user", options.clone().with_user("nobody", PASSWORD).connect([etcd.url()]).await.map(drop)),
        ("wrong password", options.clone().with_user("app", "wrong-hunter2").connect([etcd.url()]).await.map(drop)),
    ] {
        let error = refused.expect_err(case);
        assert_eq!(error.kind(), ErrorKind::Denied, "{case}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{case}: {error:?}");
    }
    let allowed = options.with_user("app", PASSWORD);
    let elsewhere = allowed.clone().with_key_prefix("elsewhere/").connect([etcd.url()]).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::Denied, "{elsewhere}");

    let store = allowed.connect([etcd.url()]).await.unwrap();
    assert!(!format!("{store:?} {allowed:?}").contains("hunter2"));
    let login = ConnectOptions::new().with_user("root", PASSWORD);
    let mut root = Client::connect([etcd.url()], Some(login)).await.unwrap();
    root.user_revoke_role("app", "app").await.unwrap();
    let error = acquire(&store, &request("job", LONG)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn servers_and_clients_show_their_certificates() {
    let certificates = Certificates::make(&["etcd.test"]).unwrap();
    let (certificate, key, authority) =
        (certificates.server_file(), certificates.server_key_file(), certificates.authority_file());
    let settings = [
        ("cert-file", certificate.to_str().unwrap()),
        ("key-file", key.to_str().unwrap()),
        ("trusted-ca-file", authority.to_str().unwrap()),
        ("client-cert-auth", "true"),
    ];
    let etcd = Etcd::start_local(&settings).await.unwrap();
    let address = etcd.address().unwrap().to_string();
    let trusting = options().with_ca_certificate(certificates.authority()).with_server_name("etcd.test");
    let secure = {
        let (certificate, key) = certificates.client();
        trusting.clone().with_client_certificate(certificate, key)
    };

    let store = secure.connect([address.as_str()]).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    extended(&store, &claim, LONG).await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;

    let stranger = Certificates::make(&["etcd.test"]).unwrap();
    let soon = Duration::from_secs(3);
    for (case, options) in [
        ("no client certificate", trusting),
        ("another authority", secure.clone().with_ca_certificate(stranger.authority())),
        ("another name", secure.clone().with_server_name("other.test")),
    ] {
        let error = options.with_request_timeout(soon).connect([address.as_str()]).await.expect_err(case);
        println!("{case}: {error}");
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{case}: {error}");
        assert!(!format!("{error} {error:?}").contains("PRIVATE KEY"), "{case}");
    }
    let plain = options().with_request_timeout(soon).connect([format!("http://{address}")]).await;
    assert!(matches!(plain, Err(error) if error.is_transient()));
}
