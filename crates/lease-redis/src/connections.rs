//! Connections: how they are made, used by all calls at once, and replaced when they hang.
//!
//! The driver pairs answers with commands in their order, and throws away an answer that nobody waits for any more. So a call
//! that is abandoned spoils nothing by itself. What must not be used again is a connection that **hangs**: after a call was
//! abandoned or timed out, a `PING` is sent behind it, and where that is not answered either, the client connects anew (S24).
//!
//! Nor is that order believed (S25): each call has a tag, which comes back with its answer, and a connection that gives the
//! answer to one call to another one ends. An error of the server has no tag, so it is believed when it comes a second time.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::{Client, WithOptions},
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{
        ClientLike, ClusterInterface, Config, ConnectionConfig, EventInterface, Options, PerformanceConfig,
        ReconnectPolicy, ServerInterface, Value,
    },
    types::{
        ClusterHash, ConnectHandle, CustomCommand, RespVersion,
        cluster::ClusterRouting,
        config::{Server, UnresponsiveConfig},
    },
};
use lease_core::{Clock, GrantId, Result, SystemClock};
use tokio::{
    runtime::{self, Handle},
    sync::broadcast::{Receiver, error::TryRecvError},
};

use crate::{
    RedisStoreOptions, WaitReplicas,
    error::{classify, is_no_script, is_of_server, is_read_only, repeatable_while_connecting},
    keys::Keys,
    scripts::Script,
    url,
};

/// How long the `PING` behind an abandoned call may take, apart from what replicas may.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// How long a call waits for another server at the most.
const LONGEST_MOVE: Duration = Duration::from_secs(1);

/// How long a client of the application stays at a replica.
const PATIENCE_WITH_A_REPLICA: Duration = Duration::from_secs(1);

/// How far a failed call had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There was no connection.
    No,
    /// The command may have reached the server.
    Perhaps,
    /// It reached a replica, which said so in an answer of its own.
    ToReplica,
    /// What came was the answer to another call.
    Mixed,
}

/// What a call does with the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) source: DriverError,
    pub(crate) sent: Sent,
    pub(crate) access: Access,
}

/// Which server of a Cluster a command goes to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// The one that has the keys; outside Cluster, the one.
    Keys,
    Slot(u16),
    Node(Server),
}

/// A server that may have keys of ours.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) target: Target,
    /// One that would be there, if it were one.
    pub(crate) a_key: String,
}

/// What a script answered.
#[derive(Debug)]
pub(crate) struct Answered {
    /// One for each key.
    pub(crate) values: Vec<Value>,
    pub(crate) asked: Asked,
    /// Which replicas have it, where that was asked.
    pub(crate) confirmed: Option<Confirmed>,
}

/// How often the script was asked for, and so whether it may have been done before the answer: a first answer that was an error
/// need not have been the answer to this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Once,
    /// The second time with its text, on the same connection: every day, as servers forget scripts.
    WithItsText,
    Again,
}

/// What `WAIT` answered.
#[derive(Debug)]
pub(crate) struct Confirmed {
    pub(crate) replicas: u32,
    /// Why no replica could be asked: a missing right, or a server that has become a replica meanwhile.
    error: Option<String>,
}

impl Confirmed {
    fn read(answer: Result<Value, DriverError>) -> Self {
        match answer {
            Ok(count) => {
                let replicas = count.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
                Self { replicas, error: None }
            }
            Err(error) => Self { replicas: 0, error: Some(error.details().to_owned()) },
        }
    }
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "only {} replicas had it in time", self.replicas)?;
        self.error.as_ref().map_or(Ok(()), |error| write!(f, " ({error})"))
    }
}

