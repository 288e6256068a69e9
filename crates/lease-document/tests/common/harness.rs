//! The harness of the conformance suite over the test bed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{Clock, ExpiryJudge, LeaseName, LeaseStore, TokioClock};
use lease_document::{Change, DocumentStore};
use lease_testkit::{Harness, Injection};

use super::{Bed, MemoryDocuments, Variant};

pub struct BedHarness {
    bed: Bed,
    variant: Variant,
}

impl BedHarness {
    pub fn new(variant: Variant) -> Self {
        Self { bed: Bed::new(TokioClock::new()), variant }
    }

    /// Changes the faults of the bed that last for the whole case.
    pub fn with(self, change: impl FnOnce(&Bed)) -> Self {
        change(&self.bed);
        self
    }
}

#[async_trait]
impl Harness for BedHarness {
    async fn store(&self) -> Arc<dyn LeaseStore> {
        let documents = MemoryDocuments { bed: self.bed.clone(), variant: self.variant.clone() };
        Arc::new(DocumentStore::builder(documents).clock(Arc::clone(&self.bed.clock)).build())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.bed.clock)
    }

    fn ttl(&self) -> Duration {
        self.variant.ttl
    }

    fn tolerance(&self) -> Duration {
        // An interval of the clock is as wide as its resolution, a round trip and the drift; it delays an expiry twice.
        let width = self.variant.resolution.unwrap_or_default() + self.variant.latency * 2 + self.variant.ttl / 50;
        let slack = match self.variant.judge {
            ExpiryJudge::ServersWallClocks { slack } => slack * 4,
            _ => Duration::ZERO,
        };
        Duration::from_millis(500) + width * 2 + slack
    }

    async fn freeze(&self) -> Injection {
        self.bed.freeze(true);
        Injection::Done
    }

    async fn thaw(&self) {
        self.bed.freeze(false);
    }

    async fn cut(&self) -> Injection {
        self.bed.cut();
        self.bed.changes.disconnected();
        Injection::Done
    }

    async fn lose_answers(&self) -> Injection {
        self.bed.state().loses_answers = true;
        Injection::Done
    }

    async fn delay_answers(&self, delay: Duration) -> Injection {
        self.bed.state().answer_delay = delay;
        Injection::Done
    }

    async fn delay_requests(&self, delay: Duration) -> Injection {
        self.bed.state().request_delay = delay;
        Injection::Done
    }

    async fn heal(&self) {
        {
            let mut state = self.bed.state();
            state.is_cut = false;
            state.loses_answers = false;
            state.answer_delay = Duration::ZERO;
            state.request_delay = Duration::ZERO;
        }
        self.bed.changes.connected();
    }

    async fn set_clock_back(&self, by: Duration) -> Injection {
        self.bed.state().clock_back = by;
        Injection::Done
    }

    async fn restart(&self) -> Injection {
        let cut = self.cut().await;
        tokio::task::yield_now().await;
        self.heal().await;
        cut
    }

    async fn crash(&self) -> Injection {
        self.restart().await
    }

    async fn remove_record(&self, name: &LeaseName) -> Injection {
        self.bed.state().documents.remove(name);
        self.bed.changes.notify(name, Change::Deleted);
        Injection::Done
    }
}
