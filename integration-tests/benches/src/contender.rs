//! Who is measured: this library, a driver alone, other libraries, all by the same few operations.

use anyhow::Result;
use async_trait::async_trait;

/// One way to get locks from a store.
#[async_trait]
pub(crate) trait Contender: Send + Sync {
    /// As it is called in tables.
    fn name(&self) -> &'static str;

    /// Something that can be locked. Made once for each name, before anything is measured.
    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>>;
}

/// Something that can be locked.
#[async_trait]
pub(crate) trait Resource: Send + Sync {
    /// Gets a lock that is free. An error when it is not.
    async fn lock_free(&self) -> Result<Box<dyn Held>>;

    /// Gets a lock, and waits for it while somebody else has it, in the way that this contender has for it.
    async fn lock(&self) -> Result<Box<dyn Held>>;
}

/// A lock that is held.
#[async_trait]
pub(crate) trait Held: Send + Sync {
    /// Gives it back, and returns when that is done.
    async fn release(self: Box<Self>) -> Result<()>;

    /// Neither renews nor releases it: what is left of a holder that has crashed.
    async fn crash(self: Box<Self>) -> Result<()>;
}
