//! What the operations of a store share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::prelude::Value;
use lease_core::Error;

use crate::{
    RedisStoreOptions, STORE, WaitReplicas,
    connections::Connections,
    failure::{Failure, classify},
    keys::Keys,
    listener::Listener,
    preflight::Preflight,
    scripts::Scripts,
};

/// The smallest ttl: a renewal needs time for its round trips.
pub(crate) const MIN_TTL: Duration = Duration::from_millis(10);

/// The largest ttl.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// The state that all operations, and all clones of a store, share.
pub(crate) struct Shared {
    keys: Keys,
    scripts: Scripts,
    connections: Arc<Connections>,
    listener: Option<Listener>,
    preflight: Arc<Preflight>,
    are_hints_refused: AtomicBool,
    options: RedisStoreOptions,
}

impl Shared {
    pub(crate) fn new(options: &RedisStoreOptions, connections: Connections) -> Self {
        let (keys, connections) = (Keys::new(&options.key_prefix), Arc::new(connections));
        let listener = options.notifications.then(|| Listener::new(Arc::clone(&connections), keys.clone(), options));
        let preflight = Arc::new(Preflight::new(Arc::clone(&connections), keys.clone(), options));
        Self {
            keys,
            scripts: Scripts::new(),
            connections,
            listener,
            preflight,
            are_hints_refused: AtomicBool::new(false),
            options: options.clone(),
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(crate) fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    pub(crate) fn preflight(&self) -> &Arc<Preflight> {
        &self.preflight
    }

    pub(crate) fn wait_replicas(&self) -> Option<WaitReplicas> {
        self.options.wait_replicas
    }

    /// Returns the retention in milliseconds, the first argument of the scripts.
    pub(crate) fn retention(&self) -> Value {
        i64::try_from(self.options.retention.as_millis()).unwrap_or(i64::MAX).into()
    }

    /// Warns once that the server refuses to publish hints. This costs waiters time, never safety (S20).
    pub(crate) fn warn_of_refused_hint(&self) {
        if self.listener.is_some() && !self.are_hints_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                store = STORE,
                server = self.connections.server(),
                "the server refuses to publish hints, so waiters poll: allow the user +publish and the channels of the prefix"
            );
        }
    }

    pub(crate) fn error(&self, operation: &'static str, failure: Failure) -> Error {
        classify(operation, self.connections.server(), failure)
    }
}
