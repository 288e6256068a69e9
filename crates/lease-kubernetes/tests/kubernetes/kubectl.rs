//! What people see.

use std::{fs, time::Duration};

use integration_tests::{KubeApiserver, KubernetesUser};
use lease_core::LeaseStore;
use lease_kubernetes::rbac_manifest;
use lease_testkit::calls::{claim, extended, granted, holder, name, release, request};

use crate::common::{ADMIN, Admin, config, options};

#[tokio::test]
async fn kubectl_shows_holder_duration_and_renew_time() {
    let server = KubeApiserver::shared().await;
    let admin = Admin::of(server).await;
    let namespace = admin.new_namespace().await;
    let store = admin.store(&options(&namespace)).await;
    let see = async |object: &str, output: &str| {
        let shown = ["get", "lease", object, "--namespace", &namespace, "--output", output];
        server.kubectl(server.token(), &shown).await.unwrap()
    };
    let spec = "jsonpath={.spec.holderIdentity} {.spec.leaseDurationSeconds} {.spec.leaseTransitions} {.spec.renewTime} {.spec.acquireTime}";
    let mine = request(name("job"), holder("pod-1"), Duration::from_millis(30_001));
    let held = claim(&mine, granted(&store, &mine).await);
    let first = see("job", spec).await;
    assert!(first.starts_with("pod-1 31 0 20"), "{first}");
    let table = see("job", "wide").await;
    assert!(table.contains("HOLDER") && table.contains("pod-1"), "{table}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    extended(&store, &held, Duration::from_secs(60)).await;
    let second = see("job", spec).await;
    assert!(second.starts_with("pod-1 60 0 20"), "{second}");
    let (first, second): (Vec<_>, Vec<_>) = (first.split(' ').collect(), second.split(' ').collect());
    assert!(second[3] > first[3], "the renew time goes on: {first:?} {second:?}");
    assert_eq!(second[4], first[4], "the acquire time stays");
    release(&store, &held).await;
    let spec = "jsonpath={.spec.holderIdentity}|{.spec.leaseDurationSeconds}";
    assert_eq!(see("job", spec).await, "|1");

    // A name that is none in Kubernetes.
    let odd = request(name("Reports/nightly"), holder("pod-1"), Duration::from_secs(30));
    granted(&store, &odd).await;
    let object = store.object_name(&odd.name);
    assert!(object.starts_with("reports-nightly-"), "{object}");
    assert_eq!(see(&object, r"jsonpath={.metadata.annotations.app-runtime-leases/name}").await, "Reports/nightly");
    let listed = store.list("", None, 10).await.unwrap();
    assert_eq!(listed.into_iter().map(|lease| lease.name).collect::<Vec<_>>(), [odd.name]);
}

/// The manifest gives a user all that is needed, and what it mentions for a purge.
#[tokio::test]
async fn the_manifest_gives_the_rights_that_are_needed() {
    let server = KubeApiserver::shared().await;
    let admin = Admin::of(server).await;
    let namespace = admin.new_namespace().await;
    let user = KubernetesUser::number(7);
    let file = std::env::temp_dir().join(format!("{namespace}.yaml"));
    fs::write(&file, rbac_manifest(&namespace, "billing")).unwrap();
    let applied = server.kubectl(server.token(), &["apply", "--filename", file.to_str().unwrap()]).await;
    fs::remove_file(&file).unwrap();
    applied.unwrap();
    let bind = [
        "create",
        "rolebinding",
        "user",
        "--namespace",
        &namespace,
        "--role=billing-leases",
        &format!("--user={}", user.name),
    ];
    server.kubectl(server.token(), &bind).await.unwrap();
    let store = options(&namespace).connect_with(config(server.url(), &user.token).await).await.unwrap();
    let mine = request(name("job"), holder("pod-1"), Duration::from_secs(30));
    let grant = granted(&store, &mine).await;
    let held = claim(&mine, grant);
    extended(&store, &held, Duration::from_secs(30)).await;
    release(&store, &held).await;
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 0);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let denied = store.purge("", Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(denied.kind(), lease_core::ErrorKind::Denied);
    assert!(denied.to_string().contains("`delete`"), "{denied}");
    let patch = r#"[{"op":"add","path":"/rules/0/verbs/-","value":"delete"}]"#;
    let patch = ["patch", "role", "billing-leases", "--namespace", &namespace, "--type=json", "--patch", patch];
    server.kubectl(ADMIN, &patch).await.unwrap();
    let mut deleted = 0;
    integration_tests::eventually("the right is given", async || {
        let purged = store.purge("", Duration::from_millis(1)).await;
        deleted = purged.as_ref().map_or(0, |purged| purged.deleted);
        purged.is_ok()
    })
    .await;
    assert_eq!(deleted, 1);
    // Its tokens go on all the same.
    assert!(granted(&store, &mine).await.token > grant.token);
}
