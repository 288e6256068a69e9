//! The harness of Redis for the conformance suite.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Provider, Redis, RedisKind, Reply, ServerHarness};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_redis::RedisStoreOptions;
use lease_testkit::Injection;

pub(crate) type RedisHarness = ServerHarness<Prefix>;

/// Options with a key prefix that no other case uses.
pub(crate) struct Prefix(RedisStoreOptions);

#[async_trait]
impl Provider for Prefix {
    type Kind = RedisKind;

    /// Settings with which a grant survives a crash.
    const SETTINGS: &'static [(&'static str, &'static str)] = &[("appendonly", "yes"), ("appendfsync", "always")];

    /// A request times out after a sixth of the ttl. On two busy cores, shared with the servers, a request takes some time.
    const TTL: Duration = Duration::from_millis(1500);

    /// Marks the index of names as complete, as after its first day: lists use the index.
    async fn prepare(server: &Redis) -> Self {
        let prefix = format!("{}:", GrantId::random());
        let mark = "return redis.call('ZADD', KEYS[1], 0, '\\0' .. redis.call('TIME')[1] - 2 * 24 * 3600)";
        let marked = server.command(&["EVAL", mark, "1", &format!("{prefix} index")]).await.unwrap();
        assert_eq!(marked, Reply::Integer(1));
        Self(RedisStoreOptions::new().with_key_prefix(prefix))
    }

    async fn open(&self, url: &str) -> Arc<dyn LeaseStore> {
        Arc::new(self.0.connect(url).await.unwrap())
    }

    async fn back_up(&self, server: &Redis) -> Injection {
        server.back_up(&self.0.key_prefix).await.unwrap();
        Injection::Done
    }

    async fn restore_backup(&self, server: &Redis) {
        server.put_back(&self.0.key_prefix).await.unwrap();
    }

    async fn remove_record(&self, server: &Redis, name: &LeaseName) {
        let key = format!("{}{name}", self.0.key_prefix);
        server.command(&["DEL", &key]).await.unwrap();
    }
}
