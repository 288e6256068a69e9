//! The test bed: documents in memory, behind a network and a clock that do harm.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bed;
mod documents;
mod harness;

pub use bed::{Bed, Request};
pub use documents::{MemoryDocuments, Variant};
pub use harness::BedHarness;

use std::{sync::Arc, time::Duration};

use lease_core::AcquireRequest;
use lease_document::DocumentStore;
use lease_testkit::calls;

/// A process with a store of its own.
pub fn store(bed: &Bed, variant: &Variant) -> DocumentStore<MemoryDocuments> {
    let documents = MemoryDocuments { bed: bed.clone(), variant: variant.clone() };
    DocumentStore::builder(documents).clock(Arc::clone(&bed.clock)).build()
}

pub fn request(job: &str, holder: &str, ttl: Duration) -> AcquireRequest {
    calls::request(calls::name(job), calls::holder(holder), ttl)
}
