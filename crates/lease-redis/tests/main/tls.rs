//! TLS connections.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    process::Command,
    time::Duration,
};

use integration_tests::{Certificates, Redis, RedisCluster, eventually};
use lease_core::{ErrorKind, LeaseClient};
use lease_redis::{RedisStore, RedisStoreOptions};

/// The environment variable with the URL of the server, for the second process of this test, which trusts the authority.
const SERVER: &str = "LEASE_TEST_REDIS_TLS_URL";

/// Only the authorities of the system are trusted. A process reads them once, from an environment variable, so this test starts
/// a second process that trusts the server.
#[tokio::test]
async fn a_rediss_url_is_tls_with_the_certificates_of_the_system() {
    if let Ok(url) = env::var(SERVER) {
        let client = LeaseClient::new(RedisStore::connect(&url).await.unwrap());
        let lease = client.try_acquire("job", Duration::from_secs(30)).await.unwrap().acquired().unwrap();
        lease.release().await.unwrap();
        println!("released by TLS");
        return;
    }
    let certificates = Certificates::make(&["localhost"]).unwrap();
    let (certificate, key, authority) =
        (certificates.server_file(), certificates.server_key_file(), certificates.authority_file());
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let _server = Redis::start_local(&[
        ("tls-port", &port.to_string()),
        ("tls-cert-file", certificate.to_str().unwrap()),
        ("tls-key-file", key.to_str().unwrap()),
        ("tls-ca-cert-file", authority.to_str().unwrap()),
        ("tls-auth-clients", "no"),
    ])
    .await
    .unwrap();
    let url = format!("rediss://localhost:{port}");

    let distrusted = RedisStore::connect(&url).await.unwrap_err();
    assert_eq!(distrusted.kind(), ErrorKind::Invalid, "{distrusted}");

    let test = "tls::a_rediss_url_is_tls_with_the_certificates_of_the_system";
    let trusting = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SSL_CERT_FILE", &authority)
        .env(SERVER, &url)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&trusting.stdout).into_owned() + &String::from_utf8_lossy(&trusting.stderr);
    assert!(trusting.status.success() && output.contains("released by TLS"), "{output}");
}

/// The options have an authority, a certificate of the client, which the server requires, and the user.
#[tokio::test]
async fn certificates_in_the_options_are_used() {
    let certificates = Certificates::make(&["localhost"]).unwrap();
    let (certificate, key, authority) =
        (certificates.server_file(), certificates.server_key_file(), certificates.authority_file());
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let server = Redis::start_local(&[
        ("tls-port", &port.to_string()),
        ("tls-cert-file", certificate.to_str().unwrap()),
        ("tls-key-file", key.to_str().unwrap()),
        ("tls-ca-cert-file", authority.to_str().unwrap()),
        ("tls-auth-clients", "yes"),
    ])
    .await
    .unwrap();
    server.command(&["ACL", "SETUSER", "app", "on", ">p@ss/word?#", "~*", "&*", "+@all"]).await.unwrap();
    let url = format!("rediss://localhost:{port}");
    let (client, client_key) = certificates.client();
    let options = RedisStoreOptions::new().with_user("app", "p@ss/word?#").with_connect_timeout(Duration::from_secs(1));
    assert!(!format!("{options:?}").contains("p@ss"), "{options:?}");
    let full =
        options.clone().with_ca_certificate(certificates.authority()).with_client_certificate(client, client_key);
    assert!(!format!("{full:?}").contains("BEGIN"), "{full:?}");
    let store = full.connect(&url).await.unwrap();
    let client_of_leases = LeaseClient::new(store);
    let lease = client_of_leases.try_acquire("job", Duration::from_secs(30)).await.unwrap().acquired().unwrap();
    lease.release().await.unwrap();
    // The server requires a certificate of the client.
    let error = options.clone().with_ca_certificate(certificates.authority()).connect(&url).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{error}");
    // The certificate of another authority is not trusted.
    let other = Certificates::make(&["localhost"]).unwrap();
    let error = full.clone().with_ca_certificate(other.authority()).connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for (options, url, word) in [
        (full.clone(), server.url(), "rediss"),
        (options.clone().with_client_certificate(client, client_key), &*url, "authority"),
        (options.clone().with_ca_certificate("no pem"), &*url, "PEM"),
        (full.clone().with_client_certificate(client, "no pem"), &*url, "PEM"),
        (full.clone().with_client_certificate(certificates.authority(), client_key), &*url, "belong"),
    ] {
        let error = options.connect(url).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(word), "{word}: {error}");
    }
}

/// The servers of a Cluster know each other by addresses; their certificates are for the host name that they announce.
#[tokio::test]
async fn the_certificates_of_a_cluster_are_for_the_names_that_its_servers_announce() {
    let certificates = Certificates::make(&["localhost"]).unwrap();
    let (certificate, key, authority) =
        (certificates.server_file(), certificates.server_key_file(), certificates.authority_file());
    let cluster = RedisCluster::start(3).await.unwrap();
    let mut seed = 0;
    for node in cluster.nodes() {
        seed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        for (setting, value) in [
            ("tls-cert-file", certificate.to_str().unwrap()),
            ("tls-key-file", key.to_str().unwrap()),
            ("tls-ca-cert-file", authority.to_str().unwrap()),
            ("tls-auth-clients", "no"),
            ("tls-port", &seed.to_string()),
            // Without this setting the servers announce their port without TLS.
            ("tls-cluster", "yes"),
            ("cluster-announce-hostname", "localhost"),
        ] {
            let reply = node.command(&["CONFIG", "SET", setting, value]).await.unwrap();
            assert_eq!(reply.text(), "OK", "{setting}: {reply:?}");
        }
    }
    let options = RedisStoreOptions::new().with_ca_certificate(certificates.authority());
    // The servers exchange the settings with their next heartbeats.
    eventually("all servers speak TLS", async || {
        let Ok(store) = options.connect(&format!("rediss-cluster://localhost:{seed}")).await else { return false };
        let client = LeaseClient::new(store);
        for n in 0..20 {
            let tried = client.try_acquire(format!("job-{n}"), Duration::from_secs(3)).await;
            if !tried.is_ok_and(|tried| tried.is_acquired()) {
                return false;
            }
        }
        true
    })
    .await;
    for node in cluster.nodes() {
        let size: u64 = node.command(&["DBSIZE"]).await.unwrap().text().parse().unwrap();
        assert!(size > 2, "one server has only {size} keys: names are not spread");
    }
}
