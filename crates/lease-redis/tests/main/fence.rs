//! Data in Redis that a fencing token protects (S9).

use integration_tests::Reply;
use lease_core::{ErrorKind, FencingToken};
use lease_redis::FENCED_WRITE_SCRIPT;

use crate::common::{claim, granted, redis, release, request, store, unique};

#[tokio::test]
async fn a_former_holder_cannot_write() {
    let (store, data) = (store().await, unique("data"));
    let (first, second) = (request("job", "a"), request("job", "b"));
    let old = granted(&store, &first).await;
    store.fenced_write(&data, "by the first", old.token).await.unwrap();
    // The same holder may write again.
    store.fenced_write(&data, "by the first, again", old.token).await.unwrap();
    release(&store, &claim(&first, old)).await;
    let new = granted(&store, &second).await;
    store.fenced_write(&data, "by the second", new.token).await.unwrap();
    let error = store.fenced_write(&data, "too late", old.token).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Lost && !error.is_transient(), "{error}");
    assert_eq!(redis(&["HGET", &data, "value"]).await.text(), "by the second");
    assert_eq!(redis(&["HGET", &data, "fence"]).await.text(), new.token.to_string());
}

#[tokio::test]
async fn tokens_are_compared_as_numbers_and_values_are_bytes() {
    let (store, data) = (store().await, unique("data"));
    let token = |number| FencingToken::new(number).unwrap();
    store.fenced_write(&data, "nine", token(9)).await.unwrap();
    store.fenced_write(&data, "ten", token(10)).await.unwrap();
    assert_eq!(store.fenced_write(&data, "nine", token(9)).await.unwrap_err().kind(), ErrorKind::Lost);
    let largest = (1 << 53) - 1;
    store.fenced_write(&data, [0, 255, 13, 10], token(largest)).await.unwrap();
    assert_eq!(store.fenced_write(&data, "below", token(largest - 1)).await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(redis(&["HSTRLEN", &data, "value"]).await, Reply::Integer(4));
    redis(&["SET", &format!("{data}-text"), "text"]).await;
    let error = store.fenced_write(&format!("{data}-text"), "x", token(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn the_script_works_without_the_store() {
    let data = unique("data");
    for (token, written) in [("5", 1), ("4", 0), ("5", 1), ("40", 1)] {
        assert_eq!(redis(&["EVAL", FENCED_WRITE_SCRIPT, "1", &data, token, "v"]).await, Reply::Integer(written));
    }
}

/// A token of another store, or the application's own: the server compares doubles.
#[tokio::test]
async fn s09_a_token_that_the_server_cannot_compare_is_invalid() {
    let store = store().await;
    let token = |token: u64| lease_core::FencingToken::new(token).unwrap();
    let key = crate::common::key(&store, "resource");
    store.fenced_write(&key, "last", token((1 << 53) - 1)).await.unwrap();
    for great in [1 << 53, (1 << 53) + 1, u64::MAX] {
        let error = store.fenced_write(&key, "beyond", token(great)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    assert_eq!(crate::common::redis(&["HGET", &key, "value"]).await.text(), "last");
}
