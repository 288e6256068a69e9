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
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::{Client, WithOptions},
    error::{Error as DriverError, ErrorKind as DriverErrorKind},
    prelude::{ClientLike, Config, Options, ServerInterface, Value},
    types::{CustomCommand, RespVersion, config::Server},
};
use futures::{StreamExt, stream::FuturesUnordered};
use lease_core::{Clock, GrantId, Result, SystemClock};

use crate::{
    RedisStoreOptions, WaitReplicas,
    call::{Access, Answered, Asked, Confirmed, Failure, Form, Manner, Node, Sent, Way, refusal_of_a_replica, tagged},
    cluster::{Cluster, Doubt, Redirection, SlotMap, heirs},
    driver::{connection, longest_wait, missing, performance, reconnect_policy, timed_out, until_connected},
    error::{classify, is_no_script, is_of_server, is_read_only, is_redirection, repeatable_while_connecting},
    keys::Keys,
    lane::{Call, Lane, Lanes, OwnLanes},
    scripts::Script,
    url,
};

/// How long the `PING` behind an abandoned call may take, apart from what replicas may.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// How long a call waits for another server at the most.
const LONGEST_MOVE: Duration = Duration::from_secs(1);

/// How long a call waits for a server of a Cluster that was connected before: longer than a new connection takes, and no longer
/// than others can bear.
const LONGEST_GAP: Duration = Duration::from_millis(250);

/// How long servers of a Cluster may take to tell the map, and how long others are waited for where one did not know all of it.
const MAP_PATIENCE: Duration = Duration::from_secs(1);
const BETTER_MAP_PATIENCE: Duration = Duration::from_millis(50);

/// How often a call is redirected, at the most: to where its slot has moved, and to where that is moving.
const MOST_REDIRECTIONS: usize = 4;

/// The store's connections.
pub(crate) struct Connections {
    lanes: Lanes,
    next: AtomicUsize,
    /// That of the next call. No other store begins at the same.
    next_tag: AtomicU64,
    place: String,
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
    /// Clients of the store's own, connected.
    pub(crate) async fn open(mut config: Config, options: &RedisStoreOptions) -> Result<Self> {
        let place = url::place(&config);
        config.version = RespVersion::RESP3;
        let passwords = url::passwords(&config);
        let failed = |failure: Failure| {
            let source = repeatable_while_connecting(&failure.source, &passwords);
            classify("connect", &place, Failure { source, ..failure })
        };
        let clock = SystemClock;
        let deadline = clock.now() + options.connect_timeout;
        let opened = async {
            if !config.server.is_clustered() {
                // The first connection fails at once and says why; later ones are made again and again.
                config.fail_fast = true;
                let (client, lane) = connected_once(client(config, options)).await?;
                return Ok(Self::new(Lanes::Own(OwnLanes::new(client, lane)), place.clone(), options));
            }
            let cluster = Cluster::new(config, options);
            connect_to_one_of(&cluster).await?;
            let connections = Self::new(Lanes::Cluster(Box::new(cluster)), place.clone(), options);
            if let Lanes::Cluster(cluster) = &connections.lanes {
                connections.read_map(cluster, options.connect_timeout).await?;
            }
            Ok(connections)
        };
        let outcome = tokio::select! {
            outcome = opened => outcome,
            () = clock.sleep_until(deadline) => Err(Failure::new(timed_out(), Sent::No, Access::Read)),
        };
        outcome.map_err(failed)
    }

    /// Clients of the application. One of a Cluster cannot be used for each of its servers by itself: it only tells how to connect.
    pub(crate) fn borrow(clients: Vec<Client>, options: &RedisStoreOptions) -> Self {
        let config = clients.first().map(ClientLike::client_config);
        let place = config.as_ref().map(url::place).unwrap_or_default();
        let lanes = match config.filter(|config| config.server.is_clustered()) {
            Some(config) => {
                let config = Config { version: RespVersion::RESP3, ..config };
                Lanes::Cluster(Box::new(Cluster::new(config, options)))
            }
            None => Lanes::Borrowed(clients.into_iter().map(|client| Arc::new(Lane::new(client, None))).collect()),
        };
        Self::new(lanes, place, options)
    }

    fn new(lanes: Lanes, place: String, options: &RedisStoreOptions) -> Self {
        Self {
            lanes,
            next: AtomicUsize::new(0),
            // Half of the numbers, so that they stay below 2^63.
            next_tag: AtomicU64::new((GrantId::random().as_u128() as u64) >> 1),
            place,
            command_timeout: options.command_timeout,
            probe_patience: PROBE_PATIENCE + longest_wait(options),
        }
    }

