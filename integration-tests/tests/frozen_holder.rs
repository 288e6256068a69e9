//! A process that is frozen for longer than its lease lasts.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

struct Holder {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_hold-lease")).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// S4, S18: the first call after the freeze says lost, and no renewal that comes late flips it back.
#[test]
fn s04_a_frozen_holder_sees_its_loss_at_its_first_call() {
    let mut holder = Holder::start();
    assert_eq!(holder.line(), "held");
    // It is renewed for a while, then frozen for longer than its ttl.
    std::thread::sleep(Duration::from_millis(1000));
    holder.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(1500));
    holder.signal(Signal::CONT);
    assert_eq!(holder.line(), "woke up: held = false");
    assert_eq!(holder.line(), "later: held = false");
    assert!(holder.process.wait().unwrap().success());
}
