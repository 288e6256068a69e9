//! How a store is created: by a URL, or with a client of the application.

use fred::{clients::Client, prelude::Pool};
use lease_core::{ErrorKind, Result};

use crate::{RedisStore, RedisStoreOptions, connections::Connections, error::redis_error, url};

impl RedisStoreOptions {
    /// Connects to a server, a Sentinel or a Cluster with a client of the store's own, and checks the server as
    /// [`RedisStore::check`] does. Warnings are logged.
    ///
    /// | | |
    /// |---|---|
    /// | one server | `redis://user:password@host:port/database` |
    /// | Sentinel | `redis-sentinel://user:password@sentinel:26379/database?sentinelServiceName=name&node=sentinel2:26379` |
    /// | Cluster | `redis-cluster://user:password@host:port?node=host2:port` |
    ///
    /// Further hosts are further `node` parameters; an IPv6 address is written in brackets. One reachable host of a Cluster, and
    /// one reachable sentinel, is enough.
    ///
    /// `rediss://`, `rediss-sentinel://` and `rediss-cluster://` use TLS and trust the certificates of the system. `valkey` may
    /// be written for `redis` everywhere. `sentinelUsername` and `sentinelPassword` are for sentinels that require them.
    ///
    /// # Errors
    ///
    /// * `Invalid`: the URL, an option or a certificate is not valid, the database does not exist, or the server evicts keys.
    /// * `Denied`: the server refuses the user or the password.
    /// * `Unsupported`: the server is too old; the error names the version that is needed.
    /// * `Unavailable`: the server does not answer, or it is a replica.
    ///
    /// No error contains the URL or the password.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future leaves nothing behind.
    pub async fn connect(&self, url: &str) -> Result<RedisStore> {
        self.validate()?;
        // Without the URL and the parser's message: both contain the password.
        let mut config =
            url::parse(url).ok_or_else(|| redis_error(ErrorKind::Invalid, "connect", url::HOW_TO_WRITE_IT))?;
        if let Some((user, password)) = &self.user {
            (config.username, config.password) = (Some(user.clone()), Some(password.clone()));
        }
        self.certificates.apply_to(&mut config)?;
        let store = RedisStore::new(self, Connections::open(config, self).await?);
        store.shared.preflight().before_a_call(true).await?;
        Ok(store)
    }

    /// Creates a store that uses a client of the application, which the application has connected.
    ///
    /// A client of a Cluster is not used itself: the driver mixes up answers when it follows a redirection, and disconnects from
    /// all servers when one is lost. Such a client provides only the configuration, and the store connects at the first call, as
    /// the same user.
    ///
    /// Commands get this store's own timeout, and the client does not repeat them. The client is made to reconnect when its
    /// connection hangs, so that not even a `PING` is answered (S24), when it leads to a replica for longer than a second, and
    /// when it gives the answer to one command to another one (S25). The server is checked at the first call, as
    /// [`RedisStore::check`] does. The subscription has a connection of its own with the same configuration.
    ///
    /// On Linux, set `TcpConfig::user_timeout` in the client's `ConnectionConfig` (the driver's feature `tcp-user-timeouts`), to
    /// five seconds for example, as the store does for its own connections. Otherwise a client whose host has vanished may hang
    /// for a quarter of an hour, when so much was written that the socket is full.
    ///
    /// # Errors
    ///
    /// `Invalid`: an option is not valid.
    pub fn with_client(&self, client: Client) -> Result<RedisStore> {
        self.borrow(vec![client])
    }

    /// Creates a store that uses a pool of the application, as [`RedisStoreOptions::with_client`] uses a client.
    ///
    /// # Errors
    ///
    /// As for [`RedisStoreOptions::with_client`].
    pub fn with_pool(&self, pool: &Pool) -> Result<RedisStore> {
        self.borrow(pool.clients().to_vec())
    }

    fn borrow(&self, clients: Vec<Client>) -> Result<RedisStore> {
        self.validate()?;
        Ok(RedisStore::new(self, Connections::borrow(clients, self)))
    }
}

impl RedisStore {
    /// Connects to `redis://user:password@host:port/database` with the default options. See [`RedisStoreOptions::connect`], also
    /// for Sentinel and Cluster.
    ///
    /// # Errors
    ///
    /// As for [`RedisStoreOptions::connect`]. No error contains the URL or the password.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future leaves nothing behind.
    pub async fn connect(url: &str) -> Result<Self> {
        RedisStoreOptions::new().connect(url).await
    }

    /// Creates a store that uses a client of the application, with the default options. See [`RedisStoreOptions::with_client`].
    ///
    /// # Errors
    ///
    /// None with the default options.
    pub fn with_client(client: Client) -> Result<Self> {
        RedisStoreOptions::new().with_client(client)
    }
}
