//! Scopes of exclusive work.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use lease_core::ErrorKind;
use support::{TTL, TroubledStore, client, pass, settle};

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
