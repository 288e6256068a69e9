//! What the [latch](crate::latch) is made of. A test puts other types in their place, to see every interleaving.

pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

pub(crate) use tokio::sync::watch;