/// The store's connections.
pub(crate) struct Connections {
    lanes: Lanes,
    next: AtomicUsize,
    /// That of the next call. No other store begins at the same.
    next_tag: AtomicU64,
    place: String,
    is_clustered: bool,
    command_timeout: Duration,
    probe_patience: Duration,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the clients: their configuration has the password.
        f.debug_struct("Connections").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Connections {
    /// A client of the store's own, connected.
    pub(crate) async fn open(mut config: Config, options: &RedisStoreOptions) -> Result<Self> {
        let place = url::place(&config);
        // The first connection fails at once and says why; later ones are made again and again.
        config.fail_fast = true;
        config.version = RespVersion::RESP3;
        let passwords = url::passwords(&config);
        let client =
            Client::new(config, Some(performance(options)), Some(connection(options)), Some(reconnect_policy()));
        // Its outcome is waited for from before the beginning on: it comes once.
        let mut connected = Box::pin(client.wait_for_connect());
        let at_once = futures::poll!(&mut connected);
        debug_assert!(at_once.is_pending(), "nobody has connected it");
        // From here on, nothing is left behind by whoever gives up.
        let lane = Lane::new(client.clone(), Some(client.connect()));
        let clock = SystemClock;
        let outcome = tokio::select! {
            outcome = connected => outcome,
            () = clock.sleep_until(clock.now() + options.connect_timeout) => Err(timed_out()),
        };
        outcome.map_err(|error| {
            let source = repeatable_while_connecting(&error, &passwords);
            classify("connect", &place, Failure { source, sent: Sent::No, access: Access::Read })
        })?;
        let lanes = OwnLanes {
            client: client.clone(),
            of_runtimes: Mutex::new(vec![(Handle::current().id(), Arc::new(lane))]),
        };
        Ok(Self::new(Lanes::Own(lanes), client.is_clustered(), place, options))
    }

    /// Whether this client can give the answer to one command to another one: in Cluster, while it follows redirections.
    /// That is a setting of the client, which no command can change.
    pub(crate) fn mixes_up_answers(client: &Client) -> bool {
        client.is_clustered() && client.connection_config().max_redirections != 0
    }

    /// Clients of the application.
    pub(crate) fn borrow(clients: Vec<Client>, options: &RedisStoreOptions) -> Self {
        let place = clients.first().map(|client| url::place(&client.client_config())).unwrap_or_default();
        let is_clustered = clients.first().is_some_and(ClientLike::is_clustered);
        let lanes = clients.into_iter().map(|client| Arc::new(Lane::new(client, None))).collect();
        Self::new(Lanes::Borrowed(lanes), is_clustered, place, options)
    }

    fn new(lanes: Lanes, is_clustered: bool, place: String, options: &RedisStoreOptions) -> Self {
        Self {
            lanes,
            next: AtomicUsize::new(0),
            // Half of the numbers, so that they stay below 2^63.
            next_tag: AtomicU64::new((GrantId::random().as_u128() as u64) >> 1),
            place,
            is_clustered,
            command_timeout: options.command_timeout,
            probe_patience: PROBE_PATIENCE + longest_wait(options),
        }
    }

    /// What the connections lead to, in words.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.is_clustered
    }

    /// Those that have another connection than when they were last looked at, and which one.
    pub(crate) fn not_looked_at(&self) -> Vec<(Arc<Lane>, u64)> {
        let is_new = |lane: &Arc<Lane>| {
            let generation = lane.generation();
            (lane.looked_at.load(Ordering::Relaxed) != generation).then(|| (Arc::clone(lane), generation))
        };
        match &self.lanes {
            Lanes::Own(lanes) => is_new(&lanes.of_this_runtime()).into_iter().collect(),
            Lanes::Borrowed(lanes) => lanes.iter().filter_map(is_new).collect(),
        }
    }

    /// All clients that are of use here.
    pub(crate) fn clients(&self) -> Vec<Client> {
        match &self.lanes {
            Lanes::Own(lanes) => vec![lanes.of_this_runtime().client()],
            Lanes::Borrowed(lanes) => lanes.iter().map(|lane| lane.client()).collect(),
        }
    }

    /// A client: the first one, where there are several.
    pub(crate) fn client(&self) -> Client {
        self.clients().swap_remove(0)
    }

    /// The servers that may have keys of ours.
    pub(crate) async fn primaries(&self, lane: &Lane, keys: &Keys) -> Result<Vec<Node>, Failure> {
        if !self.is_clustered {
            return Ok(vec![Node { target: Target::Keys, a_key: keys.prefix().to_owned() }]);
        }
        let client = self.connected(lane, Access::Read).await?;
        nodes_of(client.cached_cluster_state(), keys)
    }

