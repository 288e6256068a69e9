//! Waking those who wait, by `SUBSCRIBE`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::{
    clients::SubscriberClient,
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{ClientLike, Config, EventInterface, Options, PubsubInterface, Value},
    types::{ConnectHandle, CustomCommand, RespVersion, config::Server},
};
use futures::future::{pending, select_all};
use lease_core::{Clock, LeaseName, Moment, SystemClock, WakeupRegistry, Wakeups};
use tokio::{
    runtime::{self, Handle},
    sync::{
        Notify,
        broadcast::{Receiver, error::RecvError},
    },
    task::JoinHandle,
};

use crate::{
    RedisStoreOptions,
    connections::Connections,
    driver::{connection, performance, reconnect_policy, until_connected},
    error::{is_of_server, repeatable},
    keys::Keys,
};

/// How often names that nobody waits for any more are dropped, and the connection is tried: it may have died without a sign.
const ROUND: Duration = Duration::from_secs(10);

/// The same while the server is a replica.
const SHORT_ROUND: Duration = Duration::from_millis(300);

/// How long a round's question, or a subscription, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both where there are other servers to listen to.
const ROUND_IN_CLUSTER: Duration = Duration::from_secs(2);
const PATIENCE_IN_CLUSTER: Duration = Duration::from_secs(1);

/// Hands messages to those who wait for them.
///
/// A task that the first subscription starts keeps a connection of its own, which serves all who wait on that runtime, and ends
/// with the store. What it misses costs waiters time, never safety (S20): they poll, too.
pub(crate) struct Listener {
    connections: Arc<Connections>,
    keys: Keys,
    options: RedisStoreOptions,
    tasks: Mutex<Vec<Task>>,
}

/// For the waiters of one runtime, or of none yet.
struct Task {
    runtime: Option<runtime::Id>,
    listening: Listening,
    handle: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Listening {
    connections: Arc<Connections>,
    keys: Keys,
    options: RedisStoreOptions,
    names: Names,
    /// Somebody has subscribed to a name that nobody was subscribed to.
    changed: Arc<Notify>,
}

impl Listener {
    pub(crate) fn new(connections: Arc<Connections>, keys: Keys, options: &RedisStoreOptions) -> Self {
        Self { connections, keys, options: options.clone(), tasks: Mutex::default() }
    }

    /// Outside a runtime nobody can wait: then it stands as soon as there is one.
    pub(crate) fn subscribe(&self, name: &LeaseName) -> Wakeups {
        let runtime = Handle::try_current().ok();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = self.task(&mut tasks, runtime.as_ref().map(Handle::id));
        let (wakeups, stands) = task.listening.names.subscribe(name);
        if !stands {
            task.listening.changed.notify_one();
        }
        if let Some(runtime) = runtime.filter(|_| task.has_ended()) {
            task.listening.names.all_fell();
            task.runtime = Some(runtime.id());
            task.handle = Some(runtime.spawn(task.listening.clone().run()));
        }
        wakeups
    }

    /// The one of this runtime, or one whose runtime has ended.
    fn task<'a>(&self, tasks: &'a mut Vec<Task>, here: Option<runtime::Id>) -> &'a mut Task {
        tasks.retain_mut(|task| !task.has_ended() || task.listening.names.are_wanted());
        let is_here = |task: &Task| here.is_none_or(|here| task.runtime == Some(here)) && !task.has_ended();
        let at = tasks.iter().position(is_here).or_else(|| tasks.iter().position(Task::has_ended));
        let at = at.unwrap_or_else(|| {
            let (connections, keys, options) = (Arc::clone(&self.connections), self.keys.clone(), self.options.clone());
            let listening = Listening { connections, keys, options, names: Names::default(), changed: Arc::default() };
            tasks.push(Task { runtime: None, listening, handle: None });
            tasks.len() - 1
        });
        &mut tasks[at]
    }
}

