//! Stores are opened by their URLs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::excludes;
use lease_core::ErrorKind;
use lease_url::open;

async fn kind_and_message(url: &str) -> (ErrorKind, String) {
    let error = open(url).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn an_unknown_scheme_is_invalid_and_the_url_is_not_printed() {
    for url in ["", "job", "mysql://user:secret@host/db", "user:secret@host", "://secret"] {
        let (kind, message) = kind_and_message(url).await;
        assert_eq!(kind, ErrorKind::Invalid, "{message}");
        assert!(message.contains("postgres://") && !message.contains("secret"), "{message}");
    }
}

#[cfg(not(feature = "memory"))]
#[tokio::test]
async fn a_store_that_is_not_built_in_names_its_feature() {
    let (kind, message) = kind_and_message("memory:").await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(message.contains("feature `memory`"), "{message}");
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn memory() {
    excludes("memory:", "memory:").await;
    let opened = open("memory:").await.unwrap();
    assert_eq!((opened.admin.ddl(), opened.admin.purge(Duration::from_secs(1)).await.unwrap()), (None, 0));
    let (kind, message) = kind_and_message("memory://one").await;
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn postgres() {
    let server = integration_tests::Postgres::start_local(&[]).await.unwrap();
    excludes(server.url(), server.url()).await;
    let admin = open(&server.url().replace("postgres://", "postgresql://")).await.unwrap().admin;
    assert!(admin.ddl().unwrap().contains("create table"));
    assert_eq!(admin.purge(Duration::from_secs(3600)).await.unwrap(), 0);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis() {
    let server = integration_tests::Redis::start_local(&[]).await.unwrap();
    excludes(server.url(), server.url()).await;
    let valkey = server.url().replace("redis://", "valkey://");
    excludes(&valkey, &valkey).await;
}

#[cfg(feature = "etcd")]
#[tokio::test]
async fn etcd() {
    let server = integration_tests::Etcd::start_local(&[]).await.unwrap();
    let url = format!("etcd://{}", server.address().unwrap());
    excludes(&format!("{url},{}/", server.address().unwrap()), &url).await;
    for url in ["etcd:", "etcd://", "etcd://user:secret@host:1", "etcd://host/prefix"] {
        let (kind, message) = kind_and_message(url).await;
        assert!(kind == ErrorKind::Invalid && !message.contains("secret"), "{message}");
    }
}

#[cfg(feature = "file")]
#[tokio::test]
async fn file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("with space");
    std::fs::create_dir(&path).unwrap();
    let url = format!("file://{}", path.to_str().unwrap().replace(' ', "%20"));
    excludes(&url, &url).await;
    for url in ["file:", "file://host/path", "file://relative", "file:///path?x", "file:///%FF"] {
        let (kind, message) = kind_and_message(url).await;
        assert!(kind == ErrorKind::Invalid && message.contains("file:///path"), "{message}");
    }
}

/// The environment has what the URL has not. It is set for a process of its own: this test is run again by itself.
#[cfg(feature = "object-store")]
#[tokio::test]
async fn object_store() {
    for url in ["s3://", "az://user:secret@container", "gs://bucket?secret"] {
        let (kind, message) = kind_and_message(url).await;
        assert!(kind == ErrorKind::Invalid && !message.contains("secret"), "{message}");
    }
    if std::env::var_os("AWS_ENDPOINT_URL").is_some() {
        excludes("s3://bucket/leases", "s3://bucket/leases").await;
        assert_eq!(open("s3://bucket/leases").await.unwrap().admin.ddl(), None);
        return;
    }
    let server = integration_tests::ObjectStorage::start_local(&[]).await.unwrap();
    integration_tests::http_request(server.url(), "PUT", "/bucket", &[], "").await.unwrap();
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "object_store"]).env("AWS_ENDPOINT_URL", server.url()).env("AWS_ALLOW_HTTP", "true");
    again.env("AWS_ACCESS_KEY_ID", integration_tests::ObjectStorage::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", "secret");
    let output = tokio::task::spawn_blocking(move || again.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