    /// What the connections lead to, in words.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Where the servers are several that share the keys.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        match &self.lanes {
            Lanes::Cluster(cluster) => Some(cluster),
            Lanes::Own(_) | Lanes::Borrowed(_) => None,
        }
    }

    /// Those that have another connection than when they were last looked at, and which one.
    pub(crate) fn not_looked_at(&self) -> Vec<(Arc<Lane>, u64)> {
        let is_new = |lane: &Arc<Lane>| lane.not_looked_at().map(|generation| (Arc::clone(lane), generation));
        match &self.lanes {
            Lanes::Own(lanes) => is_new(&lanes.of_this_runtime()).into_iter().collect(),
            Lanes::Cluster(cluster) => cluster.lanes().iter().filter_map(is_new).collect(),
            Lanes::Borrowed(lanes) => lanes.iter().filter_map(is_new).collect(),
        }
    }

    /// All clients that are of use here. In a Cluster, one that nobody has connected for each of the servers that are known first.
    pub(crate) fn clients(&self) -> Vec<Client> {
        match &self.lanes {
            Lanes::Own(lanes) => vec![lanes.of_this_runtime().client()],
            Lanes::Cluster(cluster) => {
                let connected: Vec<_> = cluster.lanes().iter().map(|lane| lane.client()).collect();
                if !connected.is_empty() {
                    return connected;
                }
                cluster.seeds().iter().map(|seed| cluster.client(cluster.config_for(seed))).collect()
            }
            Lanes::Borrowed(lanes) => lanes.iter().map(|lane| lane.client()).collect(),
        }
    }

    /// A client: the first one, where there are several.
    pub(crate) fn client(&self) -> Client {
        self.clients().swap_remove(0)
    }

    /// The servers that may have keys of ours, and in a Cluster the map that says so, read just now. Not to know it is not to know
    /// of none (S19).
    pub(crate) async fn primaries(&self, keys: &Keys) -> Result<(Vec<Node>, Option<SlotMap>), Failure> {
        let Some(cluster) = self.cluster() else {
            return Ok((vec![Node { lane: self.pick(), a_key: Some(keys.prefix().to_owned()) }], None));
        };
        let map = self.read_map(cluster, self.command_timeout).await?;
        let nodes = map.servers().iter().map(|server| {
            let is_there = |slot| map.server_of(slot) == Some(server);
            Node { lane: cluster.lane(server), a_key: keys.one_where(is_there) }
        });
        Ok((nodes.collect(), Some(map)))
    }

    /// The servers to which this one is moving slots.
    pub(crate) async fn heirs_of(&self, lane: &Arc<Lane>) -> Result<Vec<Arc<Lane>>, Failure> {
        let Some(cluster) = self.cluster() else { return Ok(Vec::new()) };
        let answer = self.ask(lane, "CLUSTER", vec![Value::from_static_str("NODES")]).await?;
        let servers = heirs(&answer.into_string().unwrap_or_default());
        Ok(servers.iter().map(|server| cluster.lane(server)).collect())
    }

    /// Whether the servers of a Cluster have the same slots as then.
    pub(crate) async fn are_still(&self, map: Option<&SlotMap>) -> Result<bool, Failure> {
        match (self.cluster(), map) {
            (Some(cluster), Some(map)) => Ok(self.read_map(cluster, self.command_timeout).await? == *map),
            _ => Ok(true),
        }
    }

    /// Runs a script with these keys and arguments, which in a Cluster share this slot. The server may have forgotten it at any
    /// time: then they are made once more, and go with its text, in a single command again. So they are after an error of the
    /// server, which is believed when it comes twice, and where a replica has refused, as soon as there is another server.
    pub(crate) async fn run(
        &self,
        slot: Option<u16>,
        script: &Script,
        access: Access,
        words: impl Fn() -> (Vec<String>, Vec<Value>) + Send + Sync,
        wait: Option<WaitReplicas>,
    ) -> Result<Answered, Failure> {
        let manner = Manner { way: Way::Plain, access, wait, has_failed: false };
        match (&self.lanes, slot) {
            (Lanes::Cluster(cluster), Some(slot)) => {
                Box::pin(self.run_in_cluster(cluster, slot, script, manner, &words)).await
            }
            _ => self.run_on(&self.pick(), script, manner, &words).await,
        }
    }

    /// The same at the server that has the slot, or is getting it.
    async fn run_in_cluster(
        &self,
        cluster: &Cluster,
        slot: u16,
        script: &Script,
        mut manner: Manner,
        words: &(impl Fn() -> (Vec<String>, Vec<Value>) + Send + Sync),
    ) -> Result<Answered, Failure> {
        let (mut redirection, mut redirections, mut was_refused) = (None, 0, false);
        loop {
            manner.way = Way::Plain;
            let (server, lane) = match redirection.take() {
                Some(Redirection { server, is_ask, .. }) => {
                    manner.way = if is_ask { Way::Asking } else { Way::Plain };
                    let lane = cluster.lane(&server);
                    (server, lane)
                }
                None => self.lane_of(cluster, slot, manner.access).await?,
            };
            let doubt = Doubt::begin(cluster);
            let generation = lane.generation();
            let failure = match self.run_on(&lane, script, manner, words).await {
                Ok(answered) => {
                    doubt.settle();
                    return Ok(answered);
                }
                Err(failure) => failure,
            };
            match redirection_of(&failure, &server) {
                Some(other) if other.slot != slot => return Err(self.mixed_up(&lane, generation, manner.access)),
                Some(other) if redirections < MOST_REDIRECTIONS => {
                    redirections += 1;
                    manner.has_failed |= failure.sent != Sent::No;
                    if other.is_ask {
                        doubt.settle();
                    } else {
                        cluster.moved(slot, &other.server);
                    }
                    redirection = Some(other);
                }
                None if failure.sent == Sent::ToReplica && !was_refused => was_refused = true,
                _ => return Err(failure.of(&server)),
            }
        }
    }

    /// The server that has this slot, as soon as it is connected. One that is not may have a successor.
    async fn lane_of(&self, cluster: &Cluster, slot: u16, access: Access) -> Result<(Server, Arc<Lane>), Failure> {
        let clock = SystemClock;
        let began = clock.now();
        loop {
            self.refresh_map(cluster).await;
            let found = cluster.server_of(slot).map(|server| (cluster.lane(&server), server));
            let (patience, failure) = match found {
                Some((lane, server)) if lane.client().is_connected() => return Ok((server, lane)),
                Some((lane, server)) => {
                    let patience = if lane.generation() == 0 { self.command_timeout } else { LONGEST_GAP };
                    (patience, Failure::new(timed_out(), Sent::No, access).of(&server))
                }
                None => {
                    let none = DriverError::new(DriverErrorKind::Cluster, format!("no server has the slot {slot}"));
                    (LONGEST_GAP, Failure::new(none, Sent::No, access))
                }
            };
            cluster.doubt();
            if clock.now() >= began + patience.min(self.command_timeout) {
                return Err(failure);
            }
            clock.sleep_until(clock.now() + Duration::from_millis(5)).await;
        }
    }

    /// Reads the map of the Cluster anew where it is old or in doubt, unless another call does.
    async fn refresh_map(&self, cluster: &Cluster) {
        if !cluster.wants_map() {
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
        let patience = if cluster.has_no_map() { self.command_timeout } else { MAP_PATIENCE };
        // Without it, the old one is used.
        let _ = self.read_map(cluster, patience).await;
    }

    /// Reads the map of the Cluster: the first that knows who has each slot is believed, or else who knows the most. Those who
    /// have left what others say last are found out by their redirections.
    async fn read_map(&self, cluster: &Cluster, patience: Duration) -> Result<SlotMap, Failure> {
        let clock = SystemClock;
        let mut deadline = clock.now() + patience;
        let slots = || vec![Value::from_static_str("SLOTS")];
        let mut answers: FuturesUnordered<_> = cluster
            .may_tell_the_map()
            .into_iter()
            .map(|(server, lane)| async move { (self.ask(&lane, "CLUSTER", slots()).await, server) })
            .collect();
        let mut best = SlotMap::default();
        let unknown = DriverError::new(DriverErrorKind::Cluster, "it is not known which server has which slots");
        let mut failure = Failure::new(unknown, Sent::No, Access::Read);
        loop {
            let answer = tokio::select! {
                answer = answers.next() => answer,
                () = clock.sleep_until(deadline) => None,
            };
            match answer {
                Some((Ok(answer), server)) => {
                    let map = cluster.read(&answer, &server).unwrap_or_default();
                    if map.covered() > best.covered() {
                        best = map;
                        deadline = deadline.min(clock.now() + BETTER_MAP_PATIENCE);
                    }
                    if best.is_complete() {
                        break;
                    }
                }
                Some((Err(error), server)) => failure = error.of(&server),
                None => break,
            }
        }
        if best.covered() == 0 {
            return Err(failure);
        }
        cluster.learn(best.clone());
        Ok(best)
    }

    pub(crate) async fn run_on(
        &self,
        lane: &Arc<Lane>,
        script: &Script,
        manner: Manner,
        words: &(impl Fn() -> (Vec<String>, Vec<Value>) + Send + Sync),
    ) -> Result<Answered, Failure> {
        // In a Cluster, another server is another lane.
        let may_move = matches!(self.lanes, Lanes::Own(_));
        let first = lane.generation();
        let (mut is_forgotten, mut has_failed, mut was_refused) = (false, manner.has_failed, false);
        loop {
            let generation = lane.generation();
            let form = if is_forgotten { Form::Text(script.text()) } else { Form::Name(script.sha()) };
            let mut failure = match self.evaluate(lane, generation, form, manner, words()).await {
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
            if failure.sent == Sent::ToReplica && !was_refused && may_move {
                was_refused = true;
                self.another_server(lane, generation).await;
                continue;
            }
            if self.cluster().is_some() && is_redirection(&failure.source) {
                // It names the slot, and nothing was done; unless an error before it was that of another call.
                failure.sent = if has_failed { Sent::Perhaps } else { Sent::No };
                return Err(failure);
            }
            let is_news = is_no_script(&failure.source) && !is_forgotten;
            if failure.sent == Sent::Perhaps && is_of_server(&failure.source) && (is_news || !has_failed) {
                if is_news {
                    is_forgotten = true;
                } else {
                    has_failed = true;
                    if is_read_only(failure.source.details()) && may_move {
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
        form: Form<'_>,
        Manner { way, access, wait, .. }: Manner,
        words: (Vec<String>, Vec<Value>),
    ) -> Result<Answered, Failure> {
        let tag = self.tag();
        let (name, words) = form.command(words, tag);
        let command = CustomCommand::new_static(name, None, false);
        let (value, confirmed) = if way == Way::Plain && wait.is_none() {
            let work = async move |client: WithOptions<Client>| client.custom::<Value, _>(command, words).await;
            (self.call_on(lane, access, Duration::ZERO, |client| Box::pin(work(client))).await?, None)
        } else {
            // All in one, so that they are on one connection, one behind the other: ASKING is for the next command, WAIT speaks of
            // what was written on its own.
            let work = async move |client: WithOptions<Client>| {
                let pipeline = client.pipeline().with_options(client.options());
                if way == Way::Asking {
                    pipeline
                        .custom::<(), _>(CustomCommand::new_static("ASKING", None, false), Vec::<Value>::new())
                        .await?;
                }
                pipeline.custom::<(), _>(command, words).await?;
                if let Some(wait) = wait {
                    let milliseconds = i64::try_from(wait.timeout.as_millis()).unwrap_or(i64::MAX);
                    pipeline.wait::<()>(wait.count.into(), milliseconds).await?;
                }
                let mut answers = pipeline.try_all::<Value>().await.into_iter();
                let asking = if way == Way::Asking { answers.next() } else { None };
                // Where ASKING was refused, so is the script, for a reason that says less.
                let refusal = |error| asking.and_then(Result::err).unwrap_or(error);
                // The script's answer says what was done. Whatever is wrong with that of WAIT, no replica has confirmed it.
                let value = answers.next().unwrap_or_else(|| Err(missing())).map_err(refusal)?;
                let confirmed = wait.map(|_| Confirmed::read(answers.next().unwrap_or_else(|| Err(missing()))));
                Ok((value, confirmed))
            };
            let extra_time = wait.map_or(Duration::ZERO, |wait| wait.timeout);
            self.call_on(lane, access, extra_time, |client| Box::pin(work(client))).await?
        };
        let Some(values) = tagged(value, tag) else { return Err(self.mixed_up(lane, generation, access)) };
        if let Some(refusal) = refusal_of_a_replica(&values) {
            self.refused();
            let source = DriverError::new(DriverErrorKind::Unknown, refusal);
            return Err(Failure::new(source, Sent::ToReplica, access));
        }
        lane.was_answered();
        Ok(Answered { values, asked: Asked::Once, confirmed })
    }

    /// Asks for what has no room for a tag, with a `PING` behind it that has: if the answers were those to other calls, it
    /// would be seen there.
    pub(crate) async fn ask(
        &self,
        lane: &Arc<Lane>,
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
        let call = self.call_on(lane, Access::Read, Duration::ZERO, |client| Box::pin(work(client)));
        let (answer, is_mine) = call.await?;
        if !is_mine {
            return Err(self.mixed_up(lane, generation, Access::Read));
        }
        answer.map_err(|source| Failure::new(source, Sent::Perhaps, Access::Read))
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
        Failure::new(source, Sent::Mixed, access)
    }

    /// A replica was asked: after a fail-over, the server's name or the sentinels lead elsewhere.
    pub(crate) fn refused(&self) {
        match &self.lanes {
            Lanes::Own(lanes) => lanes.of_this_runtime().was_refused(),
            Lanes::Cluster(cluster) => cluster.doubt(),
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
        access: Access,
        extra_time: Duration,
        command: impl FnOnce(WithOptions<Client>) -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DriverError>> + Send,
    {
        let client = self.connected(lane, access).await?;
        let options = Options {
            // Repeating is for those who know the deadline.
            max_attempts: Some(1),
            timeout: Some(self.command_timeout + extra_time),
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
                Err(Failure::new(source, Sent::Perhaps, access))
            }
        }
    }

    /// A server that says it is a replica is left: after a fail-over, its name or the sentinels lead elsewhere.
    pub(crate) fn notice(&self, reply: &str) {
        if is_read_only(reply) {
            self.refused();
        }
    }

    /// One after the other, those that are connected first. In a Cluster, where nothing says which server, any.
    pub(crate) fn pick(&self) -> Arc<Lane> {
        let lanes;
        let borrowed = match &self.lanes {
            Lanes::Own(lanes) => return lanes.of_this_runtime(),
            Lanes::Cluster(cluster) => {
                lanes = cluster.seeds().iter().map(|seed| cluster.lane(seed)).collect();
                &lanes
            }
            Lanes::Borrowed(lanes) => lanes,
        };
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let lanes = (0..borrowed.len()).map(|at| &borrowed[(start + at) % borrowed.len()]);
        let connected = lanes.clone().find(|lane| lane.client().is_connected());
        Arc::clone(connected.unwrap_or(&borrowed[start % borrowed.len()]))
    }

    /// The lane's client, as soon as it is connected.
    pub(crate) async fn connected(&self, lane: &Lane, access: Access) -> Result<Client, Failure> {
        let client = lane.client();
        if until_connected(&client, self.command_timeout).await {
            Ok(client)
        } else {
            Err(Failure::new(timed_out(), Sent::No, access))
        }
    }
}

/// A client of the store's own that nobody has connected.
fn client(config: Config, options: &RedisStoreOptions) -> Client {
    Client::new(config, Some(performance(options)), Some(connection(options)), Some(reconnect_policy()))
}

/// Connects a client whose first connection fails at once, and says why.
async fn connected_once(client: Client) -> Result<(Client, Lane), Failure> {
    // Its outcome is waited for from before the beginning on: it comes once.
    let mut connected = Box::pin(client.wait_for_connect());
    let at_once = futures::poll!(&mut connected);
    debug_assert!(at_once.is_pending(), "nobody has connected it");
    // From here on, nothing is left behind by whoever gives up.
    let lane = Lane::new(client.clone(), Some(client.connect()));
    connected.await.map_err(|error| Failure::new(error, Sent::No, Access::Read))?;
    Ok((client, lane))
}

/// Connects to the first of the servers in the configuration that can be reached.
async fn connect_to_one_of(cluster: &Cluster) -> Result<(), Failure> {
    let seeds = cluster.seeds().iter().map(|seed| async move {
        let config = Config { fail_fast: true, ..cluster.config_for(seed) };
        connected_once(cluster.client(config)).await.map(|(_, lane)| (seed, lane)).map_err(|failure| failure.of(seed))
    });
    let mut seeds: FuturesUnordered<_> = seeds.collect();
    let mut failure = None;
    while let Some(outcome) = seeds.next().await {
        match outcome {
            Ok((seed, lane)) => {
                cluster.keep(seed.clone(), lane);
                return Ok(());
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Failure::new(timed_out(), Sent::No, Access::Read)))
}

/// Where the server has said that the keys are.
fn redirection_of(failure: &Failure, asked: &Server) -> Option<Redirection> {
    if is_redirection(&failure.source) { Redirection::read(failure.source.details(), asked) } else { None }
}
