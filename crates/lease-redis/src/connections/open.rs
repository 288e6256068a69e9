//! Opens the first connections of a store.

use fred::{
    clients::Client,
    prelude::{ClientLike, Config},
    types::RespVersion,
};
use futures::{StreamExt, stream::FuturesUnordered};
use lease_core::{Clock, Result, SystemClock};

use super::{
    Connections, Kind,
    cluster::Cluster,
    connection::Connection,
    own::{OwnConnections, new_client},
};
use crate::{
    RedisStoreOptions,
    driver::timed_out,
    failure::{Access, Failure, Sent, classify},
    redact::redacted_while_connecting,
    url,
};

impl Connections {
    /// Connects with clients of the store's own.
    pub(crate) async fn open(mut config: Config, options: &RedisStoreOptions) -> Result<Self> {
        let server = url::describe(&config);
        config.version = RespVersion::RESP3;
        let passwords = url::passwords(&config);
        let clock = SystemClock;
        let deadline = clock.now() + options.connect_timeout;
        let opened = async {
            if !config.server.is_clustered() {
                // The first connection fails at once, with the reason. Later ones are attempted again and again.
                config.fail_fast = true;
                let (client, connection) = connect(new_client(config, options)).await?;
                return Ok(Self::new(Kind::Own(OwnConnections::new(client, connection)), server.clone(), options));
            }
            let cluster = Cluster::new(config, options);
            connect_to_any(&cluster).await?;
            let connections = Self::new(Kind::Cluster(Box::new(cluster)), server.clone(), options);
            if let Some(cluster) = connections.cluster() {
                connections.read_map(cluster, options.connect_timeout).await?;
            }
            Ok(connections)
        };
        let outcome = tokio::select! {
            outcome = opened => outcome,
            () = clock.sleep_until(deadline) => Err(Failure::new(timed_out(), Sent::No, Access::Read)),
        };
        outcome.map_err(|failure: Failure| {
            let source = redacted_while_connecting(&failure.source, &passwords);
            classify("connect", &server, Failure { source, ..failure })
        })
    }
}

/// Connects a client. A first connection that fails is an error at once.
async fn connect(client: Client) -> Result<(Client, Connection), Failure> {
    // The outcome is sent once, so the future is polled before the client connects.
    let mut connected = Box::pin(client.wait_for_connect());
    let at_once = futures::poll!(&mut connected);
    debug_assert!(at_once.is_pending(), "the client was connected before");
    // From here on, dropping this future ends the client.
    let connection = Connection::new(client.clone(), Some(client.connect()));
    connected.await.map_err(|error| Failure::new(error, Sent::No, Access::Read))?;
    Ok((client, connection))
}

/// Connects to the configured servers, until one of them answers.
async fn connect_to_any(cluster: &Cluster) -> Result<(), Failure> {
    let seeds = cluster.seeds().iter().map(|seed| async move {
        let config = Config { fail_fast: true, ..cluster.config_for(seed) };
        let connected = connect(cluster.client(config)).await;
        connected.map(|(_, connection)| (seed, connection)).map_err(|failure| failure.at(seed))
    });
    let mut seeds: FuturesUnordered<_> = seeds.collect();
    let mut failure = None;
    while let Some(outcome) = seeds.next().await {
        match outcome {
            Ok((seed, connection)) => {
                cluster.add(seed.clone(), connection);
                return Ok(());
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Failure::new(timed_out(), Sent::No, Access::Read)))
}
