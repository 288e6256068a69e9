//! What happens to a directory and its host while leases are held.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    time::Duration,
};

use lease_core::{ErrorKind, LeaseClient, LeaseName, Metadata};
use tempfile::TempDir;

use crate::harness::{directory, find};

const TTL: Duration = Duration::from_secs(30);

async fn client(root: &TempDir) -> LeaseClient {
    LeaseClient::new(lease_file::open(root.path()).await.unwrap())
}

/// Writes the newest version as if the host had been started anew since.
fn reboot(root: &TempDir, name: &str) {
    let directory = find(root.path(), &LeaseName::new(name).unwrap()).unwrap();
    let numbers = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name());
    let newest = numbers.map(|name| name.to_str().unwrap().parse::<u64>().unwrap()).max().unwrap();
    let path = directory.join(newest.to_string());
    let text = fs::read_to_string(&path).unwrap();
    let (_, value) = text.split_once('\n').unwrap();
    fs::write(&path, format!("5ca1ab1e-0000-4000-8000-000000000000\n{value}")).unwrap();
}

#[tokio::test]
async fn after_a_reboot_a_name_is_free_at_once_and_its_token_rises() {
    let root = directory();
    let before = client(&root).await;
    let lease = before.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let after = client(&root).await;
    assert!(after.try_acquire("job", TTL).await.unwrap().acquired().is_none());
    reboot(&root, "job");
    assert_eq!(after.inspect("job").await.unwrap(), None);
    assert_eq!(after.list("", None, 10).await.unwrap(), []);
    let next = after.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    assert!(next.token() > lease.token());
}

#[tokio::test]
async fn s19_while_the_directory_is_away_no_name_seems_free() {
    let root = directory();
    let client = client(&root).await;
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let away = root.path().with_extension("away");
    fs::rename(root.path(), &away).unwrap();
    // As a file system that is unmounted leaves an empty directory.
    fs::create_dir(root.path()).unwrap();
    for outcome in [client.inspect("job").await.map(drop), client.list("", None, 10).await.map(drop)] {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("unmounted"), "{error}");
    }
    let error = client.try_acquire("other", TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    fs::remove_dir(root.path()).unwrap();
    fs::rename(&away, root.path()).unwrap();
    assert_eq!(client.inspect("job").await.unwrap().unwrap().token, lease.token());
    lease.release().await.unwrap();
}

#[tokio::test]
async fn little_is_left_of_many_renewals_and_nothing_of_a_write_that_was_cut_off() {
    let root = directory();
    let client = client(&root).await;
    let name = LeaseName::new("job").unwrap();
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    for round in 0..20 {
        lease
            .set_metadata(Metadata::try_from(BTreeMap::from([("round".to_owned(), round.to_string())])).unwrap())
            .await
            .unwrap();
    }
    lease.release().await.unwrap();
    let directory = find(root.path(), &name).unwrap();
    assert_eq!(fs::read_dir(directory).unwrap().count(), 2);
    assert_eq!(fs::read_dir(root.path().join(".new")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_killed_processes_left_is_removed_after_a_day() {
    let root = directory();
    drop(lease_file::open(root.path()).await.unwrap());
    let new = root.path().join(".new");
    fs::write(new.join("young"), "").unwrap();
    fs::write(new.join("old"), "").unwrap();
    fs::create_dir(new.join("old-first")).unwrap();
    fs::write(new.join("old-first/1"), "").unwrap();
    let two_days_ago = fs::metadata(new.join("young")).unwrap().modified().unwrap() - Duration::from_secs(2 * 86_400);
    for old in ["old", "old-first"] {
        File::open(new.join(old)).unwrap().set_modified(two_days_ago).unwrap();
    }
    drop(lease_file::open(root.path()).await.unwrap());
    let left: Vec<_> = fs::read_dir(new).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["young"]);
}

#[tokio::test]
async fn a_purge_keeps_the_token_and_drops_the_rest() {
    let root = directory();
    let store = lease_file::open(root.path()).await.unwrap();
    let client = LeaseClient::new(store.clone());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let token = lease.token();
    lease.release().await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    store.purge("", Duration::from_millis(1)).await.unwrap();
    let next = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    assert!(next.token() > token);
}