impl Task {
    fn has_ended(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

impl Listening {
    async fn run(self) {
        let Some(cluster) = self.connections.cluster() else {
            let clients = self.connections.clients();
            let Some(client) = clients.first() else { return };
            let calls = clients.iter().map(EventInterface::reconnect_rx).collect();
            return self.listen(client.client_config(), None, calls).await;
        };
        // A Cluster hands messages on to all of its servers: any will do, and if it is lost, another one.
        let clock = SystemClock;
        for turn in 0.. {
            let Some(server) = cluster.one_to_listen_to(turn) else { return };
            self.listen(cluster.config_for(&server), Some(&server), Vec::new()).await;
            self.names.all_fell();
            clock.sleep_until(clock.now() + SHORT_ROUND).await;
        }
    }

    /// Listens at the server of this configuration; until it is lost, where it is one of a Cluster.
    async fn listen(&self, mut config: Config, server: Option<&Server>, mut calls: Vec<Receiver<Server>>) {
        // Answers and messages share the connection only from this version of the protocol on.
        config.version = RespVersion::RESP3;
        config.fail_fast = false;
        let subscriber = SubscriberClient::new(
            config,
            Some(performance(&self.options)),
            Some(connection(&self.options)),
            Some(reconnect_policy()),
        );
        let mut messages = subscriber.message_rx();
        let mut reconnects = subscriber.reconnect_rx();
        let mut errors = subscriber.error_rx();
        let _connected = Connected(subscriber.connect());
        let line = Line { subscriber: &subscriber, server, is_lost: Notify::new() };
        let clock = SystemClock;
        let mut next_round = clock.now() + self.round(server);
        let mut warnings = Warnings::default();
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => self.hint(&message.channel),
                    // Too many at once: somebody may have been meant.
                    Err(RecvError::Lagged(_)) => self.names.wake_all(),
                    Err(RecvError::Closed) => return,
                },
                reconnect = reconnects.recv() => match reconnect {
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        // The server knows nothing of what the last connection was subscribed to.
                        self.names.all_fell();
                        next_round = self.settle(&line, &mut warnings).await;
                    }
                    Err(RecvError::Closed) => return,
                },
                // The calls have another connection, and so perhaps another server.
                () = any_of(&mut calls) => line.renew(),
                _ = errors.recv(), if server.is_some() => return,
                () = line.is_lost.notified() => return,
                () = self.changed.notified() => self.catch_up(&line, &mut warnings).await,
                () = clock.sleep_until(next_round) => {
                    self.tidy(&subscriber).await;
                    next_round = self.settle(&line, &mut warnings).await;
                }
            }
        }
    }

    /// In a Cluster, where there are other servers to listen to, it is found out sooner that one hangs.
    fn round(&self, server: Option<&Server>) -> Duration {
        if server.is_some() { ROUND_IN_CLUSTER } else { ROUND }
    }

    /// Finds out whether the connection is one, and leads to a server that is told of releases; subscribes to what is not
    /// subscribed to. Returns when this is to be done again.
    async fn settle(&self, line: &Line<'_>, warnings: &mut Warnings) -> Moment {
        let clock = SystemClock;
        // The driver speaks of a connection before it can be used.
        if !until_connected(line.subscriber, line.patience()).await {
            line.lose();
            return clock.now() + SHORT_ROUND;
        }
        if line.server.is_some_and(|server| self.connections.cluster().is_some_and(|cluster| cluster.has_left(server)))
        {
            line.lose();
        }
        match self.role(line).await {
            Ok(Role::Primary) => {
                warnings.of_replica = false;
                self.catch_up(line, warnings).await;
                clock.now() + self.round(line.server)
            }
            Ok(Role::Replica) => {
                if !std::mem::replace(&mut warnings.of_replica, true) {
                    tracing::warn!(
                        store = crate::STORE,
                        "the subscription is at a replica: waiters poll until it has moved"
                    );
                }
                self.names.all_fell();
                line.renew_later();
                clock.now() + ROUND
            }
            Err(error) => {
                tracing::warn!(store = crate::STORE, error = %repeatable(&error), "the connection of the hints hangs, and is replaced");
                line.renew();
                clock.now() + ROUND
            }
        }
    }

    /// Subscribes to what is wanted and not subscribed to, and hints that it stands.
    async fn catch_up(&self, line: &Line<'_>, warnings: &mut Warnings) {
        let subscriber = line.subscriber;
        if !subscriber.is_connected() || warnings.of_replica {
            // It says when it is, at another server.
            return;
        }
        let names = self.names.fallen();
        if names.is_empty() {
            return;
        }
        let channels: Vec<String> = names.iter().map(|name| self.keys.key(name)).collect();
        // The driver does not wait for the server's answer; that to a PING behind it does. A refusal is taken for that.
        let outcome = match subscriber.subscribe(channels).await {
            Ok(()) => line.ask("PING").await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(_) => self.names.stand(&names),
            // It is tried again in the next round.
            Err(error) if is_of_server(&error) => {
                if !std::mem::replace(&mut warnings.of_refusal, true) {
                    tracing::warn!(
                        store = crate::STORE,
                        error = %repeatable(&error),
                        "the server refuses the subscription: waiters poll. The user needs +subscribe and the channels of the prefix"
                    );
                }
            }
            Err(error) => {
                tracing::warn!(store = crate::STORE, error = %repeatable(&error), "waiters poll until their subscription stands");
                // A connection that says nothing is replaced.
                if *error.kind() == DriverErrorKind::Timeout {
                    line.renew();
                }
            }
        }
    }

    /// Leaves the channels that nobody waits at any more.
    async fn tidy(&self, subscriber: &SubscriberClient) {
        let deserted = self.names.take_deserted();
        if subscriber.is_connected() && !deserted.is_empty() {
            let channels: Vec<String> = deserted.iter().map(|name| self.keys.key(name)).collect();
            let _ = subscriber.unsubscribe(channels).await;
        }
    }

    /// What a server is that answers. In Cluster, where replicas are told of releases as well, and where the user may not ask, it
    /// is not asked for more.
    async fn role(&self, line: &Line<'_>) -> Result<Role, DriverError> {
        match line.ask(if line.server.is_some() { "PING" } else { "ROLE" }).await {
            Ok(Value::Array(words)) if words.first().is_some_and(|word| word.as_str().as_deref() == Some("slave")) => {
                Ok(Role::Replica)
            }
            Ok(_) => Ok(Role::Primary),
            Err(error) if is_of_server(&error) => Ok(Role::Primary),
            Err(error) => Err(error),
        }
    }

    fn hint(&self, channel: &str) {
        if let Some(name) = self.keys.name(channel) {
            self.names.wake(&name);
        }
    }
}

