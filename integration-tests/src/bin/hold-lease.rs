//! Holds a lease in a process that can be frozen as a whole, and prints `is_held()`.
//!
//! Prints `held`. After a gap in its time that is longer than the ttl, prints `woke up: held = …` as its first action, and
//! after the time for late renewals, `later: held = …`.

use std::{process::ExitCode, thread, time::Duration};

use lease_core::{Clock, Lease, LeaseClient, SystemClock};
use lease_memory::MemoryStore;

const TTL: Duration = Duration::from_millis(600);

fn main() -> ExitCode {
    match hold() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn hold() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let client = LeaseClient::new(MemoryStore::with_clock(SystemClock));
    let lease: Lease = runtime.block_on(client.try_acquire("job", TTL))?.acquired().ok_or("the lease is free")?;
    println!("held");
    let mut last = SystemClock.now();
    loop {
        thread::sleep(Duration::from_millis(1));
        let now = SystemClock.now();
        if now.saturating_since(last) > TTL {
            println!("woke up: held = {}", lease.is_held());
            thread::sleep(TTL);
            println!("later: held = {}", lease.is_held());
            return Ok(());
        }
        last = now;
    }
}
