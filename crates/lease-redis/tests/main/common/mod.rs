//! Helpers of all tests: a shared server, a key prefix for each test, and short calls.

mod answer_inserter;

use std::time::Duration;

pub(crate) use answer_inserter::AnswerInserter;
use integration_tests::{Redis, Reply};
pub(crate) use integration_tests::{eventually, is_hinted_within, pass};
use lease_core::{AcquireRequest, GrantId};
use lease_redis::{RedisStore, RedisStoreOptions};
use lease_testkit::calls;
pub(crate) use lease_testkit::calls::{
    acquire, claim, granted, holder, is_held, name, plain_release, release, renew, renewal,
};

pub(crate) const TTL: Duration = Duration::from_secs(30);

/// Returns options with a key prefix that no other test uses.
pub(crate) fn options() -> RedisStoreOptions {
    RedisStoreOptions::new().with_key_prefix(format!("{}:", unique("leases")))
}

/// Returns a store on the shared server.
pub(crate) async fn store() -> RedisStore {
    options().connect(Redis::shared().await.url()).await.unwrap()
}

/// Returns a second store on the same keys, as another process has one.
pub(crate) async fn another(store: &RedisStore) -> RedisStore {
    let options = RedisStoreOptions::new().with_key_prefix(store.key_prefix());
    options.connect(Redis::shared().await.url()).await.unwrap()
}

pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", &GrantId::random().to_string()[..16])
}

pub(crate) fn key(store: &RedisStore, name_text: &str) -> String {
    format!("{}{name_text}", store.key_prefix())
}

/// Sends a command to the shared server and returns its reply.
pub(crate) async fn redis(arguments: &[&str]) -> Reply {
    match Redis::shared().await.command(arguments).await.unwrap() {
        Reply::Error(error) => panic!("{arguments:?}: {error}"),
        reply => reply,
    }
}

/// Marks the index of names as so old that all processes write into it.
pub(crate) async fn complete_index(server: &Redis, prefix: &str) {
    let mark = "redis.call('ZADD', KEYS[1], 0, '\\0' .. redis.call('TIME')[1] - 2 * 24 * 3600)";
    let reply = server.command(&["EVAL", mark, "1", &format!("{prefix} index")]).await.unwrap();
    assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
}

/// The lines of a lease's record, in order.
const FIELDS: [&str; 10] =
    ["token", "acquired", "expires", "state", "nonce", "holder", "reserved", "ttl", "revision", "metadata"];

/// Returns a field of a lease's record.
pub(crate) async fn field(store: &RedisStore, name_text: &str, field: &str) -> String {
    field_of(&redis(&["GET", &key(store, name_text)]).await.text(), field)
}

pub(crate) fn field_of(record: &str, field: &str) -> String {
    let at = FIELDS.iter().position(|name| *name == field).unwrap();
    record.split('\n').nth(at).unwrap().to_owned()
}

/// Changes a field of a lease's record without the store.
pub(crate) async fn set_field(store: &RedisStore, name_text: &str, field: &str, value: &str) {
    let at = FIELDS.iter().position(|name| *name == field).unwrap();
    let record = redis(&["GET", &key(store, name_text)]).await.text();
    let mut lines: Vec<&str> = record.split('\n').collect();
    lines[at] = value;
    redis(&["SET", &key(store, name_text), &lines.join("\n"), "KEEPTTL"]).await;
}

pub(crate) fn request(name_text: &str, holder_text: &str) -> AcquireRequest {
    calls::request(name(name_text), holder(holder_text), TTL)
}
