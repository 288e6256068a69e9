//! The stores, each behind its feature.

#[cfg(feature = "consul")]
pub(crate) mod consul;
#[cfg(feature = "cosmos")]
pub(crate) mod cosmos;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
