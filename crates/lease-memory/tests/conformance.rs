//! The reference store keeps every promise.

use std::sync::Arc;
use std::time::Duration;

use lease_core::{Clock, LeaseName, LeaseStore, TokioClock, async_trait};
use lease_memory::MemoryStore;
use lease_testkit::{Harm, Harness};

struct MemoryHarness {
    clock: TokioClock,
    store: MemoryStore,
}

impl MemoryHarness {
    fn new() -> Self {
        let clock = TokioClock::new();
        Self { clock, store: MemoryStore::with_clock(clock) }
    }
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        Arc::new(self.store.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock)
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(100)
    }

    async fn remove_record(&self, name: &LeaseName) -> Harm {
        self.store.remove(name);
        Harm::Done
    }
}

mod paused {
    lease_testkit::conformance!(paused, super::MemoryHarness::new);
}

/// In real time too: the cases must not rest on paused time.
mod real {
    async fn start() -> super::MemoryHarness {
        super::MemoryHarness::new()
    }

    lease_testkit::conformance!(real, start);
}
