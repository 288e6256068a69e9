//! Many elements in one call: answered in order, each atomic and failing by itself (L7).

use std::{collections::HashSet, sync::Arc, time::Duration};

use lease_core::{
    AcquireRequest, Acquired, Claim, ErrorKind, GrantId, HolderId, LeaseStore, ReleaseRequest, Released, RenewRequest,
    Renewed,
};

use crate::{
    bench::Bench,
    calls::{acquired, claim, extended, granted, inspected, lost, name, plain_release, refused, release, renewal},
};

/// The most elements that the client puts into one call.
const MOST: usize = 256;

/// An empty call has no answers.
pub async fn an_empty_batch_has_no_answers(bench: &Bench) {
    let store = bench.store().await;
    assert!(store.acquire(&[]).await.is_empty());
    assert!(store.renew(&[]).await.is_empty());
    assert!(store.release(&[]).await.is_empty());
}

/// The largest batch of the client is granted, renewed and released in one call each, with the answers in order.
pub async fn a_full_batch_is_answered_in_order(bench: &Bench) {
    let store = bench.store().await;
    let requests = requests(bench, MOST);
    let claims = all_granted(&*store, &requests).await;
    for (request, claim) in requests.iter().zip(&claims).step_by(51) {
        let record = inspected(&*store, &request.name).await.expect("held");
        assert_eq!(record.holder, claim.holder);
    }
    let renewals: Vec<_> = claims.iter().map(|claim| renewal(claim, bench.ttl * 30)).collect();
    let renewed = store.renew(&renewals).await;
    assert_eq!(renewed.len(), MOST);
    assert!(renewed.iter().all(|answer| matches!(answer, Ok(Renewed::Extended { .. }))), "{renewed:?}");
    let releases: Vec<_> = claims.iter().map(plain_release).collect();
    let released = store.release(&releases).await;
    assert_eq!(released.len(), MOST);
    assert!(released.iter().all(|answer| matches!(answer, Ok(Released::Freed))), "{released:?}");
    assert!(store.list("job/", None, 10).await.expect("list answers").is_empty());
}

/// Free, held, own, spent, blocked and reserved names in one call: each gets its own answer, in its place.
pub async fn acquires_of_every_outcome_in_one_batch(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let batch = requests(bench, 48);
    for (index, request) in batch.iter().enumerate() {
        match index % 6 {
            1 => drop(granted(&*other, &bench.request(&request.name).with_ttl(request.ttl)).await),
            2 => drop(granted(&*other, request).await),
            3 => {
                let claim = claim(request, granted(&*other, request).await);
                release(&*other, &claim).await;
            }
            4 | 5 => {
                let blocker = bench.request(&request.name).with_ttl(request.ttl);
                let claim = claim(&blocker, granted(&*other, &blocker).await);
                let reserved_for = (index % 6 == 5).then(|| request.holder.clone());
                let hold = ReleaseRequest::new(claim).with_hold_for(request.ttl).with_reserved_for(reserved_for);
                other.release(&[hold]).await;
            }
            _ => {}
        }
    }
    let answers = store.acquire(&batch).await;
    assert_eq!(answers.len(), batch.len());
    for (index, (request, answer)) in batch.iter().zip(answers).enumerate() {
        let answer = answer.expect("acquire answers");
        match index % 6 {
            1 | 4 => assert!(matches!(answer, Acquired::Held { .. }), "{index}: {answer:?}"),
            3 => match answer {
                Acquired::Spent => {}
                other => assert!(!store.capabilities().remembers_last_grant, "{index}: {other:?}"),
            },
            _ => {
                assert!(matches!(answer, Acquired::Granted(_)), "{index}: {answer:?}");
                let record = inspected(&*store, &request.name).await.expect("held");
                assert_eq!(record.holder, request.holder);
            }
        }
    }
}

/// Valid and invalid renewals in one call: each gets its own answer.
pub async fn s07_renewals_of_every_outcome_in_one_batch(bench: &Bench) {
    let store = bench.store().await;
    let claims = all_granted(&*store, &requests(bench, 40)).await;
    let mut batch = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        let mut claim = claim.clone();
        match index % 5 {
            1 => drop(release(&*store, &claim).await),
            2 => claim.grant = GrantId::random(),
            3 => claim.holder = bench.holder(),
            4 => claim.name = name(&format!("unknown/{index}")),
            _ => {}
        }
        batch.push(renewal(&claim, bench.ttl * 30));
    }
    let answers = store.renew(&batch).await;
    assert_eq!(answers.len(), batch.len());
    for (index, answer) in answers.into_iter().enumerate() {
        let is_extended = matches!(answer.expect("renew answers"), Renewed::Extended { .. });
        assert_eq!(is_extended, index % 5 == 0, "element {index}");
    }
}

/// Valid and invalid releases in one call: each gets its own answer, and affects no other grant.
pub async fn s11_releases_of_every_outcome_in_one_batch(bench: &Bench) {
    let store = bench.store().await;
    let requests = requests(bench, 40);
    let claims = all_granted(&*store, &requests).await;
    let successor = bench.holder();
    let mut batch = Vec::new();
    for (index, claim) in claims.iter().enumerate() {
        let mut release_request = plain_release(claim);
        match index % 5 {
            1 => drop(release(&*store, claim).await),
            2 => release_request.claim.grant = GrantId::random(),
            3 => release_request.hold_for = bench.ttl * 30,
            4 => {
                release_request.hold_for = bench.ttl * 30;
                release_request.reserved_for = Some(successor.clone());
            }
            _ => {}
        }
        batch.push(release_request);
    }
    for (index, answer) in store.release(&batch).await.into_iter().enumerate() {
        let expected = if matches!(index % 5, 1 | 2) { Released::NotHeld } else { Released::Freed };
        assert_eq!(answer.expect("release answers"), expected, "element {index}");
    }
    for (index, request) in requests.iter().enumerate() {
        match index % 5 {
            2 => drop(extended(&*store, &claims[index], bench.ttl).await),
            3 => refused(&*store, &bench.request(&request.name)).await,
            4 => {
                refused(&*store, &bench.request(&request.name)).await;
                granted(&*store, &bench.request(&request.name).with_holder(successor.clone())).await;
            }
            _ => drop(granted(&*store, &bench.request(&request.name)).await),
        }
    }
}

