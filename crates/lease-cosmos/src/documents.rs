//! A container as a store of documents.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use lease_core::{Capabilities, ExpiryJudge, LeaseName, Result, TokensSurvive};
use lease_document::{About, Documents, Looked, Page, Put, Sample, Version, escape, escape_prefix, unescape};

use crate::{STORE, items::Items};

/// Documents in a container: the escaped name is the id, and the partition key.
#[derive(Debug)]
pub(crate) struct CosmosDocuments {
    items: Items,
    slack: Duration,
    poll_interval: Duration,
    /// The newest time of the service that an answer has had, in µs.
    newest: AtomicU64,
}

impl CosmosDocuments {
    pub(crate) fn new(items: Items, slack: Duration, poll_interval: Duration) -> Self {
        Self { items, slack, poll_interval, newest: AtomicU64::new(1) }
    }

    fn heard(&self, clock: Option<Sample>) -> Option<Sample> {
        let micros = clock.map_or(0, |sample| u64::try_from(sample.at.as_micros()).unwrap_or_default());
        self.newest.fetch_max(micros, Ordering::Relaxed);
        clock
    }
}

#[async_trait]
impl Documents for CosmosDocuments {
    fn about(&self) -> About {
        let capabilities = Capabilities::new(STORE)
            .with_ttl(Duration::from_secs(2), Duration::from_secs(365 * 86_400), Duration::from_millis(1))
            .with_expiry_judge(ExpiryJudge::ServersWallClocks { slack: self.slack })
            // Tokens are counted. A record that is gone leaves the clock, whose ticks are too long for two grants in one.
            .with_tokens_survive(TokensSurvive::new().restart())
            .with_grants_survive_crash(true)
            .with_calls_at_once(4)
            .with_poll_interval(self.poll_interval);
        About::new(capabilities)
    }

    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        let (document, clock) = self.items.read(&escape(name)).await?;
        Ok(Looked::new(document).with_clock(self.heard(clock)))
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        let id = escape(name);
        let (version, clock) = match expected {
            // After a deletion, numbers go on above those before it, which were not as many as there were microseconds.
            None => self.items.create(&id, value, self.newest.load(Ordering::Relaxed)).await?,
            Some(expected) => {
                let number = expected.number.unwrap_or_default().saturating_add(1);
                self.items.replace(&id, value, number, expected).await?
            }
        };
        Ok(version.map_or_else(Put::conflict, Put::written).with_clock(self.heard(clock)))
    }

    /// The service has no order over partitions: all pages of a query are read, and the first `limit` names are kept.
    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        let (prefix, behind) = (escape_prefix(prefix), after.map(escape).unwrap_or_default());
        let (mut first, mut has_more) = (BTreeMap::new(), false);
        let (mut continuation, mut clock) = (None, None);
        loop {
            let page = self.items.query(&prefix, &behind, continuation).await?;
            for item in page.items {
                let Some(name) = unescape(&item.id).filter(|name| after.is_none_or(|after| name > after)) else {
                    continue;
                };
                first.insert(name, item.document());
                if first.len() > limit {
                    first.pop_last();
                    has_more = true;
                }
            }
            clock = page.clock.or(clock);
            continuation = page.continuation;
            if continuation.is_none() {
                break;
            }
        }
        Ok(Page::new(first.into_iter().collect()).with_more(has_more).with_clock(self.heard(clock)))
    }

    async fn delete_if(&self, name: &LeaseName, expected: &Version) -> Result<bool> {
        self.items.delete(&escape(name), expected).await
    }
}
