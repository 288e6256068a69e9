//! A comparison for the application's own transactions.

use etcd_client::{Compare, CompareOp};
use lease_core::{FencingToken, LeaseName};

use crate::EtcdStore;

impl EtcdStore {
    /// Returns a comparison with which a transaction in **the same cluster** succeeds only while the grant with this token is
    /// in force. This gives mutual exclusion for the data in that cluster, even against a holder that was paused.
    ///
    /// It compares the create revision of the lease's key with the token. A grant that has expired, or was released, broken
    /// in either way or taken over, has no such key. The comparison changes nothing, and does not hold up other transactions.
    /// It compares nothing else: when the servers' data is lost, revisions start again, and a later grant of the name may
    /// have the token of an earlier one.
    ///
    /// For data elsewhere, send the token with the write, and have the resource refuse smaller tokens.
    ///
    /// ```no_run
    /// # use etcd_client::{Client, Txn, TxnOp};
    /// # use lease_core::{FencingToken, LeaseName};
    /// # use lease_etcd::EtcdStore;
    /// # async fn example(
    /// #     store: EtcdStore, client: Client, name: LeaseName, token: FencingToken,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// // `name` and `token` are those of the lease: lease.name(), lease.token()
    /// let write = Txn::new()
    ///     .when([store.fence(&name, token)])
    ///     .and_then([TxnOp::put("reports/7", "done", None)]);
    /// if !client.kv_client().txn(write).await?.succeeded() {
    ///     // The lease is lost, and nothing was written.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fence(&self, name: &LeaseName, token: FencingToken) -> Compare {
        // No key has a create revision greater than i64::MAX.
        let revision = i64::try_from(token.get()).unwrap_or(i64::MAX);
        Compare::create_revision(self.key(name), CompareOp::Equal, revision)
    }
}