    /// Runs a script with these keys and arguments. The server may have forgotten it at any time: then they are made once
    /// more, and go with its text, in a single command again. So they are after an error of the server, which is believed when
    /// it comes twice, and where a replica has refused, as soon as there is another server.
    pub(crate) async fn run(
        &self,
        script: &Script,
        access: Access,
        words: impl Fn() -> (Vec<String>, Vec<Value>) + Send + Sync,
        wait: Option<WaitReplicas>,
    ) -> Result<Answered, Failure> {
        let lane = self.pick();
        self.run_on(&lane, script, access, words, wait).await
    }

    pub(crate) async fn run_on(
        &self,
        lane: &Arc<Lane>,
        script: &Script,
        access: Access,
        words: impl Fn() -> (Vec<String>, Vec<Value>) + Send + Sync,
        wait: Option<WaitReplicas>,
    ) -> Result<Answered, Failure> {
        let first = lane.generation();
        let (mut is_forgotten, mut has_failed, mut was_refused) = (false, false, false);
        loop {
            let generation = lane.generation();
            let form = if is_forgotten { Form::Text(script.text()) } else { Form::Name(script.sha()) };
            let mut failure = match self.evaluate(lane, generation, access, form, words(), wait).await {
                Ok(answered) => {
                    let asked = match (is_forgotten, has_failed) {
                        (false, false) => Asked::Once,
                        (true, false) if lane.generation() == first => Asked::WithItsText,
                        _ => Asked::Again,
                    };
                    return Ok(Answered { asked, ..answered });
                }
                Err(failure) => failure,
            };
            if failure.sent == Sent::ToReplica && !was_refused && lane.is_own {
                was_refused = true;
                self.another_server(lane, generation).await;
                continue;
            }
            if failure.sent == Sent::Perhaps && is_of_server(&failure.source) && !has_failed {
                if is_no_script(&failure.source) && !is_forgotten {
                    is_forgotten = true;
                } else {
                    has_failed = true;
                    if is_read_only(failure.source.details()) && lane.is_own {
                        self.another_server(lane, generation).await;
                    }
                }
                continue;
            }
            if failure.sent == Sent::No && (has_failed || is_forgotten) {
                failure.sent = Sent::Perhaps;
            }
            return Err(failure);
        }
    }

    async fn evaluate(
        &self,
        lane: &Arc<Lane>,
        generation: u64,
        access: Access,
        form: Form<'_>,
        words: (Vec<String>, Vec<Value>),
        wait: Option<WaitReplicas>,
    ) -> Result<Answered, Failure> {
        let tag = self.tag();
        let (name, target, words) = form.command(words, tag);
        // Where it goes is said by the options of the call.
        let command = CustomCommand::new_static(name, None, false);
        let (value, confirmed) = if let Some(wait) = wait {
            // Both in one, so that they are on one connection: WAIT speaks of what was written on its own.
            let work = async move |client: WithOptions<Client>| {
                let pipeline = client.pipeline().with_options(client.options());
                pipeline.custom::<(), _>(command, words).await?;
                let milliseconds = i64::try_from(wait.timeout.as_millis()).unwrap_or(i64::MAX);
                pipeline.wait::<()>(wait.count.into(), milliseconds).await?;
                let mut answers = pipeline.try_all::<Value>().await.into_iter();
                // The script's answer says what was done. Whatever is wrong with that of WAIT, no replica has confirmed it.
                let value = answers.next().unwrap_or_else(|| Err(missing()))?;
                Ok((value, Confirmed::read(answers.next().unwrap_or_else(|| Err(missing())))))
            };
            let (value, confirmed) =
                self.call_on(lane, &target, access, wait.timeout, |client| Box::pin(work(client))).await?;
            (value, Some(confirmed))
        } else {
            let work = async move |client: WithOptions<Client>| client.custom::<Value, _>(command, words).await;
            (self.call_on(lane, &target, access, Duration::ZERO, |client| Box::pin(work(client))).await?, None)
        };
        let Some(values) = tagged(value, tag) else { return Err(self.mixed_up(lane, generation, access)) };
        if let Some(refusal) = refusal_of_a_replica(&values) {
            self.refused();
            let source = DriverError::new(DriverErrorKind::Unknown, refusal);
            return Err(Failure { source, sent: Sent::ToReplica, access });
        }
        lane.is_refused.store(false, Ordering::Relaxed);
        Ok(Answered { values, asked: Asked::Once, confirmed })
    }

