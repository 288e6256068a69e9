//! The harness, and helpers of several modules.
#![allow(dead_code, reason = "each binary uses a part of it")]

use std::{fs, sync::Arc, time::Duration};

use async_trait::async_trait;
use http_body_util::BodyExt;
use integration_tests::{KubeApiserver, KubernetesKind, Provider, ServerHarness};
use kube::{Client, Config, client::Body};
use lease_core::{ExpiryJudge, GrantId, LeaseName, LeaseStore};
use lease_kubernetes::{KubernetesStore, KubernetesStoreOptions};
use serde_json::{Value, json};

pub(crate) type KubernetesHarness = ServerHarness<Namespace>;

/// Keeps leases in a namespace of its own.
pub(crate) struct Namespace(KubernetesStoreOptions);

#[async_trait]
impl Provider for Namespace {
    type Kind = KubernetesKind;

    /// Long enough for several clients on a machine with two cores.
    const TTL: Duration = Duration::from_secs(3);

    async fn prepare(server: &KubeApiserver) -> Self {
        let admin = Admin::of(server).await;
        Self(options(&admin.new_namespace().await))
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.0.connect_with(config(url, ADMIN).await).await.unwrap())
    }

    async fn remove_record(&self, server: &KubeApiserver, name: &LeaseName) {
        let admin = Admin::of(server).await;
        let object = admin.store(&self.0).await.object_name(name);
        admin.delete(self.0.namespace.as_deref().unwrap(), &object).await;
    }
}

/// The token of the user who may do everything.
pub(crate) const ADMIN: &str = "token-of-admin";

/// A store for a server that is one, so that its clock is one.
pub(crate) fn options(namespace: &str) -> KubernetesStoreOptions {
    KubernetesStoreOptions::new()
        .with_namespace(namespace)
        .with_expiry_judge(ExpiryJudge::ServersWallClocks { slack: Duration::ZERO })
        // The machine may be busy.
        .with_connect_timeout(Duration::from_secs(30))
}

/// The configuration for a server at this URL, as the user of this token.
pub(crate) async fn config(url: &str, token: &str) -> Config {
    let authority = fs::read_to_string(KubeApiserver::authority().await.unwrap()).unwrap();
    let mut config = Config::new(url.parse().unwrap());
    config.root_cert = Some(vec![der(&authority)]);
    config.auth_info.token = Some(token.to_owned().into());
    config.default_retry = false;
    config
}

fn der(pem: &str) -> Vec<u8> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// Who may do everything, by requests of its own.
#[derive(Clone)]
pub(crate) struct Admin {
    client: Client,
}

impl Admin {
    pub(crate) async fn of(server: &KubeApiserver) -> Self {
        Self { client: Client::try_from(config(server.url(), server.token()).await).unwrap() }
    }

    pub(crate) async fn store(&self, options: &KubernetesStoreOptions) -> KubernetesStore {
        options.with_client(self.client.clone()).await.unwrap()
    }

    /// Sends a request, and returns the status and the body of the answer.
    pub(crate) async fn request(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder().method(method).uri(path).header("content-type", content);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn new_namespace(&self) -> String {
        let name = format!("leases-{}", GrantId::random());
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let (code, answer) = self.request("POST", "/api/v1/namespaces", body).await;
        assert_eq!(code, 201, "{answer}");
        name
    }

    pub(crate) async fn get(&self, namespace: &str, object: &str) -> Value {
        let (code, answer) = self.request("GET", &path(namespace, object), Value::Null).await;
        assert_eq!(code, 200, "{answer}");
        answer
    }

    pub(crate) async fn put(&self, namespace: &str, lease: &Value) -> (u16, Value) {
        let object = lease["metadata"]["name"].as_str().unwrap();
        self.request("PUT", &path(namespace, object), lease.clone()).await
    }

    pub(crate) async fn post(&self, namespace: &str, lease: &Value) -> (u16, Value) {
        self.request("POST", path(namespace, "").trim_end_matches('/'), lease.clone()).await
    }

    pub(crate) async fn delete(&self, namespace: &str, object: &str) {
        let (code, answer) = self.request("DELETE", &path(namespace, object), Value::Null).await;
        assert!(code == 200 || code == 404, "{answer}");
    }
}

pub(crate) fn path(namespace: &str, object: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{object}")
}
