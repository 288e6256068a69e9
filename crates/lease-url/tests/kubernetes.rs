//! A store in Kubernetes is opened by its URL, with the kubeconfig of the process.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{env, fs, process::Command};

use common::excludes;
use integration_tests::KubeApiserver;
use lease_core::ErrorKind;
use lease_url::open;

/// Set in the process that has a kubeconfig.
const ROLE: &str = "LEASE_TEST_KUBECONFIG_IS_SET";

#[tokio::test]
async fn kubernetes() {
    if env::var_os(ROLE).is_none() {
        let server = KubeApiserver::shared().await;
        let authority = KubeApiserver::authority().await.unwrap();
        let file = env::temp_dir().join(format!("lease-url-{}.kubeconfig", std::process::id()));
        let kubeconfig = format!(
            "{{current-context: it, clusters: [{{name: it, cluster: {{server: '{}', certificate-authority: '{}'}}}}], \
             users: [{{name: it, user: {{token: '{}'}}}}], contexts: [{{name: it, context: {{cluster: it, user: it}}}}]}}",
            server.url(),
            authority.display(),
            server.token()
        );
        fs::write(&file, kubeconfig).unwrap();
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", "kubernetes", "--nocapture"]).env(ROLE, "yes").env("KUBECONFIG", &file);
        let output = again.output().unwrap();
        fs::remove_file(file).unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    excludes("k8s://default", "kubernetes://").await;
    for url in ["k8s:default", "k8s://default/prefix", "k8s://user:secret@default", "k8s://Default"] {
        let error = open(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
