//! Consul as a store of documents.

use std::sync::Arc;

use async_trait::async_trait;
use lease_core::{Capabilities, ExpiryJudge, LeaseName, Result, TokensSurvive};
use lease_document::{About, Changes, Documents, Looked, Page, Put, Version};

use crate::{
    STORE,
    error::{Access, wrong_answer},
    kv::Kv,
    watch::Watch,
    wire::version,
};

/// Documents below a key prefix.
#[derive(Debug)]
pub(crate) struct ConsulDocuments {
    kv: Arc<Kv>,
    watch: Watch,
}

impl ConsulDocuments {
    pub(crate) fn new(kv: Kv) -> Self {
        let kv = Arc::new(kv);
        Self { watch: Watch::new(Arc::clone(&kv)), kv }
    }

    pub(crate) fn key(&self, name: &LeaseName) -> String {
        self.kv.keys.key(name)
    }
}

#[async_trait]
impl Documents for ConsulDocuments {
    fn about(&self) -> About {
        let capabilities = Capabilities::new(STORE)
            // The time in an answer is that of the agent, and often of the host of the application.
            .with_expiry_judge(ExpiryJudge::Contenders)
            // Indexes count for the whole datacenter, not for a key.
            .with_tokens_survive(TokensSurvive::new().removal().restart())
            // A write is answered when a majority of the servers has it on disk.
            .with_grants_survive_crash(true)
            .with_push(true)
            .with_push_to_holders(true)
            .with_calls_at_once(2);
        // A call of 256 elements must end within a fraction of a ttl, and an agent takes 200 connections from one host by default: so
        // there are many requests in a call, and few calls.
        About::new(capabilities).with_tokens_from_versions(true).with_concurrency(32)
    }

    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        let (pair, clock) = self.kv.read(&self.key(name)).await?;
        let document = match pair {
            Some(pair) => Some(pair.document().ok_or_else(|| wrong_answer("read", Access::Read))?),
            None => None,
        };
        Ok(Looked::new(document).with_clock(clock))
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        let index = expected.and_then(|version| version.number).unwrap_or_default();
        let (index, clock) = self.kv.write(&self.key(name), &value, index).await?;
        Ok(index.map_or_else(Put::conflict, |index| Put::written(version(index))).with_clock(clock))
    }

    /// Consul has no pages: it lists all keys, without their values, and then the page is read.
    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        let keys = self.kv.keys(&self.kv.keys.begin_with(prefix)).await?;
        let mut named: Vec<_> = keys.into_iter().filter_map(|key| Some((self.kv.keys.name(&key)?, key))).collect();
        named.retain(|(name, _)| after.is_none_or(|after| name > after));
        named.sort();
        let has_more = named.len() > limit;
        let keys: Vec<_> = named.into_iter().take(limit).map(|(_, key)| key).collect();
        let (pairs, clock) = self.kv.values(&keys).await?;
        let documents = pairs.iter().filter_map(|pair| Some((self.kv.keys.name(&pair.key)?, pair.document()?)));
        Ok(Page::new(documents.collect()).with_more(has_more).with_clock(clock))
    }

    async fn delete_if(&self, name: &LeaseName, expected: &Version) -> Result<bool> {
        self.kv.delete(&self.key(name), expected.number.unwrap_or_default()).await
    }

    fn changes(&self) -> Changes {
        self.watch.changes()
    }
}