enum Role {
    Primary,
    Replica,
}

/// What was said once, and is not said again.
#[derive(Default)]
struct Warnings {
    of_replica: bool,
    of_refusal: bool,
}

/// A connection of the hints.
struct Line<'a> {
    subscriber: &'a SubscriberClient,
    /// Where it is one of a Cluster.
    server: Option<&'a Server>,
    /// Another server is to be found.
    is_lost: Notify,
}

impl Line<'_> {
    async fn ask(&self, command: &'static str) -> Result<Value, DriverError> {
        let options = Options { timeout: Some(self.patience()), max_attempts: Some(1), ..Options::default() };
        let command = CustomCommand::new_static(command, None, false);
        self.subscriber.with_options(&options).custom(command, Vec::<Value>::new()).await
    }

    fn patience(&self) -> Duration {
        if self.server.is_some() { PATIENCE_IN_CLUSTER } else { PATIENCE }
    }

    fn lose(&self) {
        if self.server.is_some() {
            self.is_lost.notify_one();
        }
    }

    /// Another connection, in the background: the messages must not wait for it. In a Cluster, to another server.
    fn renew(&self) {
        if self.server.is_some() {
            return self.lose();
        }
        let subscriber = self.subscriber.clone();
        tokio::spawn(async move { subscriber.force_reconnection().await });
    }

    /// The same when the address may lead elsewhere.
    fn renew_later(&self) {
        let subscriber = self.subscriber.clone();
        tokio::spawn(async move {
            let clock = SystemClock;
            clock.sleep_until(clock.now() + SHORT_ROUND).await;
            subscriber.force_reconnection().await
        });
    }
}

