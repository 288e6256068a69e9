//! One transaction for each operation, by etcd-client alone, on one etcd lease that all names share.

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "raw etcd-client";

const HOLDER: &str = "host-4711-0123456789abcdef";

#[derive(Clone)]
pub(crate) struct RawEtcd {
    client: Client,
    lease: i64,
}

impl RawEtcd {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let mut client = Client::connect([url], None).await?;
        // Longer than any measurement, so that nothing needs to keep it alive.
        let lease = client.lease_grant(3600, None).await?.id();
        Ok(Self { client, lease })
    }
}

#[async_trait]
impl Contender for RawEtcd {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Name { etcd: self.clone(), key: format!("raw/{name}") }))
    }
}

struct Name {
    etcd: RawEtcd,
    key: String,
}

#[async_trait]
impl Resource for Name {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let put = TxnOp::put(self.key.as_str(), HOLDER, Some(PutOptions::new().with_lease(self.etcd.lease)));
        let is_free = Compare::create_revision(self.key.as_str(), CompareOp::Equal, 0);
        let transaction = Txn::new().when([is_free]).and_then([put]).or_else([TxnOp::get(self.key.as_str(), None)]);
        let response = self.etcd.client.clone().txn(transaction).await?;
        ensure!(response.succeeded(), "it is not free");
        let token = response.header().context("no header")?.revision();
        Ok(Box::new(Grant { etcd: self.etcd.clone(), key: self.key.clone(), token }))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

struct Grant {
    etcd: RawEtcd,
    key: String,
    token: i64,
}

#[async_trait]
impl Held for Grant {
    async fn release(self: Box<Self>) -> Result<()> {
        let is_ours = Compare::create_revision(self.key.as_str(), CompareOp::Equal, self.token);
        let transaction = Txn::new().when([is_ours]).and_then([TxnOp::delete(self.key.as_str(), None)]);
        ensure!(self.etcd.client.clone().txn(transaction).await?.succeeded(), "it was not held");
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        bail!("its etcd lease is shared")
    }
}
