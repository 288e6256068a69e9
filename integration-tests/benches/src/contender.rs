//! The contenders: this library, drivers alone and other libraries, by the same few operations.

use anyhow::Result;
use async_trait::async_trait;

/// One way to get locks from a store.
#[async_trait]
pub(crate) trait Contender: Send + Sync {
    /// Returns the name in the tables.
    fn name(&self) -> &'static str;

    /// Creates a resource that can be locked, once for each name, before the measurement.
    async fn resource(&self, name: &str) -> Result<Box<dyn Resource>>;
}

/// A resource that can be locked.
#[async_trait]
pub(crate) trait Resource: Send + Sync {
    /// Acquires a lock that is free. Returns an error if it is not.
    async fn lock_free(&self) -> Result<Box<dyn Held>>;

    /// Acquires a lock, and waits while another holder has it, by this contender's own means.
    async fn lock(&self) -> Result<Box<dyn Held>>;
}

/// A lock that is held.
#[async_trait]
pub(crate) trait Held: Send + Sync {
    /// Releases the lock, and returns when it is released.
    async fn release(self: Box<Self>) -> Result<()>;

    /// Neither renews nor releases the lock, like a holder that has crashed.
    async fn crash(self: Box<Self>) -> Result<()>;
}
