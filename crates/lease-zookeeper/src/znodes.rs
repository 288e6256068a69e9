//! Leases as nodes: the backend of `lease-document`.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{Capabilities, Error, ErrorKind, ExpiryJudge, LeaseName, Result, TokensSurvive};
use lease_document::{About, Changes, Document, Documents, Looked, Page, Put, Sample, Version, escape, escape_prefix};
use zookeeper_client::{
    self as zk, Acl, Acls, Client, CreateMode, CreateOptions, MultiWriteError, MultiWriteResult, Stat,
};

use crate::{
    STORE,
    content::{self, Expected},
    error::{Access, store_error},
    paths::Paths,
    session::Session,
    watch::Watch,
};

/// How many requests of one call are in flight at once: one connection sends them one after the other.
const REQUESTS_AT_ONCE: usize = 64;
const CALLS_AT_ONCE: usize = 4;

/// The documents of a [`ZooKeeperStore`](crate::ZooKeeperStore): each is a node below the chroot.
pub struct Znodes {
    session: Arc<Session>,
    paths: Paths,
    acls: Vec<Acl>,
    expiry_judge: ExpiryJudge,
    /// `None` if the servers have no recursive watches.
    watch: Option<Watch>,
}

impl Znodes {
    pub(crate) fn new(
        session: Arc<Session>,
        paths: Paths,
        acls: Vec<Acl>,
        expiry_judge: ExpiryJudge,
        has_watches: bool,
    ) -> Self {
        Self { session, paths, acls, expiry_judge, watch: has_watches.then(Watch::new) }
    }

    async fn create(&self, client: &Client, path: &str, value: &[u8]) -> Result<Put> {
        let id = content::new_id();
        let options = persistent(&self.acls);
        let mut writer = client.new_multi_writer();
        // Servers before 3.7.2 and 3.8.2 do not say what a transaction has created (ZOOKEEPER-4026), but what it has set.
        let added = writer
            .add_create(path, b"", &options)
            .and_then(|()| writer.add_create(&format!("{path}/{id}"), b"", &options))
            .and_then(|()| writer.add_set_data(path, &content::encode(&id, value), Some(0)));
        added.map_err(|cause| self.not_written(client, cause, path))?;
        match writer.commit().await {
            Ok(results) => self.written(results, &id, path),
            Err(MultiWriteError::OperationFailed { source: zk::Error::NodeExists, .. }) => Ok(Put::conflict()),
            Err(cause) => Err(self.not_written(client, cause.into(), path)),
        }
    }

    async fn replace(&self, client: &Client, path: &str, value: &[u8], expected: Expected) -> Result<Put> {
        let Expected { id, version } = expected;
        let mut writer = client.new_multi_writer();
        // Nobody writes to the node below: its version is always 0.
        let added = writer
            .add_check_version(&format!("{path}/{id}"), 0)
            .and_then(|()| writer.add_set_data(path, &content::encode(&id, value), Some(version)));
        added.map_err(|cause| self.not_written(client, cause, path))?;
        match writer.commit().await {
            Ok(results) => self.written(results, &id, path),
            Err(MultiWriteError::OperationFailed { source: zk::Error::NoNode | zk::Error::BadVersion, .. }) => {
                Ok(Put::conflict())
            }
            Err(cause) => Err(self.not_written(client, cause.into(), path)),
        }
    }

    /// Returns the answer to a transaction that has written this node.
    fn written(&self, results: Vec<MultiWriteResult>, id: &str, path: &str) -> Result<Put> {
        let stat = results.into_iter().find_map(|result| match result {
            MultiWriteResult::SetData { stat } => Some(stat),
            _ => None,
        });
        let stat = stat.ok_or_else(|| {
            let message = format!("the server has not said what it wrote to {path}: look before you conclude anything");
            store_error(ErrorKind::Indeterminate, WRITE, message)
        })?;
        Ok(Put::written(content::version(id, &stat)).with_clock(sample(&stat)))
    }

    fn not_written(&self, client: &Client, cause: zk::Error, path: &str) -> Error {
        self.session.failed(client, cause, WRITE, Access::Write, path)
    }

    fn not_read(&self, client: &Client, cause: zk::Error, path: &str) -> Error {
        self.session.failed(client, cause, READ, Access::Read, path)
    }

    /// Returns the keys of the page, in the order of their names, and whether there are more.
    fn page(
        keys: Vec<String>,
        prefix: &str,
        after: Option<&LeaseName>,
        limit: usize,
    ) -> (Vec<(LeaseName, String)>, bool) {
        let (prefix, after) = (escape_prefix(prefix), after.map(escape));
        let is_in_page = |key: &String| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| key > after);
        let mut keys: Vec<_> = keys.into_iter().filter(is_in_page).collect();
        keys.sort_unstable();
        let named = keys.into_iter().filter_map(|key| Some((lease_document::unescape(&key)?, key)));
        let mut page: Vec<_> = named.take(limit.saturating_add(1)).collect();
        let has_more = page.len() > limit;
        page.truncate(limit);
        (page, has_more)
    }
}

impl fmt::Debug for Znodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ACLs may have hashes of passwords.
        f.debug_struct("Znodes").field("session", &self.session).field("paths", &self.paths).finish_non_exhaustive()
    }
}

