//! The error of a failed call names the lease, wherever the call failed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use lease_core::{
    Break, Error, ErrorKind, FencingToken, LeaseClient, LeaseEvent, LeaseOptions, Observer, Renewal, TokioClock,
};
use lease_testkit::{Fault, Operation};

use crate::support::{TTL, TroubledStore, chaos, client_of, pass, settle};

/// Checks that the error and its text name this lease, once.
fn assert_names(error: &Error, lease: &str) {
    assert_eq!(error.lease().map(lease_core::LeaseName::as_str), Some(lease), "{error}");
    let expected = format!("{} {lease}", error.operation());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(error.to_string().matches(lease).count(), 1, "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_each_operation_names_its_lease() {
    let chaos = chaos();
    let client = client_of(&chaos);
    let by_hand = LeaseOptions::new(TTL).with_renewal(Renewal::Manual);
    let lease = client.try_acquire("job-1", by_hand).await.unwrap().acquired().unwrap();
    for operation in [Operation::Acquire, Operation::Renew, Operation::Release, Operation::Inspect, Operation::Break] {
        chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(operation));
    }
    assert_names(&client.try_acquire("job-2", TTL).await.unwrap_err(), "job-2");
    assert_names(&lease.renew().await.unwrap_err(), "job-1");
    assert_names(&client.inspect("job-3").await.unwrap_err(), "job-3");
    let token = FencingToken::new(1).unwrap();
    assert_names(&client.break_lease("job-4", token, Break::Now).await.unwrap_err(), "job-4");
    assert_names(&lease.release().await.unwrap_err(), "job-1");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_whole_batch_names_the_lease_of_each_request() {
    let store = TroubledStore::new();
    let client = crate::support::client(&store);
    store.close_gate();
    let mut tries = Vec::new();
    for name in ["poison-1", "poison-2", "poison-3", "poison-4"] {
        let client = client.clone();
        tries.push((name, tokio::spawn(async move { client.try_acquire(name, TTL).await.map(drop) })));
    }
    settle().await;
    store.open_gate();
    for (name, tried) in tries {
        assert_names(&tried.await.unwrap().unwrap_err(), name);
    }
    assert!(store.calls("acquire").iter().any(|requests| *requests > 1), "{:?}", store.calls("acquire"));
}

#[tokio::test(start_paused = true)]
async fn the_errors_of_calls_without_an_answer_name_the_lease() {
    let store = TroubledStore::new();
    let client = crate::support::client(&store);
    let mut hung = Box::pin(client.try_acquire("hang-1", TTL));
    assert!(futures::poll!(&mut hung).is_pending());
    let mut unsent = Box::pin(client.try_acquire("job-1", TTL));
    assert!(futures::poll!(&mut unsent).is_pending());
    tokio::time::advance(Duration::from_secs(5) - Duration::from_micros(700)).await;
    let error = unsent.await.unwrap_err();
    assert!(error.to_string().contains("not sent"), "{error}");
    assert_names(&error, "job-1");
    let error = hung.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    assert_names(&error, "hang-1");
}

#[tokio::test(start_paused = true)]
async fn the_wait_limit_and_a_loss_name_the_lease() {
    let chaos = chaos();
    let (one, two) = (client_of(&chaos), client_of(&chaos));
    let by_hand = LeaseOptions::new(TTL).with_renewal(Renewal::Manual);
    let lease = one.try_acquire("job-1", &by_hand).await.unwrap().acquired().unwrap();
    let limited = LeaseOptions::new(TTL).with_wait_limit(Duration::from_secs(2));
    let error = two.acquire("job-1", limited).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitLimit);
    assert_names(&error, "job-1");
    pass(TTL).await;
    let error = lease.renew().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_names(&error, "job-1");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_list_names_no_lease() {
    let chaos = chaos();
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::List));
    let error = client_of(&chaos).list("", None, 10).await.unwrap_err();
    assert_eq!(error.lease(), None);
    assert!(error.to_string().starts_with("list in chaos: unavailable"), "{error}");
}

/// Keeps the errors of the renewals that are reported.
#[derive(Debug, Clone, Default)]
struct RenewalErrors(Arc<Mutex<Vec<Error>>>);

impl Observer for RenewalErrors {
    fn observe(&self, event: &LeaseEvent) {
        if let LeaseEvent::RenewalFailed { error, .. } | LeaseEvent::Jeopardy { error, .. } = event {
            self.0.lock().unwrap().push(error.clone());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_errors_of_renewals_in_the_background_name_the_lease() {
    let (chaos, failed) = (chaos(), RenewalErrors::default());
    let client = LeaseClient::builder(chaos.clone()).clock(TokioClock::new()).observer(failed.clone()).build();
    let _failing = client.try_acquire("job-1", TTL).await.unwrap().acquired().unwrap();
    chaos.inject(Fault::Fail(ErrorKind::Unavailable).on(Operation::Renew));
    let (store, overdue) = (TroubledStore::new(), RenewalErrors::default());
    let client = crate::support::builder(&store).observer(overdue.clone()).build();
    let _stuck = client.try_acquire("stuck-1", TTL).await.unwrap().acquired().unwrap();
    for _ in 0..TTL.as_secs() {
        pass(Duration::from_secs(1)).await;
    }
    for (errors, lease) in [(failed, "job-1"), (overdue, "stuck-1")] {
        let errors = errors.0.lock().unwrap();
        assert!(errors.len() > 1, "{errors:?}");
        errors.iter().for_each(|error| assert_names(error, lease));
    }
}
