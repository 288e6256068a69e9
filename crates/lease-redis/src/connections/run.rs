//! Runs a script: at the right server, and again where that is safe.

use std::{sync::Arc, time::Duration};

use fred::types::config::Server;
use lease_core::{Clock, SystemClock};

use super::{
    Connections, Kind,
    call::{Answered, Arguments, Attempts, CallOptions, ScriptRef},
    cluster::{Cluster, Redirection, StaleOnDrop},
    connection::Connection,
};
use crate::{
    failure::{Failure, Sent},
    reply::{is_ask, is_no_script, is_read_only, is_redirection, is_reply},
    scripts::Script,
};

/// How long a call waits until its connection has left a replica.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many redirections a call follows: to the server that has the slot, and to the one to which it is being moved.
const MAX_REDIRECTIONS: usize = 4;

impl Connections {
    /// Runs a script. In a Cluster, `slot` is the slot of all its keys.
    ///
    /// The script is repeated, with the same keys and arguments, in three cases: with its text, if the server has dropped it from
    /// its cache; after an error of the server or an `ASK`, which are believed when they come twice; and at another server, after
    /// the answer of a replica.
    pub(crate) async fn run(
        &self,
        slot: Option<u16>,
        script: &Script,
        options: CallOptions,
        arguments: impl Fn() -> Arguments + Send + Sync,
    ) -> Result<Answered, Failure> {
        match (&self.kind, slot) {
            (Kind::Cluster(cluster), Some(slot)) => {
                Box::pin(self.run_in_cluster(cluster, slot, script, options, &arguments)).await
            }
            _ => self.run_on(&self.pick(), script, options, &arguments).await,
        }
    }

    /// Runs a script at the server that has the slot, or to which the slot is being moved.
    async fn run_in_cluster(
        &self,
        cluster: &Cluster,
        slot: u16,
        script: &Script,
        mut options: CallOptions,
        arguments: &(impl Fn() -> Arguments + Send + Sync),
    ) -> Result<Answered, Failure> {
        let (mut redirection, mut redirections, mut was_at_replica) = (None, 0, false);
        loop {
            options.asking = false;
            let (server, connection) = match redirection.take() {
                Some(Redirection { server, is_ask, .. }) => {
                    options.asking = is_ask;
                    let connection = cluster.connection(&server);
                    (server, connection)
                }
                None => self.server_of(cluster, slot, options.access).await?,
            };
            let stale = StaleOnDrop::new(cluster);
            let generation = connection.generation();
            let failure = match self.run_on(&connection, script, options, arguments).await {
                Ok(answered) => {
                    stale.keep_map();
                    return Ok(answered);
                }
                Err(failure) => failure,
            };
            match redirection_of(&failure, &server) {
                Some(other) if other.slot != slot => {
                    return Err(self.wrong_answer(&connection, generation, options.access));
                }
                Some(other) if redirections < MAX_REDIRECTIONS => {
                    redirections += 1;
                    options.has_failed |= failure.sent != Sent::No;
                    if other.is_ask {
                        stale.keep_map();
                    } else {
                        cluster.moved(slot, &other.server);
                    }
                    redirection = Some(other);
                }
                None if failure.sent == Sent::ToReplica && !was_at_replica => was_at_replica = true,
                _ => return Err(failure.at(&server)),
            }
        }
    }

    /// Runs a script on one connection.
    pub(crate) async fn run_on(
        &self,
        connection: &Arc<Connection>,
        script: &Script,
        options: CallOptions,
        arguments: &(impl Fn() -> Arguments + Send + Sync),
    ) -> Result<Answered, Failure> {
        // In a Cluster, each server has its own connection. One of the application's clients is not made to reconnect at once.
        let can_reconnect = matches!(self.kind, Kind::Own(_));
        let first = connection.generation();
        let (mut with_text, mut has_failed) = (false, options.has_failed);
        let (mut was_at_replica, mut was_asked) = (false, false);
        loop {
            let generation = connection.generation();
            let form = if with_text { ScriptRef::Text(script.text()) } else { ScriptRef::Hash(script.hash()) };
            let mut failure = match self.send_script(connection, generation, form, options, arguments()).await {
                Ok(answered) => {
                    let attempts = match (with_text, has_failed || was_asked) {
                        (false, false) => Attempts::One,
                        (true, false) if connection.generation() == first => Attempts::WithText,
                        _ => Attempts::Several,
                    };
                    return Ok(Answered { attempts, ..answered });
                }
                Err(failure) => failure,
            };
            if failure.sent == Sent::ToReplica && !was_at_replica && can_reconnect {
                was_at_replica = true;
                self.leave_server(connection, generation).await;
                continue;
            }
            if self.is_cluster() && is_redirection(&failure.source) {
                // The answer to another call would lead to a server without the record, which grants a name that is held.
                if is_ask(&failure.source) && !was_asked {
                    was_asked = true;
                    continue;
                }
                // Nothing was done, because the redirection names the slot. But an error before it may have been the answer to
                // another call.
                failure.sent = if has_failed { Sent::Maybe } else { Sent::No };
                return Err(failure);
            }
            let needs_text = is_no_script(&failure.source) && !with_text;
            if failure.sent == Sent::Maybe && is_reply(&failure.source) && (needs_text || !has_failed) {
                if needs_text {
                    with_text = true;
                } else {
                    has_failed = true;
                    if is_read_only(failure.source.details()) && can_reconnect {
                        self.leave_server(connection, generation).await;
                    }
                }
                continue;
            }
            if failure.sent == Sent::No && (has_failed || was_asked || with_text) {
                failure.sent = Sent::Maybe;
            }
            return Err(failure);
        }
    }

    /// Makes a connection leave its server, and waits for it for a while.
    async fn leave_server(&self, connection: &Arc<Connection>, generation: u64) {
        let clock = SystemClock;
        let deadline = clock.now() + self.command_timeout.min(LEAVE_TIMEOUT);
        connection.reconnect(generation);
        while connection.generation() == generation && clock.now() < deadline {
            clock.sleep_until(clock.now() + Duration::from_millis(1)).await;
        }
    }
}

/// Returns the server to which a failed call is redirected, if the failure is a redirection.
fn redirection_of(failure: &Failure, asked: &Server) -> Option<Redirection> {
    if is_redirection(&failure.source) { Redirection::parse(failure.source.details(), asked) } else { None }
}
