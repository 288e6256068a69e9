//! Redis on the test bench.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use integration_tests::{Provider, Redis, RedisKind, Reply, ServerHarness};
use lease_core::{GrantId, LeaseName, LeaseStore};
use lease_redis::RedisStoreOptions;
use lease_testkit::Injection;

pub(crate) type RedisHarness = ServerHarness<Prefix>;

/// Leases under a prefix of their own.
pub(crate) struct Prefix(RedisStoreOptions);

#[async_trait]
impl Provider for Prefix {
    type Kind = RedisKind;

    /// What a grant needs to survive a crash.
    const SETTINGS: &'static [(&'static str, &'static str)] = &[("appendonly", "yes"), ("appendfsync", "always")];

    /// A request has a sixth of it: on a busy machine that shares two cores with its servers, that takes some time.
    const TTL: Duration = Duration::from_millis(1500);

    /// As after its first day: lists go by the index.
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
