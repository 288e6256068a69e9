//! A short selection of the torture test, as `just torture` runs all of it: the most telling faults for each store, and the
//! negative controls. The real thing, with random seeds; a failure prints its seed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

/// One run at a time has the machine for itself.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs cases, all of which must be as they must be.
#[track_caller]
fn torture(name: &str, arguments: &str) {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    let output = command.arg("run").args(arguments.split(' ')).arg("--out").arg(out).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complained}");
}

#[test]
fn postgres_bears_it() {
    torture("postgres", "--store postgres --fault worker-frozen --fault lossy-fail-over --fault everything");
}

#[test]
fn redis_bears_it() {
    torture("redis", "--store redis --fault worker-frozen --fault server-emptied --fault everything");
}

#[test]
fn a_redis_cluster_bears_it() {
    torture("redis-cluster", "--store redis-cluster --fault server-killed --fault slot-half-moved --fault everything");
}

#[test]
fn etcd_bears_it() {
    torture("etcd", "--store etcd --fault leader-killed --fault everything");
}

/// C8: a test that does not see a bug proves nothing.
#[test]
fn bugs_that_are_built_in_are_caught() {
    torture(
        "controls",
        "--store redis --sabotage fencing-off --sabotage deadline-from-answer --sabotage wall-clock --sabotage counter-reset \
         --sabotage mixed-up-answers",
    );
}
