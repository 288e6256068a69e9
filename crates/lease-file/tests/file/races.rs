//! Processes that race for names.

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use lease_core::{AcquireRequest, Acquired, GrantId, HolderId, LeaseName, LeaseStore};

use crate::harness::directory;

const NAMES: usize = 20;
const TASKS: usize = 12;
const PROCESSES: usize = 4;
/// Longer than the test.
const TTL: Duration = Duration::from_secs(600);

/// Each name has one winner, and the winners that follow each other have rising tokens.
#[tokio::test]
async fn s06_one_process_wins_each_name() {
    let root = directory();
    let racers: Vec<_> = (0..PROCESSES)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "races::races_where_the_environment_says", "--nocapture"])
                .env("LEASE_FILE_RACE", root.path())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut winners = BTreeMap::<String, Vec<u64>>::new();
    for racer in racers {
        let output = racer.wait_with_output().unwrap();
        assert!(output.status.success());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            // The runner of the tests writes its own words before the first line.
            let Some((_, won)) = line.split_once("won ") else { continue };
            let (name, token) = won.split_once(' ').unwrap();
            winners.entry(name.to_owned()).or_default().push(token.parse().unwrap());
        }
    }
    assert_eq!(winners.len(), NAMES);
    assert!(winners.values().all(|tokens| tokens.len() == 1), "{winners:?}");
}

/// Part of the test before: a process of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_where_the_environment_says() {
    let Some(root) = std::env::var_os("LEASE_FILE_RACE") else { return };
    let store = Arc::new(lease_file::open(&root).await.unwrap());
    let racers: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0..NAMES {
                    let name = LeaseName::new(format!("race-{number}")).unwrap();
                    let holder = HolderId::new(format!("{}-{task}", std::process::id())).unwrap();
                    let request = AcquireRequest::new(name.clone(), holder, GrantId::random(), TTL);
                    if let Ok(Acquired::Granted(grant)) = store.acquire(&[request]).await.remove(0) {
                        println!("\nwon {name} {}", grant.token);
                    }
                }
            })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
}
