//! Runs one case in a runtime of its own.

use std::{pin::Pin, time::Duration};

use tokio::runtime::{Builder, Runtime};

use crate::{MakeHarness, bench::Bench};

/// The longest time for a case, so that none hangs.
const LONGEST: Duration = Duration::from_secs(180);

/// Runs a case in paused time, on one thread. Time advances when no task can run.
pub fn paused<Kind>(harness: impl MakeHarness<Kind>, case: impl AsyncFnOnce(&Bench)) {
    run(Builder::new_current_thread().enable_all().start_paused(true), harness, case);
}

/// Runs a case in real time, on several threads, with a real server.
pub fn real<Kind>(harness: impl MakeHarness<Kind>, case: impl AsyncFnOnce(&Bench)) {
    run(Builder::new_multi_thread().worker_threads(2).enable_all(), harness, case);
}

/// Returns a case that sends each single request between two others in one call.
pub fn between_neighbours(case: impl AsyncFnOnce(&Bench)) -> impl AsyncFnOnce(&Bench) {
    async |bench: &Bench| {
        bench.between_neighbours();
        case(bench).await;
    }
}

fn run<Kind>(runtime: &mut Builder, harness: impl MakeHarness<Kind>, case: impl AsyncFnOnce(&Bench)) {
    let whole = async {
        let bench = Bench::new(harness.make().await);
        let case: Erased<'_> = Box::pin(case(&bench));
        bench.expect_within("the case ends", LONGEST, case).await;
        bench.stop().await;
    };
    block_on(runtime, Box::pin(whole));
}

/// A future without its type, so that what runs it is compiled once, and not for each case of each store.
type Erased<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

fn block_on(runtime: &mut Builder, whole: Erased<'_>) {
    let runtime: Runtime = runtime.build().expect("a runtime");
    runtime.block_on(whole);
    runtime.shutdown_background();
}
