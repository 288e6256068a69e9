//! The harness of the memory store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{Clock, LeaseName, LeaseStore, TokioClock};
use lease_memory::MemoryStore;
use lease_testkit::{Harness, Injection};

pub(crate) struct MemoryHarness {
    clock: TokioClock,
    store: MemoryStore,
    ttl: Duration,
    tolerance: Duration,
}

impl MemoryHarness {
    pub(crate) fn paused() -> Self {
        let clock = TokioClock::new();
        let store = MemoryStore::with_clock(clock);
        Self { clock, store, ttl: Duration::from_secs(10), tolerance: Duration::from_millis(100) }
    }

    pub(crate) async fn real() -> Self {
        Self { ttl: Duration::from_millis(600), tolerance: Duration::from_secs(3), ..Self::paused() }
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

    fn ttl(&self) -> Duration {
        self.ttl
    }

    fn tolerance(&self) -> Duration {
        self.tolerance
    }

    async fn remove_record(&self, name: &LeaseName) -> Injection {
        self.store.remove(name);
        Injection::Done
    }
}
