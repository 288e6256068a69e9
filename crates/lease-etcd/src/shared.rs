//! The state of a store, which all operations use.

use std::sync::Arc;

use crate::{
    buckets::Buckets, connections::Connections, keys::Keys, limits::Limits, recently_held::RecentlyHeld,
    transactions::Transactions, watch::Watch,
};

/// The state that all clones of a store share. Each operation is an `impl` of this type in a file of its own.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connections: Arc<Connections>,
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    pub(crate) buckets: Buckets,
    pub(crate) transactions: Transactions,
    pub(crate) recently_held: RecentlyHeld,
    pub(crate) watch: Watch,
}

impl Shared {
    pub(crate) fn new(connections: Connections, keys: Keys, limits: Limits) -> Self {
        let connections = Arc::new(connections);
        let watch = Watch::new(Arc::clone(&connections), keys.clone());
        let (buckets, transactions) = (Buckets::new(), Transactions::new());
        let recently_held = RecentlyHeld::default();
        Self { connections, keys, limits, buckets, transactions, recently_held, watch }
    }
}