    /// Asks for what has no room for a tag, with a `PING` behind it that has: if the answers were those to other calls, it
    /// would be seen there.
    pub(crate) async fn ask(
        &self,
        lane: &Arc<Lane>,
        target: &Target,
        command: &'static str,
        words: Vec<Value>,
    ) -> Result<Value, Failure> {
        let (tag, generation) = (self.tag(), lane.generation());
        let work = async move |client: WithOptions<Client>| {
            let pipeline = client.pipeline().with_options(client.options());
            pipeline.custom::<(), _>(CustomCommand::new_static(command, None, false), words).await?;
            let ping = CustomCommand::new_static("PING", None, false);
            pipeline.custom::<(), _>(ping, vec![Value::from(tag)]).await?;
            let mut answers = pipeline.try_all::<Value>().await.into_iter();
            let answer = answers.next().unwrap_or_else(|| Err(missing()));
            let is_mine = match answers.next() {
                Some(Ok(pong)) => pong.as_u64() == Some(tag.unsigned_abs()),
                // Both failed, or the second was refused: neither is the answer to another call.
                Some(Err(error)) if answer.is_ok() => return Err(error),
                Some(Err(_)) | None => true,
            };
            Ok((answer, is_mine))
        };
        let call = self.call_on(lane, target, Access::Read, Duration::ZERO, |client| Box::pin(work(client)));
        let (answer, is_mine) = call.await?;
        if !is_mine {
            return Err(self.mixed_up(lane, generation, Access::Read));
        }
        answer.map_err(|source| Failure { source, sent: Sent::Perhaps, access: Access::Read })
    }

    fn tag(&self) -> i64 {
        (self.next_tag.fetch_add(1, Ordering::Relaxed) & (u64::MAX >> 1)) as i64
    }

    /// The connection gives answers to the wrong calls: it ends (S25), whoever's it is.
    fn mixed_up(&self, lane: &Arc<Lane>, generation: u64, access: Access) -> Failure {
        tracing::error!(
            store = crate::STORE,
            place = self.place,
            "an answer belonged to another call: the connection ends"
        );
        lane.leave(generation);
        let source = DriverError::new(DriverErrorKind::Protocol, "the answer belonged to another call");
        Failure { source, sent: Sent::Mixed, access }
    }

    /// A replica was asked: after a fail-over, the server's name or the sentinels lead elsewhere.
    pub(crate) fn refused(&self) {
        match &self.lanes {
            Lanes::Own(lanes) => lanes.of_this_runtime().was_refused(),
            Lanes::Borrowed(lanes) => lanes.iter().for_each(Lane::was_refused),
        }
    }

    /// Waits until the lane has left its server, though not for long.
    async fn another_server(&self, lane: &Arc<Lane>, generation: u64) {
        let clock = SystemClock;
        let deadline = clock.now() + self.command_timeout.min(LONGEST_MOVE);
        lane.leave(generation);
        while lane.generation() == generation && clock.now() < deadline {
            clock.sleep_until(clock.now() + Duration::from_millis(1)).await;
        }
    }

