//! The connections of a store's own: one for each runtime.

use std::sync::{Arc, Mutex, PoisonError};

use fred::{
    clients::Client,
    prelude::{ClientLike, Config},
};
use tokio::runtime::{self, Handle};

use super::connection::Connection;
use crate::{
    RedisStoreOptions,
    driver::{connection_config, performance_config, reconnect_policy},
};

/// The store's own connections to one server, one for each runtime that calls: a connection is of no use when its runtime idles
/// or has ended.
pub(crate) struct OwnConnections {
    client: Client,
    by_runtime: Mutex<Vec<(runtime::Id, Arc<Connection>)>>,
}

impl OwnConnections {
    /// Creates the set with its first connection, which belongs to the current runtime.
    pub(crate) fn new(client: Client, first: Connection) -> Self {
        let first = (Handle::current().id(), Arc::new(first));
        Self { client, by_runtime: Mutex::new(vec![first]) }
    }

    /// Returns the connection of the current runtime, opening it at the first call. Outside a runtime, where nothing can be
    /// called, returns any.
    pub(crate) fn of_this_runtime(&self) -> Arc<Connection> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut connections = self.by_runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let last = connections.last().map(|(_, connection)| Arc::clone(connection));
        let is_usable = |(id, connection): &&(runtime::Id, Arc<Connection>)| {
            here.is_none_or(|here| here == *id) && !connection.has_ended()
        };
        if let Some((_, connection)) = connections.iter().find(is_usable) {
            return Arc::clone(connection);
        }
        match (here, last) {
            (None, Some(last)) => last,
            (None, None) => Arc::new(Connection::new(self.client.clone(), None)),
            (Some(here), _) => {
                connections.retain(|(_, connection)| !connection.has_ended());
                let client = self.client.clone_new();
                let task = client.connect();
                let connection = Arc::new(Connection::new(client, Some(task)));
                connections.push((here, Arc::clone(&connection)));
                connection
            }
        }
    }
}

/// Creates a client of the store's own that is not connected.
pub(crate) fn new_client(config: Config, options: &RedisStoreOptions) -> Client {
    Client::new(config, Some(performance_config(options)), Some(connection_config(options)), Some(reconnect_policy()))
}
