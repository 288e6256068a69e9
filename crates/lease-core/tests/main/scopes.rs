//! Scopes of exclusive work.

use std::time::Duration;

use lease_core::{ErrorKind, LeaseOptions, LeaseState, LossReason, TryAcquired};

use crate::support::{TTL, TroubledStore, client, is_free, pass, settle};

#[tokio::test(start_paused = true)]
async fn s05_a_scope_tells_of_its_loss_without_waiting_for_the_store() {
    let store = TroubledStore::new();
    let client = client(&store);
    let scope = tokio::spawn(async move { client.run("job", TTL, |_| std::future::pending::<()>()).await });
    settle().await;
    store.close_gate();
    pass(TTL).await;
    assert!(scope.is_finished(), "the loss was due before, and the store does not answer");
    assert_eq!(scope.await.unwrap().unwrap_err().kind(), ErrorKind::Lost);

    // Nothing is left behind: the release goes on in the background (S16).
    store.open_gate();
    pass(Duration::from_secs(1)).await;
    assert!(!store.calls("release").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_tried_runs_only_if_the_name_is_free() {
    let store = TroubledStore::new();
    let (one, other) = (client(&store), client(&store));
    let held = one.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let outcome = other.try_run("job", TTL, |_| async { unreachable!("it is held") }).await;
    assert_eq!(outcome.unwrap(), None::<()>);
    held.release().await.unwrap();
    let outcome = other.try_run("job", TTL, |lease| async move { lease.is_held() }).await;
    assert_eq!(outcome.unwrap(), Some(true));
    assert!(is_free(&store, "job").await, "it is released afterwards");
}

#[tokio::test(start_paused = true)]
async fn an_error_says_which_lease_was_lost_and_why() {
    let store = TroubledStore::new();
    let client = client(&store);
    let options = LeaseOptions::new(TTL).with_max_tenure(TTL / 2);
    let error = client.run("job", options, |_| std::future::pending::<()>()).await.unwrap_err();
    let lost = error.lost().unwrap();
    assert_eq!((lost.name.as_str(), &lost.reason), ("job", &LossReason::TenureEnded));
    client.close().await.unwrap();
    let error = client.run("job", TTL, |_| async {}).await.unwrap_err();
    assert_eq!((error.kind(), error.lost()), (ErrorKind::Closed, None));
}

#[tokio::test(start_paused = true)]
async fn a_try_says_who_has_the_name() {
    let store = TroubledStore::new();
    let (one, other) = (client(&store), client(&store));
    let held = one.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    match other.try_acquire("job", TTL).await.unwrap() {
        TryAcquired::Held { by: Some(record), retry_after, .. } => {
            assert_eq!((&record.holder, record.token), (one.holder(), held.token()));
            assert!(retry_after.is_some_and(|after| after <= TTL));
        }
        outcome => panic!("unexpected answer: {outcome:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_states_of_a_lease_begin_with_the_current_one_and_end_with_its_loss() {
    let client = client(&TroubledStore::new());
    let lease = client.try_acquire("job", TTL).await.unwrap().acquired().unwrap();
    let (mut early, handle) = (lease.states(), lease.handle());
    assert_eq!(early.next().await, Some(LeaseState::Held));
    lease.release().await.unwrap();
    let lost = LeaseState::Lost(LossReason::Released);
    let mut late = handle.states();
    for states in [&mut early, &mut late] {
        assert_eq!((states.next().await, states.next().await), (Some(lost.clone()), None));
    }
}
