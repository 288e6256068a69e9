//! TLS by the URL.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    process::Command,
    time::Duration,
};

use integration_tests::{Certificates, Redis};
use lease_core::{ErrorKind, LeaseClient};
use lease_redis::RedisStore;

/// Where this test, started anew with the authority among the system's certificates, finds the server.
const SERVER: &str = "LEASE_TEST_REDIS_TLS_URL";

/// The authorities of the system are trusted, and no others. What those are is decided once per process, by an environment
/// variable, so this test starts itself anew for the half of it in which the server is trusted.
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

    let test = "a_rediss_url_is_tls_with_the_certificates_of_the_system";
    let trusting = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SSL_CERT_FILE", &authority)
        .env(SERVER, &url)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&trusting.stdout).into_owned() + &String::from_utf8_lossy(&trusting.stderr);
    assert!(trusting.status.success() && output.contains("released by TLS"), "{output}");
}
