//! The harness itself: what it says it does to an API server of Kubernetes, it does.
#![allow(clippy::unwrap_used, reason = "a test")]

use integration_tests::{KubeApiserver, KubernetesUser, Proxy, ServerError};

const LEASE: &str = r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"job"},"spec":{"holderIdentity":"me"}}"#;

/// Runs kubectl as the user who may do everything.
async fn kubectl(server: &KubeApiserver, arguments: &[&str]) -> Result<String, ServerError> {
    let limited = [&["--request-timeout=3s"], arguments].concat();
    server.kubectl(server.token(), &limited).await
}

async fn create_lease(server: &KubeApiserver) {
    let file = std::env::temp_dir().join(format!("lease-{:016x}.json", rand::random::<u64>()));
    std::fs::write(&file, LEASE).unwrap();
    let created = kubectl(server, &["create", "--filename", file.to_str().unwrap()]).await;
    std::fs::remove_file(file).unwrap();
    created.unwrap();
}

async fn holder(server: &KubeApiserver) -> Result<String, ServerError> {
    kubectl(server, &["get", "lease", "job", "--output", "jsonpath={.spec.holderIdentity}"]).await
}

#[tokio::test]
async fn it_is_frozen_killed_and_restarted_and_keeps_its_leases() {
    let server = KubeApiserver::start_local(&[]).await.unwrap();
    create_lease(&server).await;
    server.freeze().await.unwrap();
    assert!(holder(&server).await.is_err());
    server.thaw().await.unwrap();
    assert_eq!(holder(&server).await.unwrap(), "me");
    server.kill().await.unwrap();
    assert!(std::net::TcpStream::connect(server.address().unwrap()).is_err());
    server.start_again().await.unwrap();
    assert_eq!(holder(&server).await.unwrap(), "me");
    server.restart().await.unwrap();
    assert_eq!(holder(&server).await.unwrap(), "me");
}

#[tokio::test]
async fn a_user_may_do_what_a_role_says_and_by_a_proxy_too() {
    let server = KubeApiserver::shared().await;
    assert!(matches!(server.freeze().await, Err(ServerError::Cannot { .. })));
    let user = KubernetesUser::number(3);
    let proxy = Proxy::start(server.address().unwrap()).await.unwrap();
    let through = format!("--server={}", server.url_through(&proxy));
    let list = ["get", "leases", "--request-timeout=3s", &through];
    let denied = server.kubectl(&user.token, &list).await.unwrap_err().to_string();
    assert!(denied.contains(r#"User "user-3" cannot list resource "leases""#), "{denied}");
    kubectl(server, &["create", "role", "reader", "--verb=list", "--resource=leases"]).await.unwrap();
    kubectl(server, &["create", "rolebinding", "reader", "--role=reader", "--user=user-3"]).await.unwrap();
    server.kubectl(&user.token, &list).await.unwrap();
    proxy.refuse_connections();
    assert!(server.kubectl(&user.token, &list).await.is_err());
    let stranger = server.kubectl("another-token", &["get", "leases"]).await.unwrap_err().to_string();
    assert!(stranger.contains("Unauthorized") || stranger.contains("logged in"), "{stranger}");
}

#[tokio::test]
async fn a_setting_reaches_the_server() {
    let error = KubeApiserver::start_local(&[("no-such-setting", "on")]).await.unwrap_err().to_string();
    assert!(error.contains("no-such-setting"), "{error}");
}
