//! The stores, each behind its feature.

#[cfg(feature = "consul")]
pub(crate) mod consul;
#[cfg(feature = "cosmos")]
pub(crate) mod cosmos;
#[cfg(feature = "document")]
mod document;
#[cfg(feature = "etcd")]
pub(crate) mod etcd;
#[cfg(feature = "file")]
pub(crate) mod file;
#[cfg(feature = "kubernetes")]
pub(crate) mod kubernetes;
#[cfg(feature = "memory")]
pub(crate) mod memory;
#[cfg(feature = "object-store")]
pub(crate) mod object_store;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "zookeeper")]
pub(crate) mod zookeeper;
