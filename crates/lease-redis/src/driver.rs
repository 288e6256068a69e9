//! How the driver is set up.

use std::time::Duration;

use fred::{
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{ClientLike, ConnectionConfig, PerformanceConfig, ReconnectPolicy},
    types::config::UnresponsiveConfig,
};
use lease_core::{Clock, SystemClock};

use crate::RedisStoreOptions;

pub(crate) fn performance(options: &RedisStoreOptions) -> PerformanceConfig {
    PerformanceConfig {
        default_command_timeout: options.command_timeout,
        broadcast_channel_capacity: 1024,
        ..PerformanceConfig::default()
    }
}

pub(crate) fn connection(options: &RedisStoreOptions) -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: options.connect_timeout,
        internal_command_timeout: options.connect_timeout,
        max_command_attempts: 1,
        // The driver follows `ASK` by writing `ASKING` into a pipeline that others share, and takes the next answer for its
        // own, whoever's it is: from then on every answer on that connection is one off. So a redirection is an error.
        // `MOVED` has the driver read the slots again all the same, and the next attempt goes to the right server.
        max_redirections: 0,
        // A password that is being changed may be right again in a moment.
        reconnect_on_auth_error: true,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(options.command_timeout + longest_wait(options)),
            interval: options.command_timeout.clamp(Duration::from_millis(100), Duration::from_secs(1)),
        },
        ..ConnectionConfig::default()
    }
}

/// How long a connection may be silent because replicas are waited for.
pub(crate) fn longest_wait(options: &RedisStoreOptions) -> Duration {
    options.wait_replicas.map_or(Duration::ZERO, |wait| wait.timeout)
}

/// For ever, soon, and then about once a second.
pub(crate) fn reconnect_policy() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::new_exponential(0, 10, 1000, 2);
    policy.set_jitter(10);
    policy
}

pub(crate) fn timed_out() -> DriverError {
    DriverError::new(DriverErrorKind::Timeout, "there was no connection in time")
}

pub(crate) fn missing() -> DriverError {
    DriverError::new(DriverErrorKind::Protocol, "an answer is missing")
}

/// Waits until the client is connected; whether it is.
pub(crate) async fn until_connected(client: &impl ClientLike, patience: Duration) -> bool {
    let clock = SystemClock;
    let deadline = clock.now() + patience;
    while !client.is_connected() {
        if clock.now() >= deadline {
            return false;
        }
        // It looks again now and then: the driver's own signal may have come just before.
        tokio::select! {
            _ = client.wait_for_connect() => {}
            () = clock.sleep_until((clock.now() + Duration::from_millis(20)).min(deadline)) => {}
        }
    }
    true
}
