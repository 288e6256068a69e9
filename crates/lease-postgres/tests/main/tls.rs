//! TLS by the URL.

use std::time::Duration;

use integration_tests::{Certificates, Postgres};
use lease_core::{ErrorKind, LeaseClient};
use lease_postgres::PostgresStore;

#[tokio::test]
async fn tls_is_as_strict_as_the_url_says() {
    let certificates = Certificates::make(&["localhost", "127.0.0.1"]).unwrap();
    let (certificate, key) = (certificates.server_file(), certificates.server_key_file());
    let settings =
        [("ssl", "on"), ("ssl_cert_file", certificate.to_str().unwrap()), ("ssl_key_file", key.to_str().unwrap())];
    let postgres = Postgres::start_local(&settings).await.unwrap();
    let authority = certificates.authority_file();
    let verified = format!("{}?sslmode=verify-full&sslrootcert={}", postgres.url(), authority.display());

    let store = PostgresStore::connect(&verified).await.unwrap();
    store.migrate().await.unwrap();
    let client = LeaseClient::new(store);
    let lease = client.try_acquire("job", Duration::from_secs(30)).await.unwrap().acquired().unwrap();
    lease.release().await.unwrap();

    let stranger = Certificates::make(&["localhost", "127.0.0.1"]).unwrap();
    let distrusted =
        format!("{}?sslmode=verify-full&sslrootcert={}", postgres.url(), stranger.authority_file().display());
    let error = match PostgresStore::connect(&distrusted).await {
        Ok(store) => store.migrate().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("TLS"), "{error}");
}
