//! What is looked at before a server is trusted with leases.

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
    RedisStore, RedisStoreOptions,
    call::{Access, Failure, Sent},
    connections::Connections,
    driver::timed_out,
    error::{classify, here},
    keys::Keys,
};

/// The oldest version that works.
pub(crate) const NEEDED: Version = Version { major: 6, minor: 0 };

const OPERATION: &str = "connect";

/// How long servers of a Cluster that do not answer are waited for when another one has.
const PATIENCE: Duration = Duration::from_millis(500);

impl RedisStore {
    /// Looks whether the server can be trusted with leases, and says in words what should be known about it: with replicas,
    /// what a fail-over can lose. [`RedisStoreOptions::connect`](crate::RedisStoreOptions::connect) does this by itself, a
    /// store with a client of the application at its first call; both do it again whenever the connection is a new one, and
    /// log the warnings.
    ///
    /// # Errors
    ///
    /// `Invalid`: its `maxmemory-policy` evicts keys, and `accept_eviction` is off. `Unsupported`: it is too old.
    /// `Unavailable`: it is a replica, or there is no answer. `Denied`: `wait_replicas` is on, and this user may not run `WAIT`.
    ///
    /// # Cancel safety
    ///
    /// It only reads.
    pub async fn check(&self) -> Result<Vec<String>> {
        self.0.preflight().check().await
    }
}

/// Finds out whether the servers can be trusted, whenever there may be another one.
pub(crate) struct Preflight {
    connections: Arc<Connections>,
    keys: Keys,
    options: RedisStoreOptions,
    state: Mutex<State>,
    first: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    has_looked: bool,
    is_looking: bool,
    /// Why nothing may be granted there.
    refusal: Option<Error>,
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

    /// Before a call: waits for the first look, and has later ones made in the background. A server that turned out to be one
    /// of those that forget grants nothing; what is held there goes on.
    pub(crate) async fn before_a_call(self: &Arc<Self>, grants: bool) -> Result<()> {
        if !self.lock().has_looked {
            let _one = self.first.lock().await;
            if !self.lock().has_looked {
                self.look().await?;
            }
        } else if !self.connections.not_looked_at().is_empty()
            && let Ok(runtime) = Handle::try_current()
            && !std::mem::replace(&mut self.lock().is_looking, true)
        {
            let looking = Looking(Arc::clone(self));
            runtime.spawn(async move {
                // What cannot be answered now is asked again at the next call.
                let _ = looking.0.look().await;
            });
        }
        match &self.lock().refusal {
            Some(refusal) if grants => Err(refusal.clone()),
            _ => Ok(()),
        }
    }

