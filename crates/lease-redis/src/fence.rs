//! Fenced writes: the guard for data in Redis.

use fred::prelude::Value;
use lease_core::{ErrorKind, FencingToken, Result};

use crate::{RedisStore, connections::CallOptions, error::redis_error, failure::Access, keys::slot};

/// The largest integer that a double of Lua has exactly.
const MAX_TOKEN: u64 = (1 << 53) - 1;

impl RedisStore {
    /// Writes a value that a lease protects, unless a holder with a **greater** token has written it before. So a holder that was
    /// paused and wakes up too late changes nothing.
    ///
    /// The resource is a hash at `key`, without the store's prefix, with the fields `value` and `fence`, the greatest token
    /// that has written. Read it by `HGET key value`. Use one lease for one resource: tokens of different leases cannot be
    /// compared. The fence is as durable as the key, which must not expire or be evicted while old holders may wake up.
    ///
    /// ```no_run
    /// # use lease_core::{FencingToken, Result};
    /// # use lease_redis::RedisStore;
    /// # async fn example(store: RedisStore, token: FencingToken) -> Result<()> {
    /// // `token` is lease.token()
    /// store.fenced_write("reports:7", "done", token).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// * `Lost`: a greater token has written; nothing was changed.
    /// * `Invalid`: the key holds a value of another type, or the token is greater than 2^53 - 1, which no token of this store
    ///   is.
    /// * Any other kind, as every operation of the store. The write may be repeated.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value may have been written or not.
    pub async fn fenced_write(&self, key: &str, value: impl AsRef<[u8]>, token: FencingToken) -> Result<()> {
        const OPERATION: &str = "fenced_write";
        if token.get() > MAX_TOKEN {
            let message =
                format!("the token {token} is greater than {MAX_TOKEN}, the greatest that the server can compare");
            return Err(redis_error(ErrorKind::Invalid, OPERATION, message));
        }
        let value = value.as_ref();
        let arguments = || (vec![key.to_owned()], vec![token.to_string().into(), Value::Bytes(value.to_vec().into())]);
        let script = &self.shared.scripts().fenced_write;
        let connections = self.shared.connections();
        let slot = connections.is_cluster().then(|| slot(key));
        let run = connections.run(slot, script, CallOptions::new(Access::Write, None), arguments);
        let answered = run.await.map_err(|failure| self.shared.error(OPERATION, failure))?;
        match answered.values.first().and_then(Value::as_u64) {
            Some(1) => Ok(()),
            Some(0) => {
                let message = format!(
                    "nothing was written to {key:?} with the token {token}: a holder with a greater token has written, so this \
                     lease is lost"
                );
                Err(redis_error(ErrorKind::Lost, OPERATION, message))
            }
            _ => Err(redis_error(
                ErrorKind::Indeterminate,
                OPERATION,
                format!("the answer to the write to {key:?} could not be parsed: it may have been written"),
            )),
        }
    }
}
