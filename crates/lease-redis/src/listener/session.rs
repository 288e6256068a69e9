//! One connection of a subscription.

use std::time::Duration;

use fred::{
    clients::SubscriberClient,
    error::Error as DriverError,
    prelude::{ClientLike, Options, Value},
    types::{CustomCommand, config::Server},
};
use lease_core::{Clock, SystemClock};
use tokio::sync::Notify;

use crate::reply::is_reply;

/// How long the first connection, a check or a subscription may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The same in a Cluster, where there are other servers to subscribe at.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(1);

/// The time between two checks of the connection: it may be dead without a sign.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The same in a Cluster, where there are other servers to subscribe at.
const CLUSTER_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a connection stays at a replica, and the time between two servers of a Cluster.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(300);

/// One connection of a subscription.
pub(super) struct Session<'a> {
    pub(super) client: &'a SubscriberClient,
    /// The server, if it is one of a Cluster.
    pub(super) server: Option<&'a Server>,
    /// Notified when the subscription must move to another server.
    pub(super) is_lost: Notify,
}

/// The role of a server that answers.
pub(super) enum Role {
    Primary,
    Replica,
}

impl Session<'_> {
    /// Returns the time limit of a command.
    pub(super) fn timeout(&self) -> Duration {
        if self.server.is_some() { CLUSTER_TIMEOUT } else { TIMEOUT }
    }

    pub(super) fn check_interval(&self) -> Duration {
        if self.server.is_some() { CLUSTER_CHECK_INTERVAL } else { CHECK_INTERVAL }
    }

    /// Asks for the role of the server. A server of a Cluster is not asked, because its replicas get the hints as well; a user
    /// that may not ask is assumed to be at a primary.
    pub(super) async fn role(&self) -> Result<Role, DriverError> {
        match self.query(if self.server.is_some() { "PING" } else { "ROLE" }).await {
            Ok(Value::Array(answer))
                if answer.first().is_some_and(|role| role.as_str().as_deref() == Some("slave")) =>
            {
                Ok(Role::Replica)
            }
            Ok(_) => Ok(Role::Primary),
            Err(error) if is_reply(&error) => Ok(Role::Primary),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn query(&self, command: &'static str) -> Result<Value, DriverError> {
        let options = Options { timeout: Some(self.timeout()), max_attempts: Some(1), ..Options::default() };
        let command = CustomCommand::new_static(command, None, false);
        self.client.with_options(&options).custom(command, Vec::<Value>::new()).await
    }

    /// Gives the server up, if it is one of a Cluster.
    pub(super) fn lose(&self) {
        if self.server.is_some() {
            self.is_lost.notify_one();
        }
    }

    /// Reconnects in the background, so that messages are not delayed. In a Cluster, moves to another server.
    pub(super) fn reconnect(&self) {
        if self.server.is_some() {
            return self.lose();
        }
        let client = self.client.clone();
        tokio::spawn(async move { client.force_reconnection().await });
    }

    /// Reconnects after a while, when the address may lead to another server.
    pub(super) fn reconnect_later(&self) {
        let client = self.client.clone();
        tokio::spawn(async move {
            let clock = SystemClock;
            clock.sleep_until(clock.now() + RETRY_INTERVAL).await;
            client.force_reconnection().await
        });
    }
}