    /// Looks, logs the warnings, and remembers.
    async fn look(&self) -> Result<()> {
        let new = self.connections.not_looked_at();
        let outcome = self.check().await;
        let refusal = match outcome {
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!(store = crate::STORE, "{warning}");
                }
                None
            }
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported) => {
                tracing::error!(store = crate::STORE, "nothing is granted: {error}");
                Some(error)
            }
            Err(error) => return Err(error),
        };
        new.iter().for_each(|(lane, generation)| lane.was_looked_at(*generation));
        let mut state = self.lock();
        (state.has_looked, state.refusal) = (true, refusal);
        Ok(())
    }

    pub(crate) async fn check(&self) -> Result<Vec<String>> {
        let (connections, place) = (&self.connections, self.connections.place());
        let error = |failure| classify(OPERATION, place, failure);
        let mut warnings = Vec::new();
        let (nodes, _) = connections.primaries(&self.keys).await.map_err(error)?;
        let answers = all_or_late(nodes.iter().map(|node| connections.ask(&node.lane, "INFO", Vec::new()))).await;
        let is_one_there = answers.iter().any(Result::is_ok);
        let one_there = nodes.iter().zip(&answers).find(|(_, answer)| answer.is_ok()).map(|(node, _)| &node.lane);
        let lane = one_there.or(nodes.first().map(|node| &node.lane)).map(Arc::clone);
        for answer in answers {
            match answer.map_err(error) {
                Ok(text) => {
                    let text = text.into_string().unwrap_or_default();
                    if Info(&text).is_replica() {
                        connections.refused();
                    }
                    let (evicts, waits) = (self.options.accept_eviction, self.options.wait_replicas.is_some());
                    for warning in findings(&Info(&text), place, evicts, waits)? {
                        if !warnings.contains(&warning) {
                            warnings.push(warning);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::Denied => {
                    warnings.push(format!("the server could not be checked, this user may not run INFO: {error}"));
                }
                // Names on the other servers of a Cluster can be had all the same. It is looked at when it is back.
                Err(error) if error.is_transient() && is_one_there => {
                    warnings.push(format!("a server of the Cluster could not be checked: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(lane) = lane.filter(|_| self.options.wait_replicas.is_some()) {
            // Once for all: without it nothing would ever count as granted.
            let wait: Vec<Value> = vec![0.into(), 1.into()];
            connections.ask(&lane, "WAIT", wait).await.map_err(error)?;
        }
        Ok(warnings)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answers of all servers. Those that have not answered a moment after one did are late: they are dead, or hang, and names on
/// the others can be had all the same.
async fn all_or_late(
    questions: impl Iterator<Item = impl Future<Output = Result<Value, Failure>>>,
) -> Vec<Result<Value, Failure>> {
    let (has_answered, _) = watch::channel(false);
    let bounded = questions.map(|question| async {
        let late = async {
            let _ = has_answered.subscribe().wait_for(|has_answered| *has_answered).await;
            let clock = SystemClock;
            clock.sleep_until(clock.now() + PATIENCE).await;
        };
        tokio::select! {
            biased;
            answer = question => {
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

/// Says at its end, however that comes, that nobody is looking any more.
struct Looking(Arc<Preflight>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.lock().is_looking = false;
    }
}

fn findings(info: &Info<'_>, place: &str, accept_eviction: bool, waits: bool) -> Result<Vec<String>> {
    let error = |kind, message| Err(here(kind, "connect", message));
    if let Some(version) = info.version().filter(|version| *version < NEEDED) {
        let message = format!("{place} has version {version}: Redis {NEEDED} or later, or Valkey, is needed");
        return error(ErrorKind::Unsupported, message);
    }
    if info.is_replica() {
        return error(ErrorKind::Unavailable, format!("{place} is a replica: leases need the primary"));
    }
    let mut warnings = Vec::new();
    if let Some(policy) = info.field("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        let risk = format!(
            "{place} evicts keys when its memory is full (maxmemory-policy {policy}): a lease that is evicted is free for \
             everybody while its holder still holds it"
        );
        if !accept_eviction {
            let cure = "set maxmemory-policy noeviction, use another server, or accept it with accept_eviction";
            return error(ErrorKind::Invalid, format!("{risk}; {cure}"));
        }
        warnings.push(risk);
    }
    if info.number("connected_slaves") > 0 {
        if !waits && info.field("min_slaves_good_slaves").is_none() {
            warnings.push(format!(
                "{place} has replicas and min-replicas-to-write 0: a primary that is cut off goes on granting beside its \
                 successor. Set min-replicas-to-write and min-replicas-max-lag, use wait_replicas, and send fencing tokens"
            ));
        }
        if info.field("aof_enabled") == Some("0") {
            warnings.push(format!(
                "{place} has replicas and appendonly no: a primary that restarts at once comes back empty or old, and makes \
                 its replicas so. Set appendonly yes, and send fencing tokens"
            ));
        }
    }
    Ok(warnings)
}

/// What `INFO` says.
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

    /// Valkey says here which Redis it is like.
    fn version(&self) -> Option<Version> {
        let mut numbers = self.field("redis_version")?.split('.').map(str::parse);
        Some(Version { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }
}

/// A version of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
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
        // What is not said is not held against it.
        assert_eq!(findings(&Info(""), "here", false, false).unwrap(), [""; 0]);
    }

    #[test]
    fn an_old_server_is_told_which_version_is_needed() {
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
    fn replicas_deserve_warnings() {
        assert_eq!(kind(&GOOD.replace("master", "slave")), ErrorKind::Unavailable);
        let replicas = GOOD.replace("connected_slaves:0", "connected_slaves:2");
        assert_eq!(findings(&Info(&replicas), "here", false, false).unwrap().len(), 2);
        assert_eq!(findings(&Info(&replicas), "here", false, true).unwrap().len(), 1);
        let careful = replicas.replace("aof_enabled:0", "aof_enabled:1\r\nmin_slaves_good_slaves:2");
        assert_eq!(findings(&Info(&careful), "here", false, false).unwrap(), [""; 0]);
    }
}
