//! Inspections and lists.

use std::time::Duration;

use lease_core::{LeaseName, LeaseStore};

use crate::{
    bench::Bench,
    calls::{claim, granted, inspected, name, only, plain_release, release},
};

/// An inspection returns the holder of a lease, its beginning and its remaining time.
pub async fn an_inspection_says_who_holds_the_lease(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    let record = inspected(&*other, &request.name).await.expect("held");
    let longest = bench.rounded(bench.ttl, &store.capabilities());
    assert_eq!((&record.name, &record.holder, record.token), (&request.name, &request.holder, grant.token));
    assert!(record.ttl >= bench.ttl && record.ttl <= longest, "{:?}", record.ttl);
    assert!(record.remaining > Duration::ZERO && record.remaining <= longest, "{:?}", record.remaining);
    assert!(record.metadata.is_empty() && !record.released);
}

/// The remaining time decreases, and an inspection changes nothing.
pub async fn an_inspection_changes_nothing(bench: &Bench) {
    let store = bench.store().await;
    let request = bench.request(&name("job"));
    granted(&*store, &request).await;
    let first = inspected(&*store, &request.name).await.expect("held");
    // What a process knows of the store's clock may be as coarse as its resolution: nothing falls before that has passed.
    let pause = if store.capabilities().agrees_on_expiry { bench.ttl / 4 } else { bench.ttl / 2 };
    bench.sleep(pause).await;
    let second = inspected(&*store, &request.name).await.expect("the lease is still held");
    assert!(second.remaining < first.remaining, "{:?} left, then {:?}", first.remaining, second.remaining);
    assert_eq!((first.acquired_at, first.token), (second.acquired_at, second.token));
}

/// A free name has no record, whether it was never leased, was released or has expired.
pub async fn a_free_name_has_no_record(bench: &Bench) {
    let store = bench.store().await;
    assert_eq!(inspected(&*store, &name("never-leased")).await, None);
    let request = bench.request(&name("job"));
    let grant = granted(&*store, &request).await;
    release(&*store, &claim(&request, grant)).await;
    assert_eq!(inspected(&*store, &request.name).await, None);
    granted(&*store, &bench.request(&request.name)).await;
    bench.wait_until_free(&*store, &request.name).await;
    assert_eq!(inspected(&*store, &request.name).await, None);
}

/// A list has the leases in force whose names begin with the prefix, in byte order.
pub async fn a_list_has_the_leases_of_a_prefix_in_order(bench: &Bench) {
    let store = bench.store().await;
    for job in ["b", "a/2", "a/10", "A/1", "a/1", "a", "aa", "a0"] {
        hold(bench, &*store, job, bench.ttl * 20).await;
    }
    assert_eq!(listed(&*store, "a/", None, 10).await, ["a/1", "a/10", "a/2"]);
    assert_eq!(listed(&*store, "a", None, 10).await, ["a", "a/1", "a/10", "a/2", "a0", "aa"]);
    assert_eq!(listed(&*store, "", None, 10).await, ["A/1", "a", "a/1", "a/10", "a/2", "a0", "aa", "b"]);
    assert_eq!(listed(&*store, "c", None, 10).await, Vec::<String>::new());
}

/// The pages of a list repeat and miss no lease.
pub async fn a_list_comes_in_pages(bench: &Bench) {
    let store = bench.store().await;
    let mut expected = Vec::new();
    for number in 0..23 {
        expected.push(format!("job/{number:02}"));
        hold(bench, &*store, &expected[number], bench.ttl * 30).await;
    }
    hold(bench, &*store, "other", bench.ttl * 30).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = listed(&*store, "job/", after.as_ref(), 5).await;
        assert!(page.len() <= 5, "{page:?}");
        let Some(last) = page.last() else { break };
        after = Some(name(last));
        seen.extend(page);
    }
    assert_eq!(seen, expected);
    assert_eq!(listed(&*store, "job/", Some(&name("job/1")), 2).await, ["job/10", "job/11"]);
    assert_eq!(listed(&*store, "job/", Some(&name("zzz")), 2).await, Vec::<String>::new());
    assert_eq!(listed(&*store, "job/", Some(&name("a")), 1).await, ["job/00"]);
    assert_eq!(listed(&*store, "job/", None, 0).await, Vec::<String>::new());
}

/// A list has no lease that has ended. It has blocked names.
pub async fn a_list_has_no_lease_that_has_ended(bench: &Bench) {
    let store = bench.store().await;
    for job in ["expired", "gone"] {
        hold(bench, &*store, job, bench.ttl).await;
    }
    hold(bench, &*store, "held", bench.ttl * 30).await;
    for (job, hold_for) in [("released", Duration::ZERO), ("blocked", bench.ttl * 30)] {
        let request = bench.request(&name(job));
        let claim = claim(&request, granted(&*store, &request).await);
        let request = plain_release(&claim).with_hold_for(hold_for);
        only(store.release(&[request]).await).expect("release answers");
    }
    for job in ["expired", "gone"] {
        bench.wait_until_free(&*store, &name(job)).await;
    }
    assert_eq!(listed(&*store, "", None, 10).await, ["blocked", "held"]);
    // A page is full although ended leases lie between those in force.
    assert_eq!(listed(&*store, "", Some(&name("blocked")), 1).await, ["held"]);
}

/// A prefix is compared byte by byte; it is not a pattern.
pub async fn s21_a_prefix_is_no_pattern(bench: &Bench) {
    let store = bench.store().await;
    let jobs = ["%", "%x", "*", "?", "[a]", "\\", "\\%", "_", "_x", "a", "a_", "a_b", "ab", "axb"];
    for job in jobs {
        hold(bench, &*store, job, bench.ttl * 30).await;
    }
    for prefix in ["%", "_", "*", "?", "[a]", "\\", "\\%", "a_", "a%", "A"] {
        let expected: Vec<_> = jobs.iter().filter(|job| job.starts_with(prefix)).copied().collect();
        assert_eq!(listed(&*store, prefix, None, 20).await, expected, "prefix {prefix:?}");
    }
}

async fn hold(bench: &Bench, store: &dyn LeaseStore, job: &str, ttl: Duration) {
    let mut request = bench.request(&name(job));
    request.ttl = ttl;
    granted(store, &request).await;
}

async fn listed(store: &dyn LeaseStore, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Vec<String> {
    let page = store.list(prefix, after, limit).await.expect("list answers");
    page.iter().map(|record| record.name.to_string()).collect()
}
