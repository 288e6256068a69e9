//! Finds the servers of a Cluster: reads the slot map, and waits for the server of a slot.

use std::{sync::Arc, time::Duration};

use fred::{
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{ClientLike, Value},
    types::config::Server,
};
use futures::{StreamExt, stream::FuturesUnordered};
use lease_core::{Clock, SystemClock};

use super::{
    Connections,
    cluster::{Cluster, SlotMap, migration_targets},
    connection::Connection,
};
use crate::{
    driver::timed_out,
    failure::{Access, Failure, Sent},
    keys::Keys,
};

/// How long a call waits for a server of a Cluster that is reconnecting: longer than that takes, and short enough for the calls
/// that wait behind it.
const RECONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// How long servers may take to answer with the map.
const MAP_TIMEOUT: Duration = Duration::from_secs(1);

/// How long other servers are waited for after one has answered with an incomplete map.
const BETTER_MAP_TIMEOUT: Duration = Duration::from_millis(50);

/// A server that may have keys of a store.
#[derive(Clone)]
pub(crate) struct Primary {
    pub(crate) connection: Arc<Connection>,
    /// A key with the store's prefix that this server would have, if there is one.
    pub(crate) probe_key: Option<String>,
}

impl Connections {
    /// Returns the servers that may have keys of the store, and in a Cluster the slot map, which is read for it. Fails if the map
    /// cannot be read, because a part of the servers is no answer (S19).
    pub(crate) async fn primaries(&self, keys: &Keys) -> Result<(Vec<Primary>, Option<SlotMap>), Failure> {
        let Some(cluster) = self.cluster() else {
            let primary = Primary { connection: self.pick(), probe_key: Some(keys.prefix().to_owned()) };
            return Ok((vec![primary], None));
        };
        let map = self.read_map(cluster, self.command_timeout).await?;
        let primaries = map.servers().iter().map(|server| {
            let has_slot = |slot| map.server_of(slot) == Some(server);
            Primary { connection: cluster.connection(server), probe_key: keys.find_with_slot(has_slot) }
        });
        Ok((primaries.collect(), Some(map)))
    }

    /// Returns the servers to which this one is moving slots.
    pub(crate) async fn migration_targets(
        &self,
        connection: &Arc<Connection>,
    ) -> Result<Vec<Arc<Connection>>, Failure> {
        let Some(cluster) = self.cluster() else { return Ok(Vec::new()) };
        let answer = self.query(connection, "CLUSTER", vec![Value::from_static_str("NODES")]).await?;
        let servers = migration_targets(&answer.into_string().unwrap_or_default());
        Ok(servers.iter().map(|server| cluster.connection(server)).collect())
    }

    /// Reads the slot map. Returns whether it is still the given one.
    pub(crate) async fn is_unchanged(&self, map: Option<&SlotMap>) -> Result<bool, Failure> {
        match (self.cluster(), map) {
            (Some(cluster), Some(map)) => Ok(self.read_map(cluster, self.command_timeout).await? == *map),
            _ => Ok(true),
        }
    }

    /// Waits until the server that has a slot is connected. Meanwhile another server may become its successor.
    pub(super) async fn server_of(
        &self,
        cluster: &Cluster,
        slot: u16,
        access: Access,
    ) -> Result<(Server, Arc<Connection>), Failure> {
        let clock = SystemClock;
        let began = clock.now();
        loop {
            self.refresh_map(cluster).await;
            let found = cluster.server_of(slot).map(|server| (cluster.connection(&server), server));
            let (timeout, failure) = match found {
                Some((connection, server)) if connection.client().is_connected() => return Ok((server, connection)),
                Some((connection, server)) => {
                    let is_new = connection.generation() == 0;
                    let timeout = if is_new { self.command_timeout } else { RECONNECT_TIMEOUT };
                    (timeout, Failure::new(timed_out(), Sent::No, access).at(&server))
                }
                None => {
                    let none = DriverError::new(DriverErrorKind::Cluster, format!("no server has the slot {slot}"));
                    (RECONNECT_TIMEOUT, Failure::new(none, Sent::No, access))
                }
            };
            cluster.mark_stale();
            if clock.now() >= began + timeout.min(self.command_timeout) {
                return Err(failure);
            }
            clock.sleep_until(clock.now() + Duration::from_millis(5)).await;
        }
    }

    /// Reads the slot map if it is old or stale, unless another call is reading it.
    async fn refresh_map(&self, cluster: &Cluster) {
        if !cluster.needs_refresh() {
            return;
        }
        let _reading = match cluster.reading.try_lock() {
            Ok(reading) => reading,
            Err(_) if cluster.has_no_map() => {
                let _read = cluster.reading.lock().await;
                return;
            }
            Err(_) => return,
        };
        let timeout = if cluster.has_no_map() { self.command_timeout } else { MAP_TIMEOUT };
        // If it fails, the old map is used.
        let _ = self.read_map(cluster, timeout).await;
    }

    /// Reads the slot map: the first complete one that a server answers with, or else the one with the most slots. Redirections
    /// correct a server's outdated map.
    pub(super) async fn read_map(&self, cluster: &Cluster, timeout: Duration) -> Result<SlotMap, Failure> {
        let clock = SystemClock;
        let mut deadline = clock.now() + timeout;
        let slots = || vec![Value::from_static_str("SLOTS")];
        let mut answers: FuturesUnordered<_> = cluster
            .map_sources()
            .into_iter()
            .map(|(server, connection)| async move { (self.query(&connection, "CLUSTER", slots()).await, server) })
            .collect();
        let mut best = SlotMap::default();
        let unknown = DriverError::new(DriverErrorKind::Cluster, "no server has answered with a slot map");
        let mut failure = Failure::new(unknown, Sent::No, Access::Read);
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                () = clock.sleep_until(deadline) => None,
            };
            match answer {
                Some((Ok(answer), server)) => {
                    let map = cluster.parse_map(&answer, &server).unwrap_or_default();
                    if map.covered() > best.covered() {
                        best = map;
                        deadline = deadline.min(clock.now() + BETTER_MAP_TIMEOUT);
                    }
                    if best.is_complete() {
                        break;
                    }
                }
                Some((Err(error), server)) => failure = error.at(&server),
                None => break,
            }
        }
        if best.covered() == 0 {
            return Err(failure);
        }
        cluster.set_map(best.clone());
        Ok(best)
    }
}
