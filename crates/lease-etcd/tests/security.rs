//! Users, passwords, tokens that expire, and certificates.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{path::PathBuf, time::Duration};

use common::*;
use etcd_client::{Client, ConnectOptions, Permission};
use integration_tests::Etcd;
use lease_core::{ErrorKind, GrantId, LeaseClient, LeaseOptions, LeaseStore};
use lease_etcd::EtcdStoreOptions;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

const PASSWORD: &str = "hunter2-hunter2";

/// A server on which `app` may do everything below its prefix, and whose tokens expire after two seconds of idleness.
async fn guarded() -> (Etcd, EtcdStoreOptions) {
    let etcd = Etcd::start_local(&[("auth-token-ttl", "2")]).await.unwrap();
    let options = options();
    let mut root = Client::connect([etcd.url()], None).await.unwrap();
    root.user_add("root", PASSWORD, None).await.unwrap();
    root.role_add("root").await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.user_add("app", PASSWORD, None).await.unwrap();
    root.role_add("app").await.unwrap();
    let below = Permission::read_write(options.key_prefix.as_str()).with_prefix();
    root.role_grant_permission("app", below).await.unwrap();
    root.user_grant_role("app", "app").await.unwrap();
    root.auth_enable().await.unwrap();
    (etcd, options)
}

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
    // Its tokens are gone with the server's memory.
    etcd.restart().await.unwrap();
    eventually("the store serves again", async || renew(&store, &claim, LONG).await.ok()).await;
    within("the watch stands again", PATIENCE, hints.next()).await;
    release(&store, &claim).await.unwrap();
    within("the release", PATIENCE, hints.next()).await;
}

#[tokio::test]
async fn a_lease_is_kept_over_the_expiry_of_tokens() {
    let (etcd, options) = guarded().await;
    let store = options.with_user("app", PASSWORD).connect([etcd.url()]).await.unwrap();
    let client = LeaseClient::new(store);
    let ttl = Duration::from_secs(9);
    // Renewed every three seconds, it finds its token expired each time.
    let lease = client.try_acquire("job", LeaseOptions::new(ttl)).await.unwrap().unwrap();
    pass(ttl + ttl / 2).await;
    assert!(lease.is_held());
}

#[tokio::test]
async fn whoever_may_not_is_denied_and_no_password_is_shown() {
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

/// Files with certificates; gone at the end.
struct Certificates {
    directory: PathBuf,
    authority: String,
    client: (String, String),
}

impl Certificates {
    fn make() -> Self {
        let directory = std::env::temp_dir().join(format!("lease-etcd-{}", GrantId::random()));
        std::fs::create_dir(&directory).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
        };
        let (server, server_key) = issue("etcd.test");
        std::fs::write(directory.join("server.pem"), server).unwrap();
        std::fs::write(directory.join("server.key"), server_key).unwrap();
        std::fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
        Self { authority: authority.pem(), client: issue("app"), directory }
    }

    fn path(&self, file: &str) -> String {
        self.directory.join(file).to_str().unwrap().to_owned()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn servers_and_clients_show_their_certificates() {
    let certificates = Certificates::make();
    let (certificate, key, authority) =
        (certificates.path("server.pem"), certificates.path("server.key"), certificates.path("ca.pem"));
    let settings = [
        ("cert-file", &*certificate),
        ("key-file", &*key),
        ("trusted-ca-file", &*authority),
        ("client-cert-auth", "true"),
    ];
    let etcd = Etcd::start_local(&settings).await.unwrap();
    let address = etcd.address().unwrap().to_string();
    let trusting = options().with_ca_certificate(certificates.authority.as_str()).with_server_name("etcd.test");
    let secure =
        trusting.clone().with_client_certificate(certificates.client.0.as_str(), certificates.client.1.as_str());

    let store = secure.connect([address.as_str()]).await.unwrap();
    let (claim, _) = granted(&store, &request("job", LONG)).await;
    extended(&store, &claim, LONG).await;
    let mut hints = store.subscribe(&name("job"));
    within("the watch stands", PATIENCE, hints.next()).await;

    let stranger = Certificates::make();
    let soon = Duration::from_secs(3);
    for (case, options) in [
        ("no client certificate", trusting),
        ("another authority", secure.clone().with_ca_certificate(stranger.authority.as_str())),
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
