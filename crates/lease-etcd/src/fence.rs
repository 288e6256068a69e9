//! A guard inside the application's own transaction.

use etcd_client::{Compare, CompareOp};
use lease_core::{FencingToken, LeaseName};

use crate::EtcdStore;

impl EtcdStore {
    /// The comparison that lets a transaction in **the same cluster** succeed only while the grant with this token is in
    /// force: real exclusion for the data in it, also against a holder that was paused.
    ///
    /// It compares the create revision of the lease's key with the token. A grant that was released, broken in either way,
    /// taken over or has expired has no such key. With a comparison only, and not as an operation, it changes nothing and is in
    /// nobody's way. It compares nothing else: when the servers' data is lost, revisions begin anew, and a later grant of the
    /// name may have the token of an earlier one.
    ///
    /// For data elsewhere send the token with the write, and let the resource refuse smaller ones.
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
    ///     // the lease is lost, and nothing was written
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn fence(&self, name: &LeaseName, token: FencingToken) -> Compare {
        // No key has a create revision beyond i64.
        let revision = i64::try_from(token.get()).unwrap_or(i64::MAX);
        Compare::create_revision(self.key(name), CompareOp::Equal, revision)
    }
}
