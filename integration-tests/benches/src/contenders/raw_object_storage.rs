//! An object for each name, by object_store alone.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use integration_tests::ObjectStorage;
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, UpdateVersion,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use tokio::sync::Mutex;

use crate::{
    contender::{Contender, Held, Resource},
    open::BUCKET,
};

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
        let (storage, path) = (Arc::clone(&self.storage), Path::from(format!("raw/{name}")));
        // An earlier measurement has left it free.
        let free = match storage.head(&path).await {
            Ok(object) => Some(UpdateVersion { e_tag: object.e_tag, version: object.version }),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Box::new(Object { storage, path, free: Arc::new(Mutex::new(free)) }))
    }
}

#[derive(Clone)]
struct Object {
    storage: Arc<AmazonS3>,
    path: Path,
    /// The version of the object that says it is free; `None` before there is one.
    free: Arc<Mutex<Option<UpdateVersion>>>,
}

impl Object {
    async fn write(&self, content: &'static str, mode: PutMode) -> Result<UpdateVersion> {
        Ok(self.storage.put_opts(&self.path, content.into(), mode.into()).await?.into())
    }
}

#[async_trait]
impl Resource for Object {
    async fn lock_free(&self) -> Result<Box<dyn Held>> {
        let free = self.free.lock().await.take();
        let version =
            self.write(HOLDER, free.map_or(PutMode::Create, PutMode::Update)).await.context("it is not free")?;
        Ok(Box::new(Grant { object: self.clone(), version }))
    }

    async fn lock(&self) -> Result<Box<dyn Held>> {
        bail!("a driver alone does not wait")
    }
}

struct Grant {
    object: Object,
    version: UpdateVersion,
}

#[async_trait]
impl Held for Grant {
    async fn release(self: Box<Self>) -> Result<()> {
        let Self { object, version } = *self;
        let free = object.write("free", PutMode::Update(version)).await.context("it was not held")?;
        *object.free.lock().await = Some(free);
        Ok(())
    }

    async fn crash(self: Box<Self>) -> Result<()> {
        bail!("it has no expiry")
    }
}
