//! The primitives of the [latch](super::latch). A test replaces them, to explore every interleaving.

pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

pub(crate) use tokio::sync::watch;
