//! Names and holder ids are compared byte by byte (S21).

use std::slice::from_ref;

use lease_core::{Acquired, HolderId, LeaseName};

use crate::{
    bench::Bench,
    calls::{claim, granted, inspected, name, only, refused, release},
};

/// Names that a store may fold, truncate, escape, or misinterpret.
fn awkward_names() -> Vec<LeaseName> {
    let longest = "n".repeat(LeaseName::MAX_BYTES - 1);
    let mut names: Vec<String> = [
        "job", "Job", "JOB", "job2", "jo", "job/", "/job", "job//x", "job/x", "%", "%%", "%s", "_", "__", "}", "{",
        "{job}", "}x", "*", "**", "?", "[", "'", "''", "\"", "\"\"", "\\", "\\\\", "\\'", "$1", "${job}", ":", "a:b",
        "a::b", ";", "--", "job;--", "../job", ".", "..", "~", "`", "NULL", "0", "00", "-1", "#", "@", "&", "|",
        "<job>", "=", "+", ",", "!",
    ]
    .map(str::to_owned)
    .to_vec();
    names.extend(["a", "b", "A", "%"].map(|last| format!("{longest}{last}")));
    names.push(longest);
    names.push(('!'..='~').collect());
    names.iter().map(|each| name(each)).collect()
}

/// Each valid name is a lease of its own.
pub async fn s21_names_are_byte_exact(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let requests: Vec<_> = awkward_names()
        .iter()
        .map(|awkward| {
            let mut request = bench.request(awkward);
            request.ttl = bench.ttl * 30;
            request
        })
        .collect();
    let mut grants = Vec::new();
    for request in &requests {
        grants.push(granted(&*store, request).await);
    }
    for (request, grant) in requests.iter().zip(&grants) {
        let record = inspected(&*other, &request.name).await.expect("held");
        assert_eq!((&record.name, &record.holder, record.token), (&request.name, &request.holder, grant.token));
    }
    // An operation on one name affects no other name.
    for (request, grant) in requests.iter().zip(&grants).step_by(2) {
        release(&*other, &claim(request, *grant)).await;
    }
    for (index, request) in requests.iter().enumerate() {
        let record = inspected(&*store, &request.name).await;
        assert_eq!(record.is_some(), index % 2 == 1, "{}", request.name);
    }
}

/// Each valid name is a lease of its own, in one batch.
pub async fn s21_names_are_byte_exact_in_a_batch(bench: &Bench) {
    let store = bench.store().await;
    let requests: Vec<_> = awkward_names().iter().map(|awkward| bench.request(awkward)).collect();
    for (request, answer) in requests.iter().zip(store.acquire(&requests).await) {
        assert!(matches!(answer, Ok(Acquired::Granted(_))), "{}: {answer:?}", request.name);
    }
    let names: Vec<_> =
        store.list("", None, 200).await.expect("list answers").into_iter().map(|record| record.name).collect();
    let mut expected = awkward_names();
    expected.sort();
    assert_eq!(names, expected);
}

/// Each valid holder id is a holder of its own.
pub async fn s21_holders_are_byte_exact(bench: &Bench) {
    let store = bench.store().await;
    let longest = "h".repeat(HolderId::MAX_BYTES - 1);
    let holders = ["pod-1", "POD-1", "pod 1", " pod-1", "pod-1 ", "Zoë 👍", "'; --", "\"", "\\", "%s", "{}", "NULL"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("{longest}a"), format!("{longest}b")]);
    for (number, holder) in holders.enumerate() {
        let mut request = bench.request(&name(&format!("job-{number}")));
        request.holder = HolderId::new(&holder).expect("a valid holder");
        let grant = granted(&*store, &request).await;
        assert_eq!(inspected(&*store, &request.name).await.map(|record| record.holder), Some(request.holder.clone()));
        let mut other = claim(&request, grant);
        other.holder = HolderId::new(holder.to_uppercase().trim().replace("POD-1", "pod-2")).expect("a valid holder");
        if other.holder != request.holder {
            release(&*store, &other).await;
        }
        refused(&*store, &bench.request(&request.name)).await;
        assert!(matches!(only(store.acquire(from_ref(&request)).await), Ok(Acquired::Granted(_))));
    }
}
