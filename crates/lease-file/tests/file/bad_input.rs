//! Directories that cannot serve.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use lease_core::{ErrorKind, LeaseClient};

use crate::harness::{directory, find};

const TTL: Duration = Duration::from_secs(10);

async fn refusal(path: &Path) -> (ErrorKind, String) {
    let error = lease_file::open(path).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn a_directory_must_exist() {
    let root = directory();
    let (kind, message) = refusal(&root.path().join("missing")).await;
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
    assert!(message.contains("missing") && message.contains("create it"), "{message}");
    fs::write(root.path().join("file"), "").unwrap();
    let (kind, message) = refusal(&root.path().join("file")).await;
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
}

/// /proc is a file system of this host, but none that keeps files.
#[tokio::test]
async fn a_file_system_that_is_not_known_as_local_is_refused() {
    let (kind, message) = refusal(Path::new("/proc")).await;
    assert_eq!(kind, ErrorKind::Unsupported, "{message}");
    assert!(message.contains("NFS"), "{message}");
}

/// As root everything is writable, so another user tries.
#[tokio::test]
async fn a_directory_that_is_not_writable_is_denied() {
    let root = directory();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if rustix::process::geteuid().is_root() {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "bad_input::opens_what_the_environment_names", "--nocapture"])
            .env("LEASE_FILE_OPEN", root.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("Denied") && text.contains("needs to read, write"),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    } else {
        let (kind, message) = refusal(root.path()).await;
        assert_eq!(kind, ErrorKind::Denied, "{message}");
    }
}

/// Part of the test before.
#[tokio::test]
async fn opens_what_the_environment_names() {
    let Some(path) = std::env::var_os("LEASE_FILE_OPEN") else { return };
    println!("{:?}", refusal(Path::new(&path)).await);
}

#[tokio::test]
async fn a_file_of_another_program_is_no_lease() {
    let root = directory();
    let client = LeaseClient::new(lease_file::open(root.path()).await.unwrap());
    client.try_acquire("job", TTL).await.unwrap().acquired().unwrap().release().await.unwrap();
    let lease = find(root.path(), &"job".parse().unwrap()).unwrap();
    fs::write(lease.join("99"), "notes").unwrap();
    let error = client.try_acquire("job", TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("delete the directory"), "{error}");
    fs::write(lease.join("100"), "notes\n{}").unwrap();
    let error = client.try_acquire("job", TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
