//! A guard for data in Redis.

use fred::prelude::Value;
use lease_core::{ErrorKind, FencingToken, Result};

use crate::{RedisStore, call::Access, error::here, keys::slot};

/// The script of [`RedisStore::fenced_write`], to be run by other software, or to be built into a script of one's own:
///
/// ```lua
#[doc = include_str!("../scripts/fenced_write.lua")]
/// ```
pub const FENCED_WRITE_SCRIPT: &str = include_str!("../scripts/fenced_write.lua");

/// Scripts count with doubles, which are exact up to this.
const GREATEST_TOKEN: u64 = (1 << 53) - 1;

impl RedisStore {
    /// Writes a value that a lease protects, unless a holder with a **greater** token has written it before: so a holder that
    /// was paused, and wakes up too late, changes nothing.
    ///
    /// The resource is a hash at `key`, exactly as given, with the fields `value` and `fence` (the greatest token that has
    /// written). It is read by `HGET key value`. Tokens of different leases cannot be compared: one resource, one lease. The
    /// fence is as durable as the key is: it must not expire or be evicted while old holders may wake up.
    ///
    /// ```no_run
    /// # use lease_core::{FencingToken, Result};
    /// # use lease_redis::RedisStore;
    /// # async fn example(store: RedisStore, token: FencingToken) -> Result<()> {
    /// // `token` is that of the lease: lease.token()
    /// store.fenced_write("reports:7", "done", token).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `Lost`: a greater token has written; nothing was changed. `Invalid`: the key holds something else, or the token is
    /// greater than 2^53 - 1, as none of this store is. Otherwise as every
    /// operation; it may be repeated.
    ///
    /// # Cancel safety
    ///
    /// It may or may not have been done when it is dropped.
    pub async fn fenced_write(&self, key: &str, value: impl AsRef<[u8]>, token: FencingToken) -> Result<()> {
        const OPERATION: &str = "fenced_write";
        if token.get() > GREATEST_TOKEN {
            let message =
                format!("the token {token} is greater than {GREATEST_TOKEN}, above which the server cannot compare");
            return Err(here(ErrorKind::Invalid, OPERATION, message));
        }
        let value = value.as_ref();
        let words = || (vec![key.to_owned()], vec![token.to_string().into(), Value::Bytes(value.to_vec().into())]);
        let script = &self.0.scripts().fenced_write;
        let slot = self.0.connections().cluster().map(|_| slot(key));
        let run = self.0.connections().run(slot, script, Access::Write, words, None);
        let answered = run.await.map_err(|failure| self.0.error(OPERATION, failure))?;
        match answered.values.first().and_then(Value::as_u64) {
            Some(1) => Ok(()),
            Some(0) => {
                let message = format!("{key:?} was written with a greater token than {token}: the lease is another's");
                Err(here(ErrorKind::Lost, OPERATION, message))
            }
            _ => Err(here(ErrorKind::Indeterminate, OPERATION, "the answer could not be read")),
        }
    }
}
