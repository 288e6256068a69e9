//! Stores of providers that have a name of their own.

/// Implements [`LeaseStore`](lease_core::LeaseStore) for a type whose only field is a [`DocumentStore`](crate::DocumentStore): a
/// provider that names its store keeps its backend private, and adds what is special about it.
///
/// ```
/// # use std::sync::Arc;
/// # use async_trait::async_trait;
/// # use lease_core::{LeaseName, Result};
/// # use lease_document::{About, Documents, Looked, Page, Put, Version};
/// use lease_document::DocumentStore;
/// #
/// # #[derive(Debug)]
/// # struct Rows;
/// #
/// # #[async_trait]
/// # impl Documents for Rows {
/// #     fn about(&self) -> About { unimplemented!() }
/// #     async fn get(&self, _: &LeaseName) -> Result<Looked> { unimplemented!() }
/// #     async fn put_if(&self, _: &LeaseName, _: Vec<u8>, _: Option<&Version>) -> Result<Put> { unimplemented!() }
/// #     async fn list(&self, _: &str, _: Option<&LeaseName>, _: usize) -> Result<Page> { unimplemented!() }
/// # }
///
/// /// Keeps leases in rows.
/// #[derive(Debug, Clone)]
/// pub struct RowStore(DocumentStore<Rows>);
///
/// lease_document::lease_store!(RowStore);
/// ```
#[macro_export]
macro_rules! lease_store {
    ($store:ty) => {
        const _: () = {
            use $crate::__private::{
                AcquireRequest, Acquired, Break, Capabilities, FencingToken, LeaseName, LeaseRecord, LeaseStore,
                ReleaseRequest, Released, RenewRequest, Renewed, Result, Revocations, Wakeups,
            };

            #[$crate::__private::async_trait]
            #[deny(clippy::missing_trait_methods)]
            impl LeaseStore for $store {
                fn capabilities(&self) -> Capabilities {
                    self.0.capabilities()
                }

                async fn acquire(&self, requests: &[AcquireRequest]) -> Vec<Result<Acquired>> {
                    self.0.acquire(requests).await
                }

                async fn renew(&self, requests: &[RenewRequest]) -> Vec<Result<Renewed>> {
                    self.0.renew(requests).await
                }

                async fn release(&self, requests: &[ReleaseRequest]) -> Vec<Result<Released>> {
                    self.0.release(requests).await
                }

                async fn inspect(&self, name: &LeaseName) -> Result<Option<LeaseRecord>> {
                    self.0.inspect(name).await
                }

                async fn list(
                    &self,
                    prefix: &str,
                    after: Option<&LeaseName>,
                    limit: usize,
                ) -> Result<Vec<LeaseRecord>> {
                    self.0.list(prefix, after, limit).await
                }

                async fn break_lease(&self, name: &LeaseName, token: FencingToken, how: Break) -> Result<Released> {
                    self.0.break_lease(name, token, how).await
                }

                fn subscribe(&self, name: &LeaseName) -> Wakeups {
                    self.0.subscribe(name)
                }

                fn revocations(&self) -> Revocations {
                    self.0.revocations()
                }

                fn part_of(&self, name: &LeaseName) -> u16 {
                    self.0.part_of(name)
                }
            }
        };
    };
}
