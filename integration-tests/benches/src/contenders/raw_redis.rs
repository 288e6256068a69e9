//! One script for each operation, by fred alone, on one connection that all tasks share: what a careful hand would write for an
//! owner, a token that rises, and a wake-up at the release.

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use fred::{
    prelude::{Builder, Client, ClientLike, Config},
    types::scripts::Script,
};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "raw fred";

/// The value of the key is `token|holder`; the counter stays after the key has expired.
pub(super) const ACQUIRE: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token .. '|' .. ARGV[1], 'PX', ARGV[2])
return token";

pub(super) const RELEASE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], KEYS[1])
return 1";

pub(super) const HOLDER: &str = "host-4711-0123456789abcdef";
pub(super) const TTL_MS: &str = "30000";
pub(super) const CHANNEL: &str = "raw-leases";

#[derive(Clone)]
pub(crate) struct RawRedis {
    client: Client,
    acquire: Script,
    release: Script,
}

impl RawRedis {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let client = Builder::from_config(Config::from_url(url)?).build()?;
        client.init().await?;
        let (acquire, release) = (Script::from_lua(ACQUIRE), Script::from_lua(RELEASE));
        acquire.load(&client).await?;
        release.load(&client).await?;
        Ok(Self { client, acquire, release })
    }
}

#[async_trait]
impl Contender for RawRedis {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { redis: self.clone(), keys: keys(name).into() }))
    }
}

/// Returns the key of a name and that of its counter, which are on one server of a Cluster.
pub(super) fn keys(name: &str) -> [String; 2] {
    [format!("raw:{{{name}}}"), format!("raw:{{{name}}}:token")]
}

struct Name {
    redis: RawRedis,
    keys: Vec<String>,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let arguments = vec![HOLDER, TTL_MS];
        let token: Option<u64> = self.redis.acquire.evalsha(&self.redis.client, self.keys.clone(), arguments).await?;
        let owner = format!("{}|{HOLDER}", token.context("it is not free")?);
        Ok(Box::new(Grant { redis: self.redis.clone(), key: self.keys[0].clone(), owner }))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

struct Grant {
    redis: RawRedis,
    key: String,
    owner: String,
}

#[async_trait]
impl Held for Grant {
    async fn release(self: Box<Self>) -> Result<()> {
        let arguments = vec![self.owner, CHANNEL.to_owned()];
        let freed: u64 = self.redis.release.evalsha(&self.redis.client, vec![self.key], arguments).await?;
        ensure!(freed == 1, "it was not held");
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