/// Waits until one of these says that there is a new connection. Those that say nothing any more go.
async fn any_of(connections: &mut Vec<Receiver<Server>>) {
    loop {
        if connections.is_empty() {
            return pending().await;
        }
        let (outcome, at, _) = select_all(connections.iter_mut().map(|one| Box::pin(one.recv()))).await;
        if outcome != Err(RecvError::Closed) {
            // One is enough for all that are new now.
            return connections.iter_mut().for_each(|one| while one.try_recv().is_ok() {});
        }
        connections.swap_remove(at);
    }
}

/// Ends the task of a connection with the task that uses it.
struct Connected(ConnectHandle);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who waits for which name, and whether the server knows.
#[derive(Debug, Clone, Default)]
struct Names(Arc<Mutex<HashMap<LeaseName, Waiting>>>);

#[derive(Debug, Default)]
struct Waiting {
    /// For this name alone, so that it says when nobody is left.
    registry: WakeupRegistry,
    stands: bool,
}

impl Names {
    /// Subscribes, with a hint at once where the subscription stands already.
    fn subscribe(&self, name: &LeaseName) -> (Wakeups, bool) {
        let mut names = self.lock();
        let waiting = names.entry(name.clone()).or_default();
        let wakeups = waiting.registry.subscribe(name);
        if waiting.stands {
            waiting.registry.wake(name);
        }
        (wakeups, waiting.stands)
    }

    fn wake(&self, name: &LeaseName) {
        if let Some(waiting) = self.lock().get(name) {
            waiting.registry.wake(name);
        }
    }

    fn wake_all(&self) {
        self.lock().values().for_each(|waiting| waiting.registry.wake_all());
    }

    /// No subscription stands any more.
    fn all_fell(&self) {
        self.lock().values_mut().for_each(|waiting| waiting.stands = false);
    }

    /// The names whose subscription does not stand.
    fn fallen(&self) -> Vec<LeaseName> {
        self.lock().iter().filter(|(_, waiting)| !waiting.stands).map(|(name, _)| name.clone()).collect()
    }

    /// These stand now. Hints may have been missed before.
    fn stand(&self, standing: &[LeaseName]) {
        let mut names = self.lock();
        for name in standing {
            if let Some(waiting) = names.get_mut(name) {
                waiting.stands = true;
                waiting.registry.wake_all();
            }
        }
    }

    fn are_wanted(&self) -> bool {
        self.lock().values().any(|waiting| !waiting.registry.is_empty())
    }

    /// Forgets the names that nobody waits for.
    fn take_deserted(&self) -> Vec<LeaseName> {
        let mut names = self.lock();
        let deserted: Vec<LeaseName> =
            names.iter().filter(|(_, waiting)| waiting.registry.is_empty()).map(|(name, _)| name.clone()).collect();
        for name in &deserted {
            names.remove(name);
        }
        deserted
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseName, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_waits_for_are_forgotten() {
        let names = Names::default();
        let (job, other) = (LeaseName::new("job").unwrap(), LeaseName::new("other").unwrap());
        let (one, stands) = names.subscribe(&job);
        assert!(!stands);
        let (two, _) = names.subscribe(&job);
        let (_three, _) = names.subscribe(&other);
        names.stand(&names.fallen());
        assert!(names.fallen().is_empty() && names.subscribe(&job).1);
        drop(one);
        assert!(names.take_deserted().is_empty());
        drop(two);
        assert_eq!(names.take_deserted(), std::slice::from_ref(&job));
        assert!(!names.subscribe(&job).1, "it must be subscribed to anew");
        names.all_fell();
        assert_eq!(names.fallen().len(), 2);
    }
}
