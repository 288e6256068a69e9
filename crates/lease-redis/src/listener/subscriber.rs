//! The task that subscribes to the channels of one runtime's waiters.

use std::sync::Arc;

use fred::{
    clients::SubscriberClient,
    error::ErrorKind as DriverErrorKind,
    prelude::{ClientLike, Config, EventInterface, PubsubInterface},
    types::{ConnectHandle, RespVersion, config::Server},
};
use futures::future::{pending, select_all};
use lease_core::{Clock, LeaseName, Moment, SystemClock, Wakeups};
use tokio::sync::{
    Notify,
    broadcast::{Receiver, error::RecvError},
};

use super::{
    names::Names,
    session::{CHECK_INTERVAL, RETRY_INTERVAL, Role, Session},
};
use crate::{
    RedisStoreOptions, STORE,
    connections::Connections,
    driver::{connection_config, performance_config, reconnect_policy, until_connected},
    keys::Keys,
    redact::redacted,
    reply::is_reply,
};

/// The subscriptions of one runtime. Clones share the names.
#[derive(Clone)]
pub(super) struct Subscriber {
    connections: Arc<Connections>,
    keys: Keys,
    options: RedisStoreOptions,
    names: Names,
    /// Notified when there is a name without a subscription.
    has_new_name: Arc<Notify>,
}

/// The warnings that were logged, and are not logged again.
#[derive(Default)]
struct Warned {
    of_replica: bool,
    of_refusal: bool,
}

impl Subscriber {
    pub(super) fn new(connections: Arc<Connections>, keys: Keys, options: RedisStoreOptions) -> Self {
        Self { connections, keys, options, names: Names::default(), has_new_name: Arc::default() }
    }

