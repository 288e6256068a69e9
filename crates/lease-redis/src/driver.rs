//! The settings of the driver.

use std::time::Duration;

use fred::{
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{ClientLike, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig},
    types::config::UnresponsiveConfig,
};
use lease_core::{Clock, SystemClock};

use crate::RedisStoreOptions;

pub(crate) fn performance_config(options: &RedisStoreOptions) -> PerformanceConfig {
    PerformanceConfig {
        default_command_timeout: options.command_timeout,
        broadcast_channel_capacity: 1024,
        ..PerformanceConfig::default()
    }
}

pub(crate) fn connection_config(options: &RedisStoreOptions) -> ConnectionConfig {
    let longest_silence = options.command_timeout + longest_wait(options);
    ConnectionConfig {
        connection_timeout: options.connect_timeout,
        internal_command_timeout: options.connect_timeout,
        max_command_attempts: 1,
        // The driver follows `ASK` by writing `ASKING` into a pipeline that other calls share, and takes the next answer as its
        // own: from then on every answer on that connection goes to the wrong call. With 0, a redirection is an error.
        max_redirections: 0,
        // While a password is being changed, a refusal may be temporary.
        reconnect_on_auth_error: true,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(longest_silence),
            interval: options.command_timeout.clamp(Duration::from_millis(100), Duration::from_secs(1)),
        },
        // The driver does not notice the silence while it writes into a socket that is full. The kernel does.
        tcp: TcpConfig {
            #[cfg(target_os = "linux")]
            user_timeout: Some(longest_silence),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    }
}

/// Returns how long a connection may be silent because the server waits for replicas.
pub(crate) fn longest_wait(options: &RedisStoreOptions) -> Duration {
    options.wait_replicas.map_or(Duration::ZERO, |wait| wait.timeout)
}

/// Reconnects without end: at once at first, then about once a second.
pub(crate) fn reconnect_policy() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::new_exponential(0, 10, 1000, 2);
    policy.set_jitter(10);
    policy
}

pub(crate) fn timed_out() -> DriverError {
    DriverError::new(DriverErrorKind::Timeout, "no connection was established in time")
}

pub(crate) fn missing_answer() -> DriverError {
    DriverError::new(DriverErrorKind::Protocol, "an answer is missing")
}

pub(crate) fn foreign_answer() -> DriverError {
    DriverError::new(DriverErrorKind::Protocol, "the answer belongs to another call")
}

/// Waits until the client is connected. Returns whether it is.
pub(crate) async fn until_connected(client: &impl ClientLike, timeout: Duration) -> bool {
    let clock = SystemClock;
    let deadline = clock.now() + timeout;
    while !client.is_connected() {
        if clock.now() >= deadline {
            return false;
        }
        // Checked again now and then, because the driver's signal may have come just before.
        tokio::select! {
            _ = client.wait_for_connect() => {}
            () = clock.sleep_until((clock.now() + Duration::from_millis(20)).min(deadline)) => {}
        }
    }
    true
}
