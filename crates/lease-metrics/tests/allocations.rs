//! An event costs no allocation once its group is known.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unsafe_code, reason = "an allocator that counts")]

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use lease_core::{LeaseEvent, Observer};
use lease_metrics::{Groups, LeaseMetrics};
use opentelemetry::metrics::MeterProvider;
use support::{Otel, World};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: it passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_event_of_a_known_group_allocates_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let events = runtime.block_on(async {
        let (world, events) = World::new([]);
        world.everything().await;
        std::mem::take(&mut *events.0.lock().unwrap())
    });
    let otel = Otel::new();
    let observers = [
        ("otel", LeaseMetrics::otel(&otel.provider.meter("lease"))),
        // Without a recorder: what a recorder allocates is its own.
        ("metrics", LeaseMetrics::facade()),
    ];
    for (way, observer) in observers {
        let observer = observer.with_groups(Groups::up_to('/')).with_store("memory");
        let allocations = || {
            let before = ALLOCATIONS.get();
            events.iter().for_each(|event: &LeaseEvent| observer.observe(event));
            ALLOCATIONS.get() - before
        };
        assert!(allocations() > 0, "groups are new");
        assert_eq!((allocations(), allocations()), (0, 0), "{way}: {} events", events.len());
    }
}