    /// Adds a waiter.
    pub(super) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let (wakeups, is_subscribed) = self.names.subscribe(name);
        if !is_subscribed {
            self.has_new_name.notify_one();
        }
        wakeups
    }

    pub(super) fn has_waiters(&self) -> bool {
        self.names.has_waiters()
    }

    /// Notes that there is no connection any more.
    pub(super) fn reset(&self) {
        self.names.reset();
    }

    /// Keeps the subscriptions.
    pub(super) async fn run(self) {
        let Some(cluster) = self.connections.cluster() else {
            let clients = self.connections.clients();
            let Some(client) = clients.first() else { return };
            let reconnects = clients.iter().map(EventInterface::reconnect_rx).collect();
            return self.listen(client.client_config(), None, reconnects).await;
        };
        // A Cluster passes messages on to all its servers, so any server will do.
        let clock = SystemClock;
        for turn in 0.. {
            let Some(server) = cluster.server_for_subscription(turn) else { return };
            self.listen(cluster.config_for(&server), Some(&server), Vec::new()).await;
            self.names.reset();
            clock.sleep_until(clock.now() + RETRY_INTERVAL).await;
        }
    }

    /// Subscribes at the server of this configuration. In a Cluster, returns when the connection is lost. `call_reconnects` are
    /// the reconnections of the clients that make the calls.
    async fn listen(&self, mut config: Config, server: Option<&Server>, mut call_reconnects: Vec<Receiver<Server>>) {
        // The version of the protocol in which answers and messages can share a connection.
        config.version = RespVersion::RESP3;
        config.fail_fast = false;
        let client = SubscriberClient::new(
            config,
            Some(performance_config(&self.options)),
            Some(connection_config(&self.options)),
            Some(reconnect_policy()),
        );
        let mut messages = client.message_rx();
        let mut reconnects = client.reconnect_rx();
        let mut errors = client.error_rx();
        let _task = AbortOnDrop(client.connect());
        let session = Session { client: &client, server, is_lost: Notify::new() };
        let clock = SystemClock;
        let mut next_check = clock.now() + session.check_interval();
        let mut warned = Warned::default();
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => self.wake(&message.channel),
                    // Too many messages at once: each name may have been among them.
                    Err(RecvError::Lagged(_)) => self.names.wake_all(),
                    Err(RecvError::Closed) => return,
                },
                reconnect = reconnects.recv() => match reconnect {
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        // The subscriptions ended with the last connection.
                        self.names.reset();
                        next_check = self.check(&session, &mut warned).await;
                    }
                    Err(RecvError::Closed) => return,
                },
                // The calls have reconnected, and may be at another server.
                () = any_of(&mut call_reconnects) => session.reconnect(),
                _ = errors.recv(), if server.is_some() => return,
                () = session.is_lost.notified() => return,
                () = self.has_new_name.notified() => self.subscribe_missing(&session, &mut warned).await,
                () = clock.sleep_until(next_check) => {
                    self.unsubscribe_unused(&client).await;
                    next_check = self.check(&session, &mut warned).await;
                }
            }
        }
    }

    /// Checks that the connection works, and leads to a server that gets the hints. Subscribes to names without a subscription.
    /// Returns the time of the next check.
    async fn check(&self, session: &Session<'_>, warned: &mut Warned) -> Moment {
        let clock = SystemClock;
        // The driver reports a connection before it can be used.
        if !until_connected(session.client, session.timeout()).await {
            session.lose();
            return clock.now() + RETRY_INTERVAL;
        }
        let cluster = self.connections.cluster();
        if session.server.is_some_and(|server| cluster.is_some_and(|cluster| cluster.has_no_slots(server))) {
            session.lose();
        }
        match session.role().await {
            Ok(Role::Primary) => {
                warned.of_replica = false;
                self.subscribe_missing(session, warned).await;
                clock.now() + session.check_interval()
            }
            Ok(Role::Replica) => {
                if !std::mem::replace(&mut warned.of_replica, true) {
                    tracing::warn!(
                        store = STORE,
                        server = self.connections.server(),
                        "the subscription to hints is at a replica: waiters poll until it is at the primary"
                    );
                }
                self.names.reset();
                session.reconnect_later();
                clock.now() + CHECK_INTERVAL
            }
            Err(error) => {
                tracing::warn!(
                    store = STORE,
                    server = self.connections.server(),
                    error = %redacted(&error),
                    "the connection of the subscription to hints hangs: reconnecting, and waiters poll meanwhile"
                );
                session.reconnect();
                clock.now() + CHECK_INTERVAL
            }
        }
    }

    /// Subscribes to the names without a subscription, and wakes their waiters.
    async fn subscribe_missing(&self, session: &Session<'_>, warned: &mut Warned) {
        // Without a connection, or at a replica, the reconnection leads here again.
        if !session.client.is_connected() || warned.of_replica {
            return;
        }
        let names = self.names.unsubscribed();
        if names.is_empty() {
            return;
        }
        let channels: Vec<String> = names.iter().map(|name| self.keys.key(name)).collect();
        // The driver does not wait for the server's answer. That to a PING behind it shows that the subscription was done; a
        // refusal comes in its place.
        let outcome = match session.client.subscribe(channels).await {
            Ok(()) => session.query("PING").await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(_) => self.names.set_subscribed(&names),
            // The next check tries again.
            Err(error) if is_reply(&error) => {
                if !std::mem::replace(&mut warned.of_refusal, true) {
                    tracing::warn!(
                        store = STORE,
                        server = self.connections.server(),
                        error = %redacted(&error),
                        "the server refuses the subscription to hints, so waiters poll: allow the user +subscribe and the \
                         channels of the prefix"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(
                    store = STORE,
                    server = self.connections.server(),
                    error = %redacted(&error),
                    "the subscription to hints failed: waiters poll until it is repeated"
                );
                // A connection that does not answer is replaced.
                if *error.kind() == DriverErrorKind::Timeout {
                    session.reconnect();
                }
            }
        }
    }

    /// Unsubscribes from the channels without waiters.
    async fn unsubscribe_unused(&self, client: &SubscriberClient) {
        let unused = self.names.remove_unused();
        if client.is_connected() && !unused.is_empty() {
            let channels: Vec<String> = unused.iter().map(|name| self.keys.key(name)).collect();
            let _ = client.unsubscribe(channels).await;
        }
    }

    fn wake(&self, channel: &str) {
        if let Some(name) = self.keys.name(channel) {
            self.names.wake(&name);
        }
    }
}

/// Waits until one of the receivers has a message. Removes those that are closed.
async fn any_of(receivers: &mut Vec<Receiver<Server>>) {
    loop {
        if receivers.is_empty() {
            return pending().await;
        }
        let (outcome, at, _) = select_all(receivers.iter_mut().map(|receiver| Box::pin(receiver.recv()))).await;
        if outcome != Err(RecvError::Closed) {
            // Once for all messages so far.
            return receivers.iter_mut().for_each(|receiver| while receiver.try_recv().is_ok() {});
        }
        receivers.swap_remove(at);
    }
}

/// Ends the background task of a client when this is dropped.
struct AbortOnDrop(ConnectHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
