//! The stores. Each function opens one, or returns `None` if the store is not built in.

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

use lease_core::Result;

use crate::Opened;

#[cfg(feature = "memory")]
pub(crate) fn memory(url: &str) -> Option<Result<Opened>> {
    Some(memory::open(url))
}

#[cfg(not(feature = "memory"))]
pub(crate) fn memory(_: &str) -> Option<Result<Opened>> {
    None
}

#[cfg(feature = "postgres")]
pub(crate) async fn postgres(url: &str) -> Option<Result<Opened>> {
    Some(postgres::open(url).await)
}

#[cfg(not(feature = "postgres"))]
pub(crate) async fn postgres(_: &str) -> Option<Result<Opened>> {
    None
}

#[cfg(feature = "redis")]
pub(crate) async fn redis(url: &str) -> Option<Result<Opened>> {
    Some(redis::open(url).await)
}

#[cfg(not(feature = "redis"))]
pub(crate) async fn redis(_: &str) -> Option<Result<Opened>> {
    None
}

#[cfg(feature = "etcd")]
pub(crate) async fn etcd(url: &str) -> Option<Result<Opened>> {
    Some(etcd::open(url).await)
}

#[cfg(not(feature = "etcd"))]
pub(crate) async fn etcd(_: &str) -> Option<Result<Opened>> {
    None
}
