use lease_core::Result;
use lease_redis::RedisStore;

use crate::{Admin, Opened};

pub(crate) async fn open(url: &str) -> Result<Opened> {
    Ok(Opened::new(RedisStore::connect(url).await?))
}

/// Records expire by themselves.
impl Admin for RedisStore {}