const READ: &str = "read";
const WRITE: &str = "write";

/// Returns how the nodes of a store are created: they outlive the session.
pub(crate) fn persistent(acls: &[Acl]) -> CreateOptions<'_> {
    CreateMode::Persistent.with_acls(Acls::new(acls))
}

/// Returns the time of a write, which is that of the leader.
fn sample(stat: &Stat) -> Option<Sample> {
    let at = u64::try_from(stat.mtime).ok().filter(|millis| *millis > 0)?;
    Some(Sample::new(Duration::from_millis(at), Duration::from_millis(1)))
}

#[async_trait]
impl Documents for Znodes {
    fn about(&self) -> About {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        let capabilities = Capabilities::new(STORE)
            .with_ttl(Duration::from_millis(500), year, Duration::from_millis(1))
            .with_expiry_judge(self.expiry_judge)
            .with_tokens_survive(TokensSurvive::new().removal().restart())
            .with_grants_survive_crash(true)
            .with_push(self.watch.is_some())
            .with_push_to_holders(self.watch.is_some())
            .with_calls_at_once(CALLS_AT_ONCE);
        About::new(capabilities).with_tokens_from_versions(true).with_concurrency(REQUESTS_AT_ONCE)
    }

    /// Reads what the leader knows: the server that answers catches up first, in the same round trip.
    async fn get(&self, name: &LeaseName) -> Result<Looked> {
        let (client, path) = (self.session.client(READ)?, self.paths.of(name));
        let (synced, read) = tokio::join!(client.sync(&path), client.get_data(&path));
        synced.map_err(|cause| self.not_read(&client, cause, &path))?;
        match read {
            Ok((data, stat)) => Ok(Looked::new(Some(content::decode(data, &stat)))),
            Err(zk::Error::NoNode) => Ok(Looked::new(None)),
            Err(cause) => Err(self.not_read(&client, cause, &path)),
        }
    }

    async fn put_if(&self, name: &LeaseName, value: Vec<u8>, expected: Option<&Version>) -> Result<Put> {
        let (client, path) = (self.session.client(WRITE)?, self.paths.of(name));
        let Some(expected) = expected else { return self.create(&client, &path, &value).await };
        let expected = Expected::of(expected).ok_or_else(|| not_ours(&path))?;
        self.replace(&client, &path, &value, expected).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Page> {
        let (client, chroot) = (self.session.client(READ)?, self.paths.chroot());
        let (synced, keys) = tokio::join!(client.sync(chroot), client.list_children(chroot));
        synced.map_err(|cause| self.not_read(&client, cause, chroot))?;
        let keys = keys.map_err(|cause| self.not_read(&client, cause, chroot))?;
        let (page, has_more) = Self::page(keys, prefix, after, limit);
        // All of them are sent before the first is awaited.
        let reads: Vec<_> = page
            .into_iter()
            .map(|(name, key)| {
                let path = self.paths.of_key(&key);
                (name, client.get_data(&path), path)
            })
            .collect();
        let mut documents = Vec::<(LeaseName, Document)>::with_capacity(reads.len());
        for (name, read, path) in reads {
            match read.await {
                Ok((data, stat)) => documents.push((name, content::decode(data, &stat))),
                Err(zk::Error::NoNode) => {}
                Err(cause) => return Err(self.not_read(&client, cause, &path)),
            }
        }
        Ok(Page::new(documents).with_more(has_more))
    }

    async fn delete_if(&self, name: &LeaseName, expected: &Version) -> Result<bool> {
        let (client, path) = (self.session.client("purge")?, self.paths.of(name));
        let Expected { id, version } = Expected::of(expected).ok_or_else(|| not_ours(&path))?;
        let mut writer = client.new_multi_writer();
        let added =
            writer.add_delete(&format!("{path}/{id}"), None).and_then(|()| writer.add_delete(&path, Some(version)));
        added.map_err(|cause| self.not_written(&client, cause, &path))?;
        match writer.commit().await {
            Ok(_) => Ok(true),
            Err(MultiWriteError::OperationFailed { source: zk::Error::NoNode | zk::Error::BadVersion, .. }) => {
                Ok(false)
            }
            Err(cause) => Err(self.not_written(&client, cause.into(), &path)),
        }
    }

    /// Writes the node of the clock: only the answer to a write has the time.
    async fn clock(&self) -> Result<Option<Sample>> {
        let (client, path) = (self.session.client("read the clock")?, self.paths.clock());
        let stat = match client.set_data(&path, b"", None).await {
            Err(zk::Error::NoNode) => client.create(&path, b"", &persistent(&self.acls)).await.map(|(stat, _)| stat),
            outcome => outcome,
        };
        stat.map(|stat| sample(&stat)).map_err(|cause| self.not_written(&client, cause, &path))
    }

    fn changes(&self) -> Changes {
        self.watch.as_ref().map_or_else(Changes::never, |watch| watch.start(&self.session, &self.paths))
    }
}

fn not_ours(path: &str) -> Error {
    let message = format!("another program wrote {path}: give the store a chroot of its own, or delete the node");
    store_error(ErrorKind::Invalid, WRITE, message)
}