    /// Makes a call. Nothing is sent before there is a connection, so that what its caller gives up then has not happened.
    async fn call_on<T, F>(
        &self,
        lane: &Arc<Lane>,
        target: &Target,
        access: Access,
        extra_time: Duration,
        command: impl FnOnce(WithOptions<Client>) -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DriverError>> + Send,
    {
        let client = self.connected(lane, access).await?;
        let (cluster_hash, cluster_node) = match target {
            Target::Keys => (None, None),
            Target::Slot(slot) => (Some(ClusterHash::Custom(*slot)), None),
            Target::Node(server) => (None, Some(server.clone())),
        };
        let options = Options {
            // Repeating is for those who know the deadline.
            max_attempts: Some(1),
            timeout: Some(self.command_timeout + extra_time),
            cluster_hash: cluster_hash.filter(|_| self.is_clustered),
            cluster_node,
            ..Options::default()
        };
        let probe = Options { timeout: Some(self.probe_patience), max_attempts: Some(1), ..options.clone() };
        let call = Call { lane, client: &client, probe: Some(probe) };
        match command(client.with_options(&options)).await {
            Ok(answer) => {
                call.finish();
                Ok(answer)
            }
            Err(source) => {
                if *source.kind() == DriverErrorKind::Timeout {
                    drop(call);
                } else {
                    call.finish();
                    self.notice(source.details());
                }
                Err(Failure { source, sent: Sent::Perhaps, access })
            }
        }
    }

    /// A server that says it is a replica is left: after a fail-over, its name or the sentinels lead elsewhere.
    pub(crate) fn notice(&self, reply: &str) {
        if is_read_only(reply) {
            self.refused();
        }
    }

    /// One after the other, those that are connected first.
    pub(crate) fn pick(&self) -> Arc<Lane> {
        let borrowed = match &self.lanes {
            Lanes::Own(lanes) => return lanes.of_this_runtime(),
            Lanes::Borrowed(lanes) => lanes,
        };
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let lanes = (0..borrowed.len()).map(|at| &borrowed[(start + at) % borrowed.len()]);
        let connected = lanes.clone().find(|lane| lane.client().is_connected());
        Arc::clone(connected.unwrap_or(&borrowed[start % borrowed.len()]))
    }

    /// The lane's client, as soon as it is connected.
    async fn connected(&self, lane: &Lane, access: Access) -> Result<Client, Failure> {
        let client = lane.client();
        if until_connected(&client, self.command_timeout).await {
            Ok(client)
        } else {
            Err(Failure { source: timed_out(), sent: Sent::No, access })
        }
    }
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

/// A script as it is sent.
#[derive(Clone, Copy)]
enum Form<'a> {
    Name(&'a str),
    Text(&'a str),
}

impl Form<'_> {
    /// The command, where it goes, and its words: the last one is the tag.
    fn command(self, (keys, arguments): (Vec<String>, Vec<Value>), tag: i64) -> (&'static str, Target, Vec<Value>) {
        let (name, script) = match self {
            Self::Name(sha) => ("EVALSHA", sha),
            Self::Text(text) => ("EVAL", text),
        };
        let target = keys.first().map_or(Target::Keys, |key| Target::Slot(crate::keys::slot(key)));
        let mut words = Vec::with_capacity(3 + keys.len() + arguments.len());
        words.extend([script.into(), i64::try_from(keys.len()).unwrap_or(i64::MAX).into()]);
        words.extend(keys.into_iter().map(Value::from));
        words.extend(arguments);
        words.push(tag.into());
        (name, target, words)
    }
}

/// What follows the tag, if it is this call's.
fn tagged(value: Value, tag: i64) -> Option<Vec<Value>> {
    let Value::Array(mut values) = value else { return None };
    let is_mine = matches!(values.first()?, Value::String(text) if text.parse() == Ok(tag));
    is_mine.then(|| values.split_off(1))
}

/// What the server says if it is a replica, whose answers are not believed.
fn refusal_of_a_replica(values: &[Value]) -> Option<String> {
    let [Value::Array(words)] = values else { return None };
    let [Value::String(kind), Value::String(message)] = words.as_slice() else { return None };
    (*kind == "replica").then(|| message.trim_start_matches('-').to_owned())
}

/// Which servers a Cluster has. Not to know it is not to know of none (S19).
fn nodes_of(state: Option<ClusterRouting>, keys: &Keys) -> Result<Vec<Node>, Failure> {
    let Some(state) = state.filter(|state| !state.slots().is_empty()) else {
        let source = DriverError::new(DriverErrorKind::Cluster, "it is not known which server has which slots");
        return Err(Failure { source, sent: Sent::No, access: Access::Read });
    };
    let nodes = state.unique_primary_nodes().into_iter().filter_map(|server| {
        let is_there = |slot| state.get_server(slot) == Some(&server);
        Some(Node { a_key: keys.one_where(is_there)?, target: Target::Node(server) })
    });
    Ok(nodes.collect())
}

/// The clients of a store.
enum Lanes {
    Own(OwnLanes),
    /// The application's: on the runtime that it has connected them on.
    Borrowed(Vec<Arc<Lane>>),
}

/// A client of the store's own for each runtime that calls: a connection that belongs to another one is of no use when that
/// idles or has ended.
struct OwnLanes {
    client: Client,
    of_runtimes: Mutex<Vec<(runtime::Id, Arc<Lane>)>>,
}

impl OwnLanes {
    /// Made at the first call. Outside a runtime, where nothing can be called, any.
    fn of_this_runtime(&self) -> Arc<Lane> {
        let here = Handle::try_current().ok().map(|runtime| runtime.id());
        let mut lanes = self.of_runtimes.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lanes.last().map(|(_, lane)| Arc::clone(lane));
        let found = lanes.iter().find(|(id, lane)| here.is_none_or(|here| here == *id) && !lane.has_ended());
        if let Some((_, lane)) = found {
            return Arc::clone(lane);
        }
        match (here, last) {
            (None, Some(last)) => last,
            (None, None) => Arc::new(Lane::new(self.client.clone(), None)),
            (Some(here), _) => {
                lanes.retain(|(_, lane)| !lane.has_ended());
                let client = self.client.clone_new();
                let task = client.connect();
                let lane = Arc::new(Lane::new(client, Some(task)));
                lanes.push((here, Arc::clone(&lane)));
                lane
            }
        }
    }
}

/// A client and, where it is the store's own, the task that keeps its connections.
pub(crate) struct Lane {
    state: Mutex<State>,
    is_own: bool,
    /// The generation whose server was looked at.
    looked_at: AtomicU64,
    /// Whether the last that it led to was a replica.
    is_refused: AtomicBool,
    /// Whether somebody is finding out if the connection hangs, or replacing it.
    is_probed: AtomicBool,
}

struct State {
    client: Client,
    task: Option<ConnectHandle>,
    /// The driver's word of each new connection, and how many there have been.
    connections: Receiver<Server>,
    generation: u64,
    /// The generation after the last one that was left on purpose.
    left: u64,
}

impl Lane {
    /// With the task of a client of the store's own.
    fn new(client: Client, task: Option<ConnectHandle>) -> Self {
        let (is_own, connections) = (task.is_some(), client.reconnect_rx());
        let state = Mutex::new(State { client, task, connections, generation: 0, left: 0 });
        Self {
            state,
            is_own,
            looked_at: AtomicU64::new(u64::MAX),
            is_refused: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
        }
    }

    /// Another number as soon as there is another connection.
    pub(crate) fn generation(&self) -> u64 {
        let mut state = self.lock();
        loop {
            match state.connections.try_recv() {
                Ok(_) => state.generation += 1,
                Err(TryRecvError::Lagged(missed)) => state.generation += missed,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return state.generation,
            }
        }
    }

    fn client(&self) -> Client {
        self.lock().client.clone()
    }

    /// Whether the task of the store's own client has ended, with its runtime or since the client was closed.
    fn has_ended(&self) -> bool {
        self.lock().task.as_ref().is_some_and(ConnectHandle::is_finished)
    }

    /// The server behind this connection was looked at.
    pub(crate) fn was_looked_at(&self, generation: u64) {
        self.looked_at.store(generation, Ordering::Relaxed);
    }

    /// Finds out in the background whether the connection hangs, and replaces it if so.
    fn probe(self: &Arc<Self>, options: Options) {
        self.in_background(move |client| async move {
            let answer = client.with_options(&options).ping::<Value>(None).await;
            if answer.is_err_and(|error| *error.kind() == DriverErrorKind::Timeout) && client.is_connected() {
                tracing::warn!(store = crate::STORE, "a connection hangs, and is replaced");
                let _ = client.force_reconnection().await;
            }
        });
    }

    /// It leads to a replica. A client of the store's own leaves it at once. One of the application has other commands under
    /// way, and leaves it when it is still one after a while, which the driver is asked to find out by itself in a Cluster.
    fn was_refused(self: &Arc<Self>) {
        if self.is_own {
            return self.leave(self.generation());
        }
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_refused.swap(true, Ordering::Relaxed) {
            return;
        }
        let (lane, generation) = (Arc::clone(self), self.generation());
        runtime.spawn(async move {
            let client = lane.client();
            if client.is_clustered() {
                let _ = client.sync_cluster().await;
            }
            let clock = SystemClock;
            clock.sleep_until(clock.now() + PATIENCE_WITH_A_REPLICA).await;
            if lane.is_refused.swap(false, Ordering::Relaxed) {
                lane.leave(generation);
            }
        });
    }

    /// Ends this connection in the background, if it still is the one; the driver makes another one.
    fn leave(&self, generation: u64) {
        let Ok(runtime) = Handle::try_current() else { return };
        let is_current = self.generation() == generation;
        let mut state = self.lock();
        if is_current && state.left <= generation {
            state.left = generation + 1;
            let client = state.client.clone();
            runtime.spawn(async move { client.force_reconnection().await });
        }
    }

    /// Outside a runtime nothing happens; the next call that hangs is inside one.
    fn in_background<F: Future<Output = ()> + Send>(self: &Arc<Self>, work: impl FnOnce(Client) -> F + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.is_probed.swap(true, Ordering::SeqCst) {
            let probed = Probed(Arc::clone(self));
            let client = self.client();
            runtime.spawn(async move {
                let _probed = probed;
                work(client).await;
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The application's own client lives on.
        if let Some(task) = self.lock().task.take() {
            task.abort();
        }
    }
}

/// Says at its end, however that comes, that nobody is finding out any more.
struct Probed(Arc<Lane>);

impl Drop for Probed {
    fn drop(&mut self) {
        self.0.is_probed.store(false, Ordering::SeqCst);
    }
}

/// A call under way. Dropped before its end, it was abandoned.
struct Call<'a> {
    lane: &'a Arc<Lane>,
    client: &'a Client,
    /// How the connection that it is on is probed then.
    probe: Option<Options>,
}

impl Call<'_> {
    fn finish(mut self) {
        self.probe = None;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take().filter(|_| self.client.is_connected()) {
            self.lane.probe(probe);
        }
    }
}

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
fn longest_wait(options: &RedisStoreOptions) -> Duration {
    options.wait_replicas.map_or(Duration::ZERO, |wait| wait.timeout)
}

/// For ever, soon, and then about once a second.
pub(crate) fn reconnect_policy() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::new_exponential(0, 10, 1000, 2);
    policy.set_jitter(10);
    policy
}

fn timed_out() -> DriverError {
    DriverError::new(DriverErrorKind::Timeout, "there was no connection in time")
}

fn missing() -> DriverError {
    DriverError::new(DriverErrorKind::Protocol, "an answer is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s19_without_a_map_of_the_cluster_nothing_is_known() {
        let keys = Keys::new("leases:");
        for state in [None, Some(ClusterRouting::new())] {
            let failure = nodes_of(state, &keys).unwrap_err();
            let error = classify("list", "here", failure);
            assert_eq!(error.kind(), lease_core::ErrorKind::Unavailable, "{error}");
        }
    }

    #[test]
    fn s25_only_an_answer_with_the_tag_is_this_calls() {
        let (tag, text) = (7, |text: &str| Value::String(text.into()));
        let answer = |values: Vec<Value>| tagged(Value::Array(values), tag);
        assert_eq!(answer(vec![text("7"), Value::Integer(1)]), Some(vec![Value::Integer(1)]));
        for strange in [vec![], vec![text("8"), Value::Integer(1)], vec![Value::Integer(7)], vec![text("x")]] {
            assert_eq!(answer(strange), None);
        }
        assert_eq!(tagged(Value::Integer(7), tag), None);
        assert_eq!(tagged(Value::Null, tag), None);
    }
}
