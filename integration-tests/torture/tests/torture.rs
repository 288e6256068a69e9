//! A short selection of the torture test, which `just torture` runs as a whole: the most significant faults of each store, and
//! the negative controls, with random seeds. A failure prints its seed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

/// Held by a run, because only one may use the machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs cases, all of which must pass.
#[track_caller]
fn torture(name: &str, arguments: &str) {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    let output = command.arg("run").args(arguments.split(' ')).arg("--out").arg(out).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{stdout}");
    assert!(output.status.success(), "{stdout}\n{stderr}");
}

#[test]
fn postgres_passes() {
    torture("postgres", "--store postgres --fault worker-frozen --fault lossy-fail-over --fault everything");
}

#[test]
fn redis_passes() {
    torture("redis", "--store redis --fault worker-frozen --fault server-emptied --fault everything");
}

#[test]
fn a_redis_cluster_passes() {
    torture("redis-cluster", "--store redis-cluster --fault server-killed --fault slot-half-moved --fault everything");
}

#[test]
fn etcd_passes() {
    torture("etcd", "--store etcd --fault leader-killed --fault everything");
}

/// C8: a test that does not catch a defect proves nothing.
#[test]
fn injected_defects_are_caught() {
    torture(
        "controls",
        "--store redis --sabotage fencing-off --sabotage deadline-from-answer --sabotage wall-clock --sabotage counter-reset \
         --sabotage mixed-up-answers",
    );
}
