//! A node for each name, by zookeeper-client alone.

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use zookeeper_client::{Acls, Client, CreateMode};

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "raw zookeeper-client";

const HOLDER: &[u8] = b"host-4711-0123456789abcdef";
const PARENT: &str = "/raw";

pub(crate) struct RawZooKeeper {
    client: Client,
}

impl RawZooKeeper {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let client = Client::connect(address).await?;
        client.mkdir(PARENT, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Contender for RawZooKeeper {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        // A name with a slash would need a node for each part.
        Ok(Box::new(Node { client: self.client.clone(), path: format!("{PARENT}/{}", name.replace('/', "-")) }))
    }
}

#[derive(Clone)]
struct Node {
    client: Client,
    path: String,
}

#[async_trait]
impl Resource for Node {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        self.client.create(&self.path, HOLDER, &options).await.context("it is not free")?;
        Ok(Box::new(self.clone()))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

#[async_trait]
impl Held for Node {
    async fn release(self: Box<Self>) -> Result<()> {
        self.client.delete(&self.path, Some(0)).await.context("it was not held")?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        bail!("it has no expiry")
    }
}
