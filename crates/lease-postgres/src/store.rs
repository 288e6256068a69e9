//! The store: its handle, and the operations that its type has.

mod connect;
mod fence;
mod migrate;
mod purge;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use lease_core::{
    AcquireRequest, Acquired, Break, Capabilities, ExpiryJudge, FencingToken, LeaseName, LeaseRecord, LeaseStore,
    ReleaseRequest, Released, RenewRequest, Renewed, Result, TokensSurvive, Wakeups,
};

use crate::{
    STORE,
    batch::{Operation, perform},
    operation::{Acquire, MAX_TTL, MIN_TTL, Release, Renew},
    shared::Shared,
};

/// Keeps leases in a table of PostgreSQL.
///
/// A store is cheap to clone; clones share the connections. The [page of this crate](crate) says what it promises.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

impl PostgresStore {
    /// Returns the channel of this table's notifications. Other software that frees leases in the table may wake waiters with
    /// `pg_notify(channel, lease_name)`.
    #[must_use]
    pub fn notification_channel(&self) -> String {
        self.0.table().channel()
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the connections, whose options contain the password.
        f.debug_struct("PostgresStore")
            .field("table", &self.0.table().quoted())
            .field("listens", &self.0.listens())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl LeaseStore for PostgresStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(STORE)
            .with_ttl(MIN_TTL, MAX_TTL, Duration::from_micros(1))
            .with_expiry_judge(ExpiryJudge::ServerWallClock)
            // All by S10: tokens follow the server's clock.
            .with_tokens_survive(TokensSurvive::new().removal().restart().data_loss())
            .with_grants_survive_crash(true)
            .with_push(self.0.listens())
            // It would take a listening connection for every client, even for those that never wait.
            .with_push_to_holders(false)
            .with_remembers_last_grant(true)
            // Measured: four at once are a tenth slower with 256 tasks, and the same with 32.
            .with_calls_at_once(1)
    }

    async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
        if let Err(error) = self.0.check_table(Acquire::NAME).await {
            return requests.iter().map(|_| Err(error.clone())).collect();
        }
        perform(&Acquire(&self.0), &*self.0, requests).await
    }

    async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
        perform(&Renew(&self.0), &*self.0, requests).await
    }

    async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
        perform(&Release(&self.0), &*self.0, requests).await
    }

    async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
        self.0.inspect(name).await
    }

    async fn list(&self, prefix: &str, after: Option<&LeaseName>, limit: usize) -> Result<Vec<LeaseRecord>> {
        self.0.list(prefix, after, limit).await
    }

    async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
        self.0.break_lease(name, token, how).await
    }

    fn subscribe(&self, name: &LeaseName) -> Wakeups {
        self.0.subscribe(name)
    }
}
