//! An object for each name, by object_store alone.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use integration_tests::ObjectStorage;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use torture::open::BUCKET;

use crate::contender::{Contender, Held, Resource};

pub(crate) const NAME: &str = "raw object_store";

const HOLDER: &str = "host-4711-0123456789abcdef";

pub(crate) struct RawObjectStorage {
    storage: Arc<AmazonS3>,
}

impl RawObjectStorage {
    /// Connects to a server with this address.
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let storage = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", address.trim_end_matches('/')))
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_access_key_id(ObjectStorage::ACCESS_KEY)
            .with_secret_access_key("any")
            .build()?;
        Ok(Self { storage: Arc::new(storage) })
    }
}

#[async_trait]
impl Contender for RawObjectStorage {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>> {
        Ok(Box::new(Object { storage: Arc::clone(&self.storage), path: Path::from(format!("raw/{name}")) }))
    }
}

#[derive(Clone)]
struct Object {
    storage: Arc<AmazonS3>,
    path: Path,
}

#[async_trait]
impl Resource for Object {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let written = self.storage.put_opts(&self.path, HOLDER.into(), PutMode::Create.into()).await;
        written.context("it is not free")?;
        Ok(Box::new(self.clone()))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

#[async_trait]
impl Held for Object {
    async fn release(self: Box<Self>) -> Result<()> {
        // There is no conditional delete.
        self.storage.delete(&self.path).await.context("it was not held")?;
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        bail!("it has no expiry")
    }
}
