//! How `connect` finds the API server and the credentials: in a pod, and by a kubeconfig. Both are read from fixed places, so each case
//! is this test once more, in a process with other places.

use std::{env, fs, path::Path, process::Command, time::Duration};

use integration_tests::KubeApiserver;
use lease_core::{ErrorKind, LeaseClient};
use lease_kubernetes::{KubernetesStore, KubernetesStoreOptions, rbac_manifest};
use serde_json::json;

use crate::common::{ADMIN, Admin};

/// Set in the process of a case.
const ROLE: &str = "LEASE_TEST_CREDENTIALS";

/// Runs the test of this name in a process with these variables, by a command that is put in front of it.
fn again(test: &str, under: &[&str], variables: &[(&str, &str)]) {
    let own = env::current_exe().unwrap();
    let mut command = match under {
        [] => Command::new(&own),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(&own);
            command
        }
    };
    command
        .args(["--exact", test, "--nocapture"])
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .env(ROLE, "child");
    command.env_remove("KUBERNETES_SERVICE_HOST").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

fn is_child() -> bool {
    env::var_os(ROLE).is_some()
}

/// Uses the store as the default options find it.
async fn use_it(namespace: &str) {
    let store = KubernetesStore::connect().await.unwrap();
    assert_eq!(store.namespace(), namespace);
    let client = LeaseClient::new(store);
    client.acquire("job", Duration::from_secs(10)).await.unwrap().release().await.unwrap();
}

async fn authority() -> String {
    fs::read_to_string(KubeApiserver::authority().await.unwrap()).unwrap()
}

fn kubeconfig(url: &str, authority: &Path, token: &str, namespace: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{ "name": "it", "cluster": { "server": url, "certificate-authority": authority } }],
        "users": [{ "name": "it", "user": { "token": token } }],
        "contexts": [{ "name": "it", "context": { "cluster": "it", "user": "it", "namespace": namespace } }],
    })
    .to_string()
}

#[tokio::test]
async fn a_kubeconfig_is_found() {
    if is_child() {
        return use_it(&env::var("LEASE_TEST_NAMESPACE").unwrap()).await;
    }
    let server = KubeApiserver::shared().await;
    let namespace = Admin::of(server).await.new_namespace().await;
    let file = env::temp_dir().join(format!("{namespace}.kubeconfig"));
    let authority = KubeApiserver::authority().await.unwrap();
    fs::write(&file, kubeconfig(server.url(), &authority, ADMIN, &namespace)).unwrap();
    let variables = [("KUBECONFIG", file.to_str().unwrap()), ("LEASE_TEST_NAMESPACE", &namespace)];
    again("credentials::a_kubeconfig_is_found", &[], &variables);
    fs::remove_file(file).unwrap();
}

/// A pod has files at a fixed path, which this test has in a mount namespace of its own, and the rights of the manifest.
#[tokio::test]
async fn a_service_account_is_found_and_has_enough_rights_by_the_manifest() {
    if is_child() {
        return use_it(&env::var("LEASE_TEST_NAMESPACE").unwrap()).await;
    }
    let server = KubeApiserver::shared().await;
    let admin = Admin::of(server).await;
    let namespace = admin.new_namespace().await;
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "billing" } });
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    assert_eq!(admin.request("POST", &accounts, account).await.0, 201);
    let wish = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 3600 } });
    let (code, answer) = admin.request("POST", &format!("{accounts}/billing/token"), wish).await;
    assert_eq!(code, 201, "{answer}");
    let directory = env::temp_dir().join(format!("{namespace}.account"));
    fs::create_dir(&directory).unwrap();
    let manifest = directory.join("rbac.yaml");
    fs::write(&manifest, rbac_manifest(&namespace, "billing")).unwrap();
    server.kubectl(ADMIN, &["apply", "--filename", manifest.to_str().unwrap()]).await.unwrap();
    fs::write(directory.join("token"), answer["status"]["token"].as_str().unwrap()).unwrap();
    fs::write(directory.join("ca.crt"), authority().await).unwrap();
    fs::write(directory.join("namespace"), &namespace).unwrap();
    let mount = "set -e; mount -t tmpfs none /var/run; mkdir -p /var/run/secrets/kubernetes.io; \
                 ln -s \"$ACCOUNT\" /var/run/secrets/kubernetes.io/serviceaccount; exec \"$0\" \"$@\"";
    let address = server.address().unwrap();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let variables = [
        ("ACCOUNT", directory.to_str().unwrap()),
        ("KUBERNETES_SERVICE_HOST", &host),
        ("KUBERNETES_SERVICE_PORT", &port),
        ("LEASE_TEST_NAMESPACE", &namespace),
    ];
    // Without root, a user namespace gives the right to mount.
    let test = "credentials::a_service_account_is_found_and_has_enough_rights_by_the_manifest";
    again(test, &["unshare", "--map-root-user", "--mount", "sh", "-c", mount], &variables);
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn where_there_is_neither_the_error_names_both() {
    if !is_child() {
        let file = env::temp_dir().join(format!("lease-{:016x}.kubeconfig", rand::random::<u64>()));
        fs::write(&file, "users: [{name: it, user: {token: hunter2\n").unwrap();
        let test = "credentials::where_there_is_neither_the_error_names_both";
        again(test, &[], &[("KUBECONFIG", file.to_str().unwrap())]);
        again(test, &[], &[]);
        return fs::remove_file(file).unwrap();
    }
    let error = KubernetesStoreOptions::new().connect().await.unwrap_err();
    println!("{error} {error:?}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("service account") && text.contains("set KUBECONFIG"), "{text}");
}
