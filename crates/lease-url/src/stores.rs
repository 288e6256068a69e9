//! The stores, each behind its feature.

#[cfg(feature = "etcd")]
pub(crate) mod etcd;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "object-store")]
pub(crate) mod object_store;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
