//! Missing rights, wrong credentials, wrong addresses, objects of others: errors that say what to do.

use std::time::{Duration, Instant};

use integration_tests::{Certificates, Direction, KubeApiserver, KubernetesUser, Proxy};
use lease_core::{Acquired, ErrorKind, LeaseClient, LeaseStore, Result};
use lease_kubernetes::{KubernetesStore, KubernetesStoreOptions};
use lease_testkit::calls::{acquire, claim, granted, holder, name, release, request};

use crate::{
    common::{ADMIN, Admin, config, options},
    requests::Recorder,
};

const TTL: Duration = Duration::from_secs(30);

async fn connect(options: KubernetesStoreOptions, url: &str, token: &str) -> Result<KubernetesStore> {
    options.connect_with(config(url, token).await).await
}

#[tokio::test]
async fn a_role_that_lacks_a_verb_is_denied_at_the_start_with_its_name() {
    let server = KubeApiserver::shared().await;
    let admin = Admin::of(server).await;
    let namespace = admin.new_namespace().await;
    let user = KubernetesUser::number(8);
    let nothing = connect(options(&namespace), server.url(), &user.token).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Denied);
    assert!(nothing.to_string().contains("the verbs get, list, create, patch, watch are denied"), "{nothing}");
    let verbs = "--verb=get,list,watch,create";
    let role = ["create", "role", "reader", "--namespace", &namespace, verbs, "--resource=leases.coordination.k8s.io"];
    server.kubectl(ADMIN, &role).await.unwrap();
    let user_name = format!("--user={}", user.name);
    let bind = ["create", "rolebinding", "reader", "--namespace", &namespace, "--role=reader", &user_name];
    server.kubectl(ADMIN, &bind).await.unwrap();
    integration_tests::eventually("the role is bound", async || {
        let error = connect(options(&namespace), server.url(), &user.token).await.unwrap_err().to_string();
        let is_it = error.contains("lacks the verb `patch` on `leases` in the group `coordination.k8s.io`");
        is_it && error.contains(&namespace) && error.contains(&user.name)
    })
    .await;
}

#[tokio::test]
async fn a_missing_namespace_is_named() {
    let server = KubeApiserver::shared().await;
    let error = connect(options("nowhere"), server.url(), ADMIN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("there is no namespace nowhere: create it"), "{error}");
}

#[tokio::test]
async fn a_wrong_token_is_denied_once_and_not_printed() {
    let server = KubeApiserver::shared().await;
    let admin = Admin::of(server).await;
    let namespace = admin.new_namespace().await;
    let error = connect(options(&namespace), server.url(), "hunter2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("does not accept the credentials"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");

    // The token ends while the store is in use.
    let recorder = Recorder::default();
    let mut without_token = config(server.url(), ADMIN).await;
    without_token.auth_info.token = None;
    recorder.replace_token(ADMIN);
    let store = options(&namespace).with_client(recorder.client(without_token)).await.unwrap();
    let client = LeaseClient::new(store);
    recorder.replace_token("hunter2");
    recorder.take();
    let error = client.acquire("job", TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(recorder.take().iter().filter(|verb| **verb == "GET").count(), 1, "it is not retried");
}

#[tokio::test]
async fn an_address_that_does_not_answer_or_is_another_is_told_apart_soon() {
    let server = KubeApiserver::shared().await;
    let silent = Proxy::start(server.address().unwrap()).await.unwrap();
    silent.black_hole(Direction::Both);
    let soon = KubernetesStoreOptions::new().with_namespace("default").with_connect_timeout(Duration::from_secs(1));
    let began = Instant::now();
    for url in [server.url_through(&silent), "https://127.0.0.1:1".to_owned()] {
        let error = connect(soon.clone(), &url, ADMIN).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(4));
    // The certificate is that of another authority.
    let mut strange = config(server.url(), ADMIN).await;
    strange.root_cert = config_of_another_authority();
    let error = soon.connect_with(strange).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    // Something else serves there: its 404 does not mean that a name is free.
    let error = KubernetesStoreOptions::new().connect_with(other_service().await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("serves no Leases"), "{error}");
}

fn config_of_another_authority() -> Option<Vec<Vec<u8>>> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let other = Certificates::make(&["localhost"]).unwrap();
    Some(vec![CertificateDer::from_pem_slice(other.authority().as_bytes()).unwrap().to_vec()])
}

/// A server of another program, which answers 404 to everything.
async fn other_service() -> kube::Config {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                let _ = stream.read(&mut bytes).await;
                let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot found";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    kube::Config::new(format!("http://{address}").parse().unwrap())
}

#[tokio::test]
async fn an_object_of_others_under_our_name_is_an_error_that_says_so() {
    let server = KubeApiserver::shared().await;
    let admin = Admin::of(server).await;
    let namespace = admin.new_namespace().await;
    let store = admin.store(&options(&namespace)).await;
    let mine = request(name("job"), holder("pod-1"), TTL);
    let held = claim(&mine, granted(&store, &mine).await);
    release(&store, &held).await;
    let ours = admin.get(&namespace, "job").await;

    for garbage in ["hello", "{}", r#"{"spec":{},"record":{}}"#, ""] {
        let mut lease = admin.get(&namespace, "job").await;
        lease["metadata"]["annotations"]["app-runtime-leases/record"] = garbage.into();
        assert_eq!(admin.put(&namespace, &lease).await.0, 200);
        let error = acquire(&store, &mine).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{garbage}: {error}");
        assert!(error.to_string().contains("lease job") && error.to_string().contains("another program"), "{error}");
        assert_eq!(store.inspect(&mine.name).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    // A copy under another name, as of a manifest that somebody has edited.
    let mut copy = ours.clone();
    copy["metadata"] = serde_json::json!({ "name": "other", "annotations": ours["metadata"]["annotations"] });
    assert_eq!(admin.post(&namespace, &copy).await.0, 201);
    let error = acquire(&store, &request(name("other"), holder("pod-1"), TTL)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("lease other is that of lease \"job\""), "{error}");
    // A Lease that says nothing is free.
    let empty =
        serde_json::json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "empty" } });
    assert_eq!(admin.post(&namespace, &empty).await.0, 201);
    let free = request(name("empty"), holder("pod-1"), TTL);
    assert!(matches!(acquire(&store, &free).await.unwrap(), Acquired::Granted(_)));
}