/// An invalid element fails alone.
pub async fn l07_a_poisonous_element_fails_alone(bench: &Bench) {
    let store = bench.store().await;
    let mut batch = requests(bench, 9);
    batch[4].ttl = store.capabilities().max_ttl.saturating_add(Duration::from_secs(1));
    for (index, answer) in store.acquire(&batch).await.into_iter().enumerate() {
        match answer {
            Ok(Acquired::Granted(_)) => assert_ne!(index, 4),
            Err(error) => assert!(index == 4 && error.kind() == ErrorKind::Invalid, "element {index}: {error}"),
            other => panic!("element {index}: {other:?}"),
        }
    }
    assert_eq!(inspected(&*store, &batch[4].name).await, None);
}

/// Concurrent batches of the same names in opposite order: each name has one winner, and no call fails.
pub async fn s14_crossing_batches_have_one_winner_a_name(bench: &Bench) {
    let stores = [bench.store().await, bench.store().await];
    for round in 0..4 {
        let names: Vec<_> = (0..64).map(|number| name(&format!("{round}/{number}"))).collect();
        let contender = |store: &Arc<dyn LeaseStore>, is_reversed: bool| {
            let mut batch: Vec<_> = names.iter().map(|job| bench.request(job)).collect();
            // None expires before the last batch has ended, on whatever machine.
            batch.iter_mut().for_each(|request| request.ttl = bench.ttl * 30);
            if is_reversed {
                batch.reverse();
            }
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let answers = store.acquire(&batch).await;
                batch.into_iter().map(|request| request.name).zip(answers).collect::<Vec<_>>()
            })
        };
        let contenders: Vec<_> = (0..6).map(|number| contender(&stores[number % 2], number % 3 == 0)).collect();
        let mut won = HashSet::new();
        for contender in contenders {
            for (job, answer) in contender.await.expect("no panic") {
                match answer {
                    Ok(Acquired::Granted(_)) => assert!(won.insert(job.clone()), "{job} has two winners"),
                    Ok(_) => {}
                    Err(error) => bench.assert_is_locked(&error),
                }
            }
        }
        assert_eq!(won.len(), names.len());
    }
}

/// Renewals and releases of the same names cross many times: a released name is never renewed afterwards, and no call fails.
pub async fn s12_no_renewal_after_a_release_when_batches_cross(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    for round in 0..8 {
        let mut claims = all_granted(&*store, &requests(bench, 64)).await;
        claims.rotate_left(round * 5);
        let renewals: Vec<RenewRequest> = claims.iter().rev().map(|claim| renewal(claim, bench.ttl * 30)).collect();
        let releases: Vec<ReleaseRequest> = claims.iter().map(plain_release).collect();
        let (renewed, released) = tokio::join!(store.renew(&renewals), other.release(&releases));
        assert!(renewed.iter().all(Result::is_ok), "round {round}: {renewed:?}");
        assert!(released.iter().all(|answer| matches!(answer, Ok(Released::Freed))), "round {round}: {released:?}");
        for claim in &claims {
            lost(&*store, claim, bench.ttl).await;
        }
        assert!(store.list("job/", None, 10).await.expect("list answers").is_empty());
    }
}

/// A repeated batch finds its own grants, in any order of its elements.
pub async fn s13_a_repeated_batch_meets_its_own_grants(bench: &Bench) {
    let (store, other) = (bench.store().await, bench.store().await);
    let mut batch = requests(bench, 40);
    let token = |acquired: lease_core::Result<Acquired>| match acquired {
        Ok(Acquired::Granted(grant)) => grant.token,
        other => panic!("unexpected answer: {other:?}"),
    };
    let mut first: Vec<_> = store.acquire(&batch).await.into_iter().map(token).collect();
    batch.reverse();
    first.reverse();
    let again: Vec<_> = other.acquire(&batch).await.into_iter().map(token).collect();
    assert_eq!(again, first);
    for request in &batch {
        assert!(matches!(acquired(&*store, &bench.request(&request.name)).await, Acquired::Held { .. }));
    }
}

/// Returns `count` requests for different names, in an unsorted order.
fn requests(bench: &Bench, count: usize) -> Vec<AcquireRequest> {
    let request = |number: usize| {
        let mut request = bench.request(&name(&format!("job/{}", number * 151 % 257)));
        request.ttl = bench.ttl * 30;
        request.holder = HolderId::new(format!("holder of {}", request.name)).expect("a valid holder");
        request
    };
    (0..count).map(request).collect()
}

async fn all_granted(store: &dyn LeaseStore, requests: &[AcquireRequest]) -> Vec<Claim> {
    let answers = store.acquire(requests).await;
    assert_eq!(answers.len(), requests.len());
    let granted = |(request, answer)| match answer {
        Ok(Acquired::Granted(grant)) => claim(request, grant),
        other => panic!("{}: {other:?}", AcquireRequest::clone(request).name),
    };
    requests.iter().zip(answers).map(granted).collect()
}
