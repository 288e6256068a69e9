//! Checks whether leases are safe on a server before it grants any.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::prelude::Value;
use futures::future::join_all;
use lease_core::{Clock, Error, ErrorKind, Result, SystemClock};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    RedisStoreOptions, STORE,
    connections::{Connection, Connections},
    driver::timed_out,
    error::redis_error,
    failure::{Access, Failure, Sent, classify},
    keys::Keys,
    version::{MIN_VERSION, Version},
};

const OPERATION: &str = "connect";

/// How long other servers of a Cluster are waited for after one has answered.
const LATE_TIMEOUT: Duration = Duration::from_millis(500);

/// Checks the servers at the first call, and again after each reconnection, which may lead to another server.
pub(crate) struct Preflight {
    connections: Arc<Connections>,
    keys: Keys,
    options: RedisStoreOptions,
    state: Mutex<State>,
    first: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    has_checked: bool,
    /// Whether a check is in flight in the background.
    is_checking: bool,
    /// Why nothing may be granted.
    refusal: Option<Error>,
}

/// The result of a check that refuses no server.
pub(crate) struct Checked {
    pub(crate) warnings: Vec<String>,
    /// The servers of a Cluster that have not answered.
    late: Vec<Arc<Connection>>,
}

impl Preflight {
    pub(crate) fn new(connections: Arc<Connections>, keys: Keys, options: &RedisStoreOptions) -> Self {
        Self {
            connections,
            keys,
            options: options.clone(),
            state: Mutex::default(),
            first: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for the first check, and starts later ones in the background. Fails a call that grants if the last check has refused
    /// the server; leases that are held there can be renewed and released all the same.
    pub(crate) async fn before_a_call(self: &Arc<Self>, grants: bool) -> Result<()> {
        if !self.lock().has_checked {
            let _first = self.first.lock().await;
            if !self.lock().has_checked {
                self.check_and_log().await?;
            }
        } else if !self.connections.unchecked().is_empty()
            && let Ok(runtime) = Handle::try_current()
            && !std::mem::replace(&mut self.lock().is_checking, true)
        {
            let check = BackgroundCheck(Arc::clone(self));
            runtime.spawn(async move {
                // A check that fails is repeated at the next call.
                let _ = check.0.check_and_log().await;
            });
        }
        match &self.lock().refusal {
            Some(refusal) if grants => Err(refusal.clone()),
            _ => Ok(()),
        }
    }

    /// Checks the servers, logs the warnings, and keeps the result.
    async fn check_and_log(&self) -> Result<()> {
        let unchecked = self.connections.unchecked();
        let (refusal, late) = match self.check().await {
            Ok(Checked { warnings, late }) => {
                for warning in warnings {
                    tracing::warn!(store = STORE, "{warning}");
                }
                // The server that was refused may be one of those that have not answered.
                (self.lock().refusal.clone().filter(|_| !late.is_empty()), late)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported) => {
                tracing::error!(store = STORE, "no lease is granted on this server: {error}");
                (Some(error), Vec::new())
            }
            Err(error) => return Err(error),
        };
        unchecked.iter().for_each(|(connection, generation)| connection.set_checked(*generation));
        late.iter().for_each(|connection| connection.set_unchecked());
        let mut state = self.lock();
        (state.has_checked, state.refusal) = (true, refusal);
        Ok(())
    }

    /// Checks the servers.
    pub(crate) async fn check(&self) -> Result<Checked> {
        let (connections, server) = (&self.connections, self.connections.server());
        let error = |failure| classify(OPERATION, server, failure);
        let (mut warnings, mut late) = (Vec::new(), Vec::new());
        let (primaries, _) = connections.primaries(&self.keys).await.map_err(error)?;
        let queries = primaries.iter().map(|primary| connections.query(&primary.connection, "INFO", Vec::new()));
        let answers = all_in_time(queries).await;
        let answering = primaries.iter().zip(&answers).find(|(_, answer)| answer.is_ok()).map(|(primary, _)| primary);
        let has_answer = answering.is_some();
        let connection = answering.or(primaries.first()).map(|primary| Arc::clone(&primary.connection));
        for (primary, answer) in primaries.iter().zip(answers) {
            match answer.map_err(error) {
                Ok(text) => {
                    let text = text.into_string().unwrap_or_default();
                    if Info(&text).is_replica() {
                        connections.leave_replica();
                    }
                    let (accepts, waits) = (self.options.accept_eviction, self.options.wait_replicas.is_some());
                    for warning in findings(&Info(&text), server, accepts, waits)? {
                        if !warnings.contains(&warning) {
                            warnings.push(warning);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::Denied => {
                    warnings.push(format!("the server was not checked, because the user may not run INFO: {error}"));
                }
                // The other servers of a Cluster can be used. This one is checked when it is back.
                Err(error) if error.is_transient() && has_answer => {
                    late.push(Arc::clone(&primary.connection));
                    warnings.push(format!("a server of the Cluster was not checked: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(connection) = connection.filter(|_| self.options.wait_replicas.is_some()) {
            // Without the right to WAIT, nothing would ever be granted.
            let wait: Vec<Value> = vec![0.into(), 1.into()];
            connections.query(&connection, "WAIT", wait).await.map_err(error)?;
        }
        Ok(Checked { warnings, late })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the answers of all servers. A server that has not answered a while after another one has timed out: it may be dead or
/// hang, and the others can be used all the same.
async fn all_in_time(
    queries: impl Iterator<Item = impl Future<Output = Result<Value, Failure>>>,
) -> Vec<Result<Value, Failure>> {
    let (has_answered, _) = watch::channel(false);
    let bounded = queries.map(|query| async {
        let late = async {
            let _ = has_answered.subscribe().wait_for(|has_answered| *has_answered).await;
            let clock = SystemClock;
            clock.sleep_until(clock.now() + LATE_TIMEOUT).await;
        };
        tokio::select! {
            biased;
            answer = query => {
                if answer.is_ok() {
                    has_answered.send_replace(true);
                }
                answer
            }
            () = late => Err(Failure::new(timed_out(), Sent::No, Access::Read)),
        }
    });
    join_all(bounded).await
}

/// A check in the background; it ends when this is dropped.
struct BackgroundCheck(Arc<Preflight>);

impl Drop for BackgroundCheck {
    fn drop(&mut self) {
        self.0.lock().is_checking = false;
    }
}

/// Returns the warnings about a server, or the error that refuses it.
fn findings(info: &Info<'_>, server: &str, accept_eviction: bool, waits: bool) -> Result<Vec<String>> {
    let error = |kind, message| Err(redis_error(kind, OPERATION, message));
    if let Some(version) = info.version().filter(|version| *version < MIN_VERSION) {
        let message = format!("{server} has version {version}: Redis {MIN_VERSION} or later, or Valkey, is needed");
        return error(ErrorKind::Unsupported, message);
    }
    if info.is_replica() {
        return error(ErrorKind::Unavailable, format!("{server} is a replica: connect to the primary"));
    }
    let mut warnings = Vec::new();
    if let Some(policy) = info.field("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        let risk = format!(
            "{server} evicts keys when its memory is full (maxmemory-policy {policy}): an evicted lease can be granted to another \
             holder while the first one still holds it"
        );
        if !accept_eviction {
            let advice = "set maxmemory-policy noeviction, use another server, or accept the risk with accept_eviction";
            return error(ErrorKind::Invalid, format!("{risk}; {advice}"));
        }
        warnings.push(risk);
    }
    if info.number("connected_slaves") > 0 {
        if !waits && info.field("min_slaves_good_slaves").is_none() {
            warnings.push(format!(
                "{server} has replicas and min-replicas-to-write 0: after a fail-over, a primary that was cut off goes on granting \
                 leases beside the new one. Set min-replicas-to-write and min-replicas-max-lag, use wait_replicas, and send \
                 fencing tokens"
            ));
        }
        if info.field("aof_enabled") == Some("0") {
            warnings.push(format!(
                "{server} has replicas and appendonly no: a primary that restarts at once comes back with old data or none, and \
                 its replicas copy that. Set appendonly yes, and send fencing tokens"
            ));
        }
    }
    Ok(warnings)
}

/// The answer to `INFO`.
struct Info<'a>(&'a str);

impl<'a> Info<'a> {
    fn field(&self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn is_replica(&self) -> bool {
        self.field("role") == Some("slave")
    }

    fn number(&self, name: &str) -> u64 {
        self.field(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Returns the version of Redis. A Valkey answers with the one with which it is compatible.
    fn version(&self) -> Option<Version> {
        self.field("redis_version").and_then(Version::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nconnected_slaves:0\r\n\
        maxmemory_policy:noeviction\r\naof_enabled:0\r\n";

    fn kind(info: &str) -> ErrorKind {
        findings(&Info(info), "here", false, false).unwrap_err().kind()
    }

    #[test]
    fn a_single_server_needs_no_warning() {
        assert_eq!(findings(&Info(GOOD), "here", false, false).unwrap(), [""; 0]);
        // Without fields there is nothing to warn of.
        assert_eq!(findings(&Info(""), "here", false, false).unwrap(), [""; 0]);
    }

    #[test]
    fn the_error_for_an_old_server_names_the_version_that_is_needed() {
        let old = GOOD.replace("7.0.15", "5.0.14");
        assert_eq!(kind(&old), ErrorKind::Unsupported);
        let error = findings(&Info(&old), "here", false, false).unwrap_err().to_string();
        assert!(error.contains("5.0") && error.contains("6.0"), "{error}");
        assert!(findings(&Info(&GOOD.replace("7.0.15", "6.0.0")), "here", false, false).is_ok());
        assert!(findings(&Info(&GOOD.replace("7.0.15", "10.0.1")), "here", false, false).is_ok());
    }

    #[test]
    fn every_policy_that_evicts_is_refused_unless_accepted() {
        for policy in ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"] {
            let info = GOOD.replace("noeviction", policy);
            assert_eq!(kind(&info), ErrorKind::Invalid);
            assert!(findings(&Info(&info), "here", true, false).unwrap()[0].contains(policy));
        }
    }

    #[test]
    fn replicas_cause_warnings() {
        assert_eq!(kind(&GOOD.replace("master", "slave")), ErrorKind::Unavailable);
        let replicas = GOOD.replace("connected_slaves:0", "connected_slaves:2");
        assert_eq!(findings(&Info(&replicas), "here", false, false).unwrap().len(), 2);
        assert_eq!(findings(&Info(&replicas), "here", false, true).unwrap().len(), 1);
        let careful = replicas.replace("aof_enabled:0", "aof_enabled:1\r\nmin_slaves_good_slaves:2");
        assert_eq!(findings(&Info(&careful), "here", false, false).unwrap(), [""; 0]);
    }
}
