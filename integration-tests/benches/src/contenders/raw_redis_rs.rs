//! The same scripts by the other driver, redis-rs, on one connection that all tasks share, or one for each server of a Cluster.

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use redis::{
    Client, Script,
    aio::{ConnectionLike, ConnectionManager},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
};

use super::raw_redis::{ACQUIRE, CHANNEL, HOLDER, RELEASE, TTL_MS, keys};
use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "raw redis-rs";

#[derive(Clone)]
pub(crate) struct RawRedisRs<C> {
    connection: C,
    acquire: Script,
    release: Script,
}

impl RawRedisRs<ConnectionManager> {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        Ok(Self::new(Client::open(url)?.get_connection_manager().await?))
    }
}

impl RawRedisRs<ClusterConnection> {
    /// By a URL of the form `redis-cluster://host:port?node=host:port`.
    pub(crate) async fn connect_to_cluster(url: &str) -> Result<Self> {
        let nodes = url.trim_start_matches("redis-cluster://").split(['?', '&']);
        let nodes: Vec<_> = nodes.map(|node| format!("redis://{}", node.trim_start_matches("node="))).collect();
        Ok(Self::new(ClusterClient::new(nodes)?.get_async_connection().await?))
    }
}

impl<C> RawRedisRs<C> {
    fn new(connection: C) -> Self {
        Self { connection, acquire: Script::new(ACQUIRE), release: Script::new(RELEASE) }
    }
}

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> Contender for RawRedisRs<C> {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { redis: self.clone(), keys: keys(name) }))
    }
}

struct Name<C> {
    redis: RawRedisRs<C>,
    keys: [String; 2],
}

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> Resource for Name<C> {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let mut connection = self.redis.connection.clone();
        let [key, counter] = &self.keys;
        let token: Option<u64> =
            self.redis.acquire.key(key).key(counter).arg(HOLDER).arg(TTL_MS).invoke_async(&mut connection).await?;
        let owner = format!("{}|{HOLDER}", token.context("it is not free")?);
        Ok(Box::new(Grant { redis: self.redis.clone(), key: key.clone(), owner }))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

struct Grant<C> {
    redis: RawRedisRs<C>,
    key: String,
    owner: String,
}

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> Held for Grant<C> {
    async fn release(mut self: Box<Self>) -> Result<()> {
        let Self { redis, key, owner } = &mut *self;
        let freed: u64 = redis.release.key(&*key).arg(&*owner).arg(CHANNEL).invoke_async(&mut redis.connection).await?;
        ensure!(freed == 1, "it was not held");
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
